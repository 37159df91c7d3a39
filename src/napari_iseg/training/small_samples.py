"""Training samples of the network for small objects: a mask as a click model leaves it, and the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.prompts import Click
from napari_iseg.training.checks import options_of
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.photometric import vary
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.small_games import SmallBank

Float32 = npt.NDArray[np.float32]

_MOST_CLICKS = 16  # per sign, of a sample's array of clicks
_LEAST = 12  # pixels of an object
_SURE = 1e-3


@dataclass(frozen=True)
class SmallSampleOptions:
    """How samples are drawn.

    Parameters
    ----------
    model : the click model whose first answers are gone on from: a card's name or a file
    per_picture : objects of a picture that it plays, at most
    coarse : share of pictures of which it also plays so many made 1.4 to 2.4 times coarser
    vary : factor on how often each intensity augmentation is applied, 0 to 1
    others : share of samples whose outline is drawn elsewhere, as another person would
    """

    model: str = "cfr-icl-starter"
    per_picture: int = 12
    coarse: float = 0.0
    vary: float = 0.6
    others: float = 0.5


def sample_options(recipe: Recipe) -> SmallSampleOptions:
    """[samples] of a recipe; InputError for an option that does not exist or cannot be."""
    options = options_of(SmallSampleOptions, recipe.samples, "small objects")
    if options.per_picture < 1 or not 0 <= options.others <= 1:
        raise InputError(
            "Samples of small objects need a per_picture of 1 at least and others from 0 to 1, got "
            f"{options.per_picture} and {options.others}."
        )
    return options


class SmallSamples(IndexedSamples[SmallBank]):
    """An endless set of samples, by index.

    Each item holds ``image`` (3, S, S) float32 in [0, 1], ``before`` (1, S, S) float32, a click model's
    answer, ``truth`` (1, S, S) float32 and ``clicks`` (2N, 3) float32, those that it answered.
    """

    def __init__(self, bank: SmallBank, options: SmallSampleOptions, seed: int, length: int) -> None:
        super().__init__(bank, seed, length)
        self.options = options

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        del index
        game = self.bank.draw_game(rng)
        known = int(rng.integers(1, len(game.clicks) + 1))
        truth = game.truth
        if rng.random() < self.options.others:
            truth = drawn_elsewhere(truth, rng)
        before = _varied(game.answers[known - 1].astype(np.float32), rng)
        clicks = _array([click for click in game.clicks[:known] if click is not None], truth)
        image = vary(game.image, rng, self.options.vary)
        turns, mirror = int(rng.integers(4)), rng.random() < 0.5
        turned = [_turned(map_, turns, mirror) for map_ in (image, before, truth.astype(np.float32))]
        return {
            "image": torch.from_numpy(turned[0]).permute(2, 0, 1).contiguous(),
            "before": torch.from_numpy(turned[1])[None],
            "truth": torch.from_numpy(turned[2])[None],
            "clicks": torch.from_numpy(_turned_clicks(clicks, len(truth), turns, mirror)),
        }


def drawn_elsewhere(truth: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The object with its outline up to about a pixel further in or out, and a little less even."""
    depth = np.where(truth, ndi.distance_transform_edt(truth) - 0.5, 0.5 - ndi.distance_transform_edt(~truth))
    uneven = ndi.gaussian_filter(rng.normal(size=truth.shape), rng.uniform(2, 6)) * rng.uniform(0, 8)
    found = np.asarray(depth + rng.uniform(-1.2, 1.2) + uneven > 0)
    return found if np.count_nonzero(found) >= _LEAST else truth


def _varied(probability: Float32, rng: np.random.Generator) -> Float32:
    """Surer or less sure, further in or out, and uneven, as answers on pictures never seen are."""
    inside = np.clip(probability, _SURE, 1 - _SURE)
    logits = np.log(inside / (1 - inside))
    if rng.random() < 0.5:
        logits = logits + rng.normal() * 0.6
    if rng.random() < 0.3:
        logits = logits * np.exp(rng.normal() * 0.3)
    if rng.random() < 0.3:
        logits = logits + ndi.gaussian_filter(rng.normal(size=logits.shape), 2) * rng.uniform(0, 7)
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _array(clicks: list[Click], truth: npt.NDArray[np.bool_]) -> Float32:
    """(2N, 3) of the clicks that are right about ``truth``."""
    array = np.full((2 * _MOST_CLICKS, 3), -1.0, np.float32)
    used = [0, 0]
    for order, click in enumerate(clicks):
        if bool(truth[round(click.row), round(click.col)]) == click.positive:
            sign = 0 if click.positive else 1
            array[sign * _MOST_CLICKS + used[sign]] = click.row, click.col, order
            used[sign] += 1
    return array


def _turned(array: npt.NDArray[np.float32], turns: int, mirror: bool) -> npt.NDArray[np.float32]:
    turned = np.rot90(array, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)


def _turned_clicks(clicks: Float32, side: int, turns: int, mirror: bool) -> Float32:
    """Clicks where `_turned` puts their pixels."""
    result = clicks.copy()
    used = clicks[:, 2] >= 0
    rows, cols = clicks[used, 0], clicks[used, 1]
    for _ in range(turns):
        rows, cols = side - 1 - cols, rows
    result[used, 0], result[used, 1] = rows, (side - 1 - cols if mirror else cols)
    return result
