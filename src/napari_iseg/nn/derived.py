"""Tensors that follow from a network's weights: made once, and again when the weights have changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class Derived:
    """A few results of ``make(weight)``, by key.

    While the weight learns nothing is kept, since gradients must flow through each result. The table is
    replaced as a whole, so that several threads may ask at once.

    Parameters
    ----------
    most : results kept; the oldest goes first
    """

    def __init__(self, most: int = 8) -> None:
        self.most = most
        self._held: dict[Hashable, tuple[tuple[int, int], Tensor]] = {}

    def __reduce__(self) -> tuple[type[Derived], tuple[int]]:
        return Derived, (self.most,)  # a copy's weights lie elsewhere, so it makes its own

    def get(self, key: Hashable, weight: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """``make(weight)``, from the table where weight, device and type are still those of then."""
        if torch.is_grad_enabled() and weight.requires_grad:
            return make(weight)
        where = weight.device, weight.dtype
        state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        held = self._held.get(key)
        if held is not None and held[0] == state and (held[1].device, held[1].dtype) == where:
            return held[1]
        with torch.inference_mode(False), torch.no_grad():
            made = make(weight)
        kept = [entry for entry in self._held.items() if entry[0] != key][1 - self.most :]
        self._held = {**dict(kept), key: (state, made)}
        return made
