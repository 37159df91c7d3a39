"""Games that a click model has begun: where training for small objects goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.interactive.small import FIRST_CLICKS, MOST, Tile
from napari_iseg.nn.small_net import TILE
from napari_iseg.prompts import Click
from napari_iseg.training.bank import Bank, Picture, coarser
from napari_iseg.training.load import OnSet, Sets, load_bank
from napari_iseg.training.recipe import Recipe

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

_LARGEST = 36  # pixels: longer side of an object that is played
_COARSER = 1.4, 2.4  # how much coarser a picture is made


@dataclass(frozen=True)
class Game:
    """The first clicks on one object, in a tile of S x S pixels around it.

    Parameters
    ----------
    image : (S, S, 3) uint8
    truth : (S, S) bool
    answers : (K, S, S) float16, the probability after each click
    clicks : those K, in pixels of the tile; None for one outside of it
    """

    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.bool_]
    answers: npt.NDArray[np.float16]
    clicks: tuple[Click | None, ...]


class SmallBank(Bank):
    """A bank that also knows games on its small objects, by set.

    Sets without small objects have none; they are not drawn from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.games: list[list[Game]] = []

    def fill(
        self,
        recipe: Recipe,
        sets: Sets,
        model: Model,
        per_picture: int,
        coarse: float = 0.0,
        on_set: OnSet | None = None,
    ) -> None:
        """Play the training parts of the sets, at most ``per_picture`` objects of each picture.

        ``coarse``: the share of pictures of which as many are played made coarser (`_COARSER`), so that
        there are enough tiny ones.
        """
        plain = load_bank(recipe, sets)
        for index, (name, pictures, weight) in enumerate(
            zip(plain.names, plain.sets, plain.weights, strict=True)
        ):
            games: list[Game] = []
            for at, picture in enumerate(pictures):
                rng = np.random.default_rng((recipe.seed, 5, index, at))
                games += played(model, picture, per_picture, rng)
                small = coarser(picture, rng.uniform(*_COARSER)) if rng.random() < coarse else None
                if small is not None:
                    games += played(model, small, per_picture, rng)
            if on_set is not None:
                on_set(name, len(pictures))
            if games:
                self.add(name, pictures, weight)
                self.games.append(games)

    def draw_game(self, rng: np.random.Generator) -> Game:
        """A game, its set chosen by weight."""
        share = np.array(self.weights)
        games = self.games[rng.choice(len(self.games), p=share / share.sum())]
        return games[rng.integers(len(games))]


def played(model: Model, source: Picture, most: int, rng: np.random.Generator) -> Iterator[Game]:
    """The first clicks on at most so many small objects of a picture."""
    sides = np.maximum(
        source.objects[:, 4] - source.objects[:, 2], source.objects[:, 5] - source.objects[:, 3]
    )
    small = source.objects[sides <= _LARGEST]
    method = ModelMethod(model)
    for index in rng.permutation(len(small))[:most]:
        game = _game(method, source, int(small[index, 0]))
        if game is not None:
            yield game


def _game(method: ModelMethod, source: Picture, label: int) -> Game | None:
    """The first clicks on an object; None where the model has not found a small object by them."""
    truth = source.labels == label
    simulator, mask = ClickSimulator(truth.astype(np.int8)), np.zeros(truth.shape, np.bool_)
    method.start(source.image)
    clicks, answers = [], []
    for _ in range(FIRST_CLICKS):
        clicks.append(simulator.next(mask))
        answers.append(method.click(clicks[-1].row, clicks[-1].col, clicks[-1].positive))
        mask = answers[-1] > method.threshold
    window = method.window
    if window is None or max(window.shape) > MOST:
        return None
    tile = Tile.around(window, TILE)
    inside = tile.cut(truth, "constant")
    if np.count_nonzero(inside) < np.count_nonzero(truth):
        return None
    image = np.moveaxis(tile.cut(np.moveaxis(source.image, 2, 0), "edge"), 0, 2)
    return Game(
        np.ascontiguousarray(image),
        inside,
        tile.cut(np.stack(answers), "constant").astype(np.float16),
        tuple(tile.own((click,))[0] if tile.holds(click) else None for click in clicks),
    )
