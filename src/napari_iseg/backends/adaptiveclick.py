"""AdaptiveClick (arXiv 2305.04276): a click-aware mask-adaptive transformer decoder on a plain ViT."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from napari_iseg.backends.adaptiveclick_net import (
    AdaptiveClickNet,
    AdaptiveClickUNet,
    published_shapes,
    recognised,
)
from napari_iseg.backends.adaptiveclick_variants import (
    UNUSED,
    VARIANTS,
    label,
    read_sizes,
    sizes_from_shapes,
)
from napari_iseg.backends.base import ClickNet, Inference, Recognition, Shapes, Variant
from napari_iseg.backends.published import named_variant, nearest
from napari_iseg.errors import InputError


class AdaptiveClick:
    """The backend "adaptiveclick"."""

    name = "adaptiveclick"
    title = "AdaptiveClick"
    good_at = "objects whose clicks could mean several things; photographs and medical images"
    prompts = frozenset({"click"})
    inference = Inference()
    # A variant with "trunk": "conv" is our starter network; its other keys are that network's arguments.
    variants: Mapping[str, Variant] = MappingProxyType(
        {**VARIANTS, "starter": MappingProxyType({"trunk": "conv"})}
    )

    def build(self, variant: str | Variant) -> ClickNet:
        """The network of a variant (a name or a mapping), with random weights."""
        options = dict(named_variant(self.title, self.variants, variant))
        if options.pop("trunk", "vit") == "conv":
            try:
                return AdaptiveClickUNet(**options)
            except TypeError as error:
                raise InputError(f"The variant does not describe a starter network: {error}.") from None
        return AdaptiveClickNet(read_sizes(options))

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`; the starter network is recognised by its card instead."""
        sizes = recognised(shapes, hints or {})
        if sizes is None:
            return None
        return Recognition(self.name, sizes.mapping(), label(sizes), heads_shown=False)

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        read = sizes_from_shapes(shapes, {})
        candidates = [read] if read is not None else [read_sizes(v) for v in VARIANTS.values()]
        return nearest(shapes, ((label(sizes), published_shapes(sizes)) for sizes in candidates), UNUSED)

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published evaluation settings, windows resized to the variant's trained size."""
        options = dict(named_variant(self.title, self.variants, variant))
        if options.pop("trunk", "vit") == "conv":
            return self.inference
        return self.inference.with_options(size=read_sizes(options).image)
