"""AdaptiveClick (arXiv 2305.04276): a click-aware mask-adaptive transformer decoder on a plain ViT."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from napari_iseg.backends.adaptiveclick_net import FAMILY, AdaptiveClickNet, AdaptiveClickUNet
from napari_iseg.backends.adaptiveclick_variants import VARIANTS, Sizes
from napari_iseg.backends.published_vit import STARTER, PlainVitMethod


class AdaptiveClick(PlainVitMethod[Sizes]):
    """The backend "adaptiveclick"."""

    name = "adaptiveclick"
    title = "AdaptiveClick"
    good_at = "objects whose clicks could mean several things; photographs and medical images"
    family = FAMILY
    variants = MappingProxyType({**VARIANTS, **STARTER})

    def network(self, sizes: Sizes) -> AdaptiveClickNet:
        """See `PlainVitMethod.network`."""
        return AdaptiveClickNet(sizes)

    def starter(self, **options: Any) -> AdaptiveClickUNet:
        """See `PlainVitMethod.starter`."""
        return AdaptiveClickUNet(**options)
