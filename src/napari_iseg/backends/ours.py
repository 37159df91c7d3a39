"""What the methods share that are ours alone: their networks' own names are the only ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from napari_iseg.backends.base import PublishedNet, Recognition, Shapes, Variant
from napari_iseg.backends.published import shape_differences, shapes_of


class OwnNet(PublishedNet):
    """A network with a card, of which no published checkpoints are about."""

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict by its own names, strictly."""
        self.load_state_dict(dict(state), strict=True)


class OwnMethod:
    """Recognises its networks by the names and shapes of its variants."""

    name: str
    title: str
    variants: Mapping[str, Variant]

    def build(self, variant: str | Variant) -> Any:
        """The network of a variant, with random weights."""
        raise NotImplementedError

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`."""
        del hints
        for name, variant in self.variants.items():
            if not self._wrong(shapes, variant):
                return Recognition(self.name, dict(variant), f"{self.title} {name}")
        return None

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        found = [(f"{self.title} {name}", self._wrong(shapes, v)) for name, v in self.variants.items()]
        return min(found, key=lambda one: len(one[1]))

    def _wrong(self, shapes: Shapes, variant: Variant) -> list[str]:
        with torch.device("meta"):
            net: nn.Module = self.build(variant)
        return shape_differences(shapes, shapes_of(net))
