"""Small objects (ours): a network that finishes them at the image's own resolution, click by click."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from napari_iseg.backends.base import PublishedNet, Recognition, Shapes, Variant
from napari_iseg.backends.published import named_variant, shape_differences, shapes_of
from napari_iseg.errors import InputError
from napari_iseg.nn.small_net import SmallNet


class SmallObjectsNet(PublishedNet, SmallNet):
    """`SmallNet` as a network with a card; its own names are the only ones there are."""

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict by its own names, strictly."""
        self.load_state_dict(dict(state), strict=True)


class Small:
    """The backend "small" (role "small")."""

    name = "small"
    title = "Small objects"
    good_at = "objects of a few pixels across, from the fourth click on"
    prompts: frozenset[str] = frozenset()  # by itself; a click model hands clicks on
    variants: Mapping[str, Variant] = MappingProxyType({"starter": MappingProxyType({"widths": (48, 96)})})

    def build(self, variant: str | Variant) -> SmallObjectsNet:
        """The network of a variant (a name or a mapping of ``widths``), with random weights.

        Raises
        ------
        ModelNotFoundError
            For an unknown name; InputError for a mapping that describes no network.
        """
        variant = named_variant(self.title, self.variants, variant)
        if set(variant) - {"widths"} or len(variant.get("widths", (1,) * 2)) != 2:
            raise InputError(f"A variant of {self.title} has two widths, got {dict(variant)}.")
        return SmallObjectsNet(**variant)

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
            expected = shapes_of(self.build(variant))
        return shape_differences(shapes, expected)
