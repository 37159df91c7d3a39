"""Windows with several targets, for networks that encode a picture once and answer many prompts about it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.training.bank import Bank, Cut
from napari_iseg.training.samples import SampleOptions, Samples

_LEAST = 24  # pixels of a further object


class SeveralObjects(Samples):
    """Samples whose ``truth`` is (``objects``, S, S): the sample's own object first, then further ones.

    Further objects lie wholly inside the window. Where there are too few, the first stands in again: it will
    be asked for by another prompt.
    """

    def __init__(
        self, bank: Bank, options: SampleOptions, seed: int, length: int, late_from: int | None, objects: int
    ) -> None:
        super().__init__(bank, options, seed, length, late_from)
        self.objects = objects

    def _finish(self, made: Cut, close: bool, rng: np.random.Generator) -> dict[str, Tensor]:
        sample = super()._finish(made, close, rng)
        first = sample["truth"][0].numpy() > 0.5
        changed = not np.array_equal(first, made.labels == made.target)  # SUEM has put two pictures together
        known = [] if changed else whole_objects(made.labels, made.target)
        chosen = [known[i] for i in rng.permutation(len(known))[: self.objects - 1]]
        masks = [first, *(made.labels == label for label in chosen)]
        masks += [first] * (self.objects - len(masks))
        return {**sample, "truth": torch.from_numpy(np.stack(masks).astype(np.float32))}


def whole_objects(labels: npt.NDArray[np.int32], but: int) -> list[int]:
    """Labels (H, W) of objects that the border does not cut and that are not tiny, other than ``but``."""
    ids, areas = np.unique(labels, return_counts=True)
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    kept = (ids > 0) & (ids != but) & (areas >= _LEAST) & ~np.isin(ids, cut)
    return [int(label) for label in ids[kept]]
