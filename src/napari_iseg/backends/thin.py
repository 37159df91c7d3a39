"""Thin structures (ours): features at the picture's own resolution, a rule per pixel fitted to clicks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from napari_iseg.backends.base import Variant
from napari_iseg.backends.ours import OwnMethod, OwnNet
from napari_iseg.backends.published import named_variant
from napari_iseg.errors import InputError
from napari_iseg.nn.thin_net import ThinNet


class PixelNet(OwnNet, ThinNet):
    """`ThinNet` as a network with a card."""


class Thin(OwnMethod):
    """The backend "thin" (role "thin")."""

    name = "thin"
    title = "Thin structures"
    good_at = "vessel trees, nets and long cracks, too thin for a click model's window"
    prompts: frozenset[str] = frozenset()  # by itself; a click model hands clicks on
    variants: Mapping[str, Variant] = MappingProxyType(
        {"starter": MappingProxyType({"widths": (24, 32, 48, 64), "dim": 12})}
    )

    def build(self, variant: str | Variant) -> PixelNet:
        """The network of a variant (a name or a mapping of ``widths`` and ``dim``), with random weights.

        Raises
        ------
        ModelNotFoundError
            For an unknown name; InputError for a mapping that describes no network.
        """
        variant = named_variant(self.title, self.variants, variant)
        unknown = set(variant) - {"widths", "dim"}
        if unknown or len(variant.get("widths", (1,) * 4)) != 4:
            raise InputError(f"A variant of {self.title} has four widths and a dim, got {dict(variant)}.")
        return PixelNet(**variant)
