"""Pictures in the series that episodes are drawn from: images of one class, slices of one volume.

Sets differ a thousandfold in how many pictures they have, so a series is drawn first, by its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.training.bank import Bank, Picture, picture
from napari_iseg.training.load import OnSet, Sets
from napari_iseg.training.recipe import Recipe, SceneRecipe
from napari_iseg.training.synthetic_series import scene_series

_LOOKALIKES = 0.25  # share of a set among which a support's query is looked for
_DENSE = 0.6  # from this share of labelled pixels on "everything labelled" is no class


@dataclass(frozen=True)
class Series:
    """Pictures between which masks are carried over.

    Parameters
    ----------
    pictures : in the order of ``positions`` where there are any
    positions : (N,) places along a volume's axis; None for images of their own
    semantic : label values are classes, else instances; in a volume an instance keeps its id
    lookalikes : (N, M) indices of the pictures most like each one, itself first
    """

    name: str
    pictures: tuple[Picture, ...]
    positions: npt.NDArray[np.float64] | None
    semantic: bool
    lookalikes: npt.NDArray[np.intp]

    def classes_of(self, index: int) -> list[int]:
        """Classes on a picture: its label values, or 0 for "every instance" where that is not everything."""
        labels = self.pictures[index].labels
        if self.semantic:
            return [int(row[0]) for row in self.pictures[index].objects]
        dense = np.count_nonzero(labels) > _DENSE * labels.size
        return [] if dense else [0]

    @property
    def annotated(self) -> bool:
        """Whether some picture has a class or a body; pictures full of instances have superpixels only."""
        return self.positions is not None or any(self.classes_of(i) for i in range(len(self.pictures)))

    def mask(self, index: int, label: int) -> npt.NDArray[np.bool_]:
        """(H, W) of one label on one picture; 0: every instance."""
        labels = self.pictures[index].labels
        return labels > 0 if label == 0 else labels == label


@dataclass
class EpisodeBank(Bank):
    """A bank that also knows which pictures belong together."""

    series: list[Series] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def fill(self, recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> None:
        """Add the training parts of the sets and the recipe's made scenes."""
        for entry, train, _ in sets:
            count = self.add_dataset(train, entry.weight, entry.step)
            if on_set is not None:
                on_set(train.name, count)
        if recipe.scenes.count:
            self.add_scenes(recipe.scenes, recipe.seed)
            if on_set is not None:
                on_set("made scenes", recipe.scenes.count)

    def add_dataset(self, dataset: Dataset, weight: float, step: int = 1) -> int:
        """Add one set: each volume in it becomes a series, all other images one; returns the pictures."""
        groups: dict[str, list[tuple[float | None, Picture, bool]]] = {}
        for index, item in enumerate(dataset):
            if index % step:
                continue
            made = picture(item.image(), item.targets(), name=item.name, keep_ids=True)
            if made is not None:
                where = None if item.position is None else float(item.position)
                key = item.group if where is not None else ""
                groups.setdefault(key, []).append((where, made, item.kind == "semantic"))
        if not groups:
            raise InputError(f"The training set {dataset.name!r} has no labelled picture; check its labels.")
        for key, members in groups.items():
            self._add(key or dataset.name, members, weight / len(groups))
        return sum(len(members) for members in groups.values())

    def add_scenes(self, scenes: SceneRecipe, seed: int, per_series: int = 4) -> None:
        """Made pictures in series that share their kinds of objects."""
        groups = max(1, scenes.count // per_series)
        for index in range(groups):
            rng = np.random.default_rng((seed, 2, index))
            made = scene_series(rng, scenes.size, per_series)
            pictures = [picture(image, classes, 60) for image, classes in made]
            kept = [(None, p, True) for p in pictures if p is not None]
            if kept:
                self._add(f"made scenes {index}", kept, scenes.weight / groups)

    def draw_series(self, rng: np.random.Generator) -> Series:
        """A series, by weight."""
        share = np.array(self.shares)
        return self.series[int(rng.choice(len(self.series), p=share / share.sum()))]

    def _add(self, name: str, members: Sequence[tuple[float | None, Picture, bool]], weight: float) -> None:
        pictures = tuple(p for _, p, _ in members)
        positions = [where for where, _, _ in members if where is not None]
        whole = np.array(positions) if len(positions) == len(members) else None
        semantic = members[0][2]
        self.series.append(Series(name, pictures, whole, semantic, _lookalikes(pictures)))
        self.shares.append(weight)
        self.names.append(name)
        self.sets.append(list(pictures))
        self.weights.append(weight)


def _lookalikes(pictures: tuple[Picture, ...]) -> npt.NDArray[np.intp]:
    """For each picture the nearest ones by mean and spread of its colours, itself first."""
    known = np.array([_looks(p) for p in pictures])
    known = known / (known.std(0) + 1e-6)
    count = max(2, round(_LOOKALIKES * len(pictures)))
    gaps = np.linalg.norm(known[:, None] - known[None], axis=2)
    np.fill_diagonal(gaps, -1)
    return np.argsort(gaps, axis=1, kind="stable")[:, :count]


def _looks(source: Picture) -> npt.NDArray[np.float64]:
    small = source.image[::4, ::4].astype(np.float64)
    return np.concatenate([small.mean((0, 1)), small.std((0, 1))])
