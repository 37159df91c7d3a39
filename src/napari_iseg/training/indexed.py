"""Samples by index: what training needs so that a resumed run sees what one that never stopped sees."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from napari_iseg.training.bank import Bank

_B = TypeVar("_B", bound=Bank)


class IndexedSamples(Dataset[dict[str, Tensor]], Generic[_B]):
    """``length`` samples drawn from a bank; sample ``index`` follows from (seed, index) alone.

    A kind of samples overrides `draw`.

    Attributes
    ----------
    stream : keeps samples of one kind apart from those of another with the same seed
    """

    stream: tuple[int, ...] = ()

    def __init__(self, bank: _B, seed: int, length: int) -> None:
        self.bank = bank
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.length:
            raise IndexError(index)
        return self.draw(index, np.random.default_rng((self.seed, *self.stream, index)))

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """The sample of that index; ``rng`` is its own."""
        raise NotImplementedError
