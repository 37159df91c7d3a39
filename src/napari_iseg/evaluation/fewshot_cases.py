"""Fixed, seeded few-shot cases: supports and a query of one class, for every method the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.evaluation.methods import as_source
from napari_iseg.prompts import Window

Image = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int8]
_LOOKALIKES = 0.25
_MIN_PIXELS = 50


@dataclass(frozen=True, eq=False)
class Annotated:
    """``image`` (H, W, 3) float32 in [0, 1]; ``truth`` (H, W) int8: 1 object, 0 beside it, -1 not counted."""

    name: str
    image: Image
    truth: Truth


@dataclass(frozen=True, eq=False)
class Case:
    """One episode; ``category`` is what IoU is accumulated over. An empty query has no 1 in its truth."""

    category: str
    supports: tuple[Annotated, ...]
    query: Annotated

    @property
    def is_empty(self) -> bool:
        """Whether the query lacks the category."""
        return not bool((self.query.truth == 1).any())


def cases_of(
    dataset: Dataset, count: int, supports: int, *, seed: int = 0, empty: float = 0.2, side: int = 512
) -> list[Case]:
    """Cases of a data set of images: each class of a semantic set, or "every instance" of another.

    Parameters
    ----------
    count : of cases; ``supports`` images each, other images than the query and like it (mean and spread of
        colours), as a person would choose them
    empty : share of cases whose query lacks the class (from images, or windows, without it)
    side : larger images are cut to a window of this side

    Raises
    ------
    InputError
        When the set has too few images.
    """
    if len(dataset) < supports + 1:
        raise InputError(
            f"The data set {dataset.name} has {len(dataset)} images; {supports} supports and a query need "
            f"{supports + 1}."
        )
    rng = np.random.default_rng((seed, 17))
    near = lookalikes([item.image() for item in dataset])
    classes = [_classes(item) for item in dataset]
    having = [i for i, found in enumerate(classes) if found]
    if len(having) < supports + 1:
        raise InputError(f"The data set {dataset.name} has too few labelled images for {supports} supports.")
    made: list[Case] = []
    for attempt in range(20 * count):
        if len(made) == count:
            break
        first = having[int(rng.integers(len(having)))]
        label = classes[first][int(rng.integers(len(classes[first])))]
        wants_empty = rng.random() < empty
        others = [int(i) for i in near[first] if i != first and label in classes[i]]
        if len(others) < supports and attempt < 10 * count:
            continue
        others += [i for i in having if i != first and i not in others and label in classes[i]]
        if len(others) < supports:
            continue
        query = _cut(dataset[first], label, side, rng, wants_empty)
        if query is None:
            continue
        chosen = [_cut(dataset[i], label, side, rng, False) for i in others[:supports]]
        kept = tuple(c for c in chosen if c is not None)
        if len(kept) == supports:
            made.append(Case(f"{dataset.name}:{label}", kept, query))
    return made


def lookalikes(images: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.intp]:
    """For each image the most alike quarter, by mean and spread of their colours: (N, M), itself first."""
    known = np.array([_looks(image) for image in images])
    known = known / (known.std(0) + 1e-6)
    count = min(len(images), max(2, round(_LOOKALIKES * len(images))))
    gaps = np.linalg.norm(known[:, None] - known[None], axis=2)
    np.fill_diagonal(gaps, -1)
    return np.argsort(gaps, axis=1, kind="stable")[:, :count]


def _looks(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    small = np.nan_to_num(np.asarray(image[::4, ::4], np.float64))
    bands = small.reshape(*small.shape[:2], -1)[..., :3]
    bands = np.repeat(bands, 3, 2) if bands.shape[2] < 3 else bands
    return np.concatenate([bands[..., :3].mean((0, 1)), bands[..., :3].std((0, 1))])


def _classes(item: Item) -> list[int]:
    """Classes on an image; 0 stands for "every instance"."""
    labels = item.labels()
    if item.kind == "semantic":
        values, counts = np.unique(labels, return_counts=True)
        pairs = zip(values, counts, strict=True)
        return [int(v) for v, n in pairs if v > 0 and v != item.ignore and n >= _MIN_PIXELS]
    return [0] if np.count_nonzero(labels) >= _MIN_PIXELS else []


def truth_of(item: Item, label: int) -> Truth:
    """(H, W) int8 of one class; 0 is every instance."""
    labels = item.labels()
    if label:
        return item.truth(label, labels)
    truth = (labels > 0).astype(np.int8)
    if item.ignore is not None:
        truth[labels == item.ignore] = -1
    return truth


def _cut(item: Item, label: int, side: int, rng: np.random.Generator, empty: bool) -> Annotated | None:
    """A window with the class, or one without it; None where there is none."""
    truth = truth_of(item, label)
    height, width = (min(side, n) for n in truth.shape)
    rows, cols = np.nonzero(truth == 1)
    for _ in range(8 if empty else 1):
        pick = int(rng.integers(len(rows)))
        centre = (
            (rng.integers(truth.shape[0]), rng.integers(truth.shape[1]))
            if empty
            else (rows[pick], cols[pick])
        )
        top = int(np.clip(centre[0] - height // 2, 0, truth.shape[0] - height))
        left = int(np.clip(centre[1] - width // 2, 0, truth.shape[1] - width))
        window = Window(top, left, top + height, left + width)
        if empty == bool((truth[window.slices] == 1).any()):
            continue
        image = as_source(item.image()).read(window)
        return Annotated(item.name, image, np.ascontiguousarray(truth[window.slices]))
    return None
