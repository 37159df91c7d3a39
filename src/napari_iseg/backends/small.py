"""Small objects (ours): a network that finishes them at the image's own resolution, click by click."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from napari_iseg.backends.base import Variant
from napari_iseg.backends.ours import OwnMethod, OwnNet
from napari_iseg.backends.published import named_variant
from napari_iseg.errors import InputError
from napari_iseg.nn.small_net import SmallNet


class SmallObjectsNet(OwnNet, SmallNet):
    """`SmallNet` as a network with a card."""


class Small(OwnMethod):
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
