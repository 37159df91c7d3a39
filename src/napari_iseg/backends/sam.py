"""Segment Anything (SAM, arXiv 2304.02643): clicks, boxes and both, on a picture that is encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from napari_iseg.backends.base import Inference, Recognition, Shapes, Variant
from napari_iseg.backends.published import named_variant
from napari_iseg.backends.published_sizes import Family
from napari_iseg.backends.sam_conv import SamConvNet
from napari_iseg.backends.sam_net import SamNet
from napari_iseg.backends.sam_variants import (
    UNUSED,
    VARIANTS,
    SamSizes,
    is_conv,
    published_shapes,
    read_conv_sizes,
    read_sizes,
    sizes_from_shapes,
)


def _words(sizes: SamSizes, name: str | None) -> str:
    if name is not None:
        return f"SAM {name}"
    return (
        f"SAM of own sizes, {sizes.depth} blocks of width {sizes.embed_dim}, patch {sizes.patch_size}, "
        f"trained at {sizes.img_size} x {sizes.img_size}"
    )


FAMILY: Final = Family(
    {name: variant for name, variant in VARIANTS.items() if not is_conv(variant)},
    read_sizes,
    lambda shapes, _hints: sizes_from_shapes(shapes),
    published_shapes,
    UNUSED,
    _words,
)


class Sam:
    """The backend "sam"."""

    name = "sam"
    title = "Segment Anything"
    good_at = "a box or a few clicks; every click after the first is answered at once"
    prompts = frozenset({"click", "box"})
    inference = Inference(threshold=0.5, flip=False, size=(1024, 1024), window="whole")
    variants: Mapping[str, Variant] = VARIANTS

    def build(self, variant: str | Variant) -> SamNet:
        """The network of a variant (a name or a mapping), with random weights."""
        mapping = self._resolve(variant)
        if is_conv(mapping):
            return SamConvNet(read_conv_sizes(mapping), "SAM with the starters' encoder")
        sizes = read_sizes(mapping)
        return SamNet(sizes, FAMILY.label(sizes))

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`; shapes tell everything, ``hints`` are not needed."""
        sizes = FAMILY.recognised(shapes, hints or {})
        return None if sizes is None else Recognition(self.name, sizes.mapping(), FAMILY.label(sizes))

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        return FAMILY.differences(shapes)

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published settings: the whole picture in the network's square."""
        mapping = self._resolve(variant)
        side = (read_conv_sizes(mapping) if is_conv(mapping) else read_sizes(mapping)).img_size
        return self.inference.with_options(size=(side, side))

    def _resolve(self, variant: str | Variant) -> Variant:
        if isinstance(variant, str):  # the package itself writes vit_b
            variant = variant.replace("_", "-")
        return named_variant(self.title, VARIANTS, variant)
