"""CFR-ICL (arXiv 2303.05620) on SimpleClick's plain ViT, and our starter network run by the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.base import ClickNet, Inference, Recognition, Shapes, Variant
from napari_iseg.backends.cfr_icl_variants import (
    UNUSED,
    VARIANTS,
    VitSizes,
    published_shapes,
    read_sizes,
    sizes_from_shapes,
)
from napari_iseg.backends.published import (
    MEAN,
    STD,
    check_input,
    check_state,
    named_variant,
    nearest,
    shape_differences,
    tensors_of,
)
from napari_iseg.errors import InputError
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.fpn import MlpHead, SimplePyramid
from napari_iseg.nn.fused import pack
from napari_iseg.nn.plain_vit import PatchEmbed, PlainVit


class CfrIclNet(ClickNet):
    """Plain ViT with the previous mask and two click maps embedded beside the image; names as published."""

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.patch_embed_coords = PatchEmbed(3, sizes.embed_dim, sizes.patch_size)
        self.backbone = PlainVit(sizes.image, sizes.patch_size, sizes.embed_dim, sizes.depth, sizes.num_heads)
        self.neck = SimplePyramid(sizes.embed_dim, sizes.neck_dims)
        self.head = MlpHead(sizes.neck_dims, sizes.head_channels, sizes.upsample)

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet.forward`.

        Raises
        ------
        InputError
            For a size that the grid of patches and windows cannot take, or tensors that do not fit together.
        """
        check_input(image, prev_mask, clicks)
        height, width = image.shape[-2:]
        self.backbone.grid(height, width)
        mean, std = image.new_tensor((MEAN, STD))[..., None, None]
        disks = click_disks(clicks, height, width)
        prompts = self.patch_embed_coords(torch.cat([prev_mask, disks.to(prev_mask.dtype)], 1))
        features = self.backbone((image - mean) / std, prompts)
        logits = self.head(self.neck(features))
        return F.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=True)

    def prepare(self, height: int, width: int) -> None:
        """Resize the position table for an input size and pack the weights, once; the state dict stays."""
        with torch.no_grad():
            self.backbone.positions(self.backbone.grid(height, width))
        pack(self)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a published (or our own) state dict: every used key, no unknown one, the right shapes.

        Raises
        ------
        CheckpointError
            Otherwise, with the first differing keys; the network is then unchanged.
        """
        tensors = tensors_of(state)
        wrong = _differences({key: tuple(value.shape) for key, value in tensors.items()}, self.sizes)
        on_meta = check_state(self, wrong, _label(self.sizes))
        # Built without memory: take the tensors as they are.
        self.load_state_dict({key: tensors[key] for key in self.state_dict()}, strict=True, assign=on_meta)


class CfrIcl:
    """The backend "cfr-icl"."""

    name = "cfr-icl"
    title = "CFR-ICL"
    good_at = "objects of any kind from clicks; refines its own mask"
    prompts = frozenset({"click"})
    inference = Inference()
    # A variant with "trunk": "conv" is our starter network; its other keys are that network's arguments.
    variants: Mapping[str, Variant] = MappingProxyType(
        {**VARIANTS, "starter": MappingProxyType({"trunk": "conv"})}
    )

    def build(self, variant: str | Variant) -> ClickNet:
        """The network of a variant (a name or a mapping), with random weights."""
        options = dict(self._resolve(variant))
        if options.pop("trunk", "vit") == "conv":
            from napari_iseg.nn.click_unet import ClickUNet

            try:
                return ClickUNet(**options)
            except TypeError as error:
                raise InputError(f"The variant does not describe a starter network: {error}.") from None
        return CfrIclNet(read_sizes(options))

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`; the starter network is recognised by its card instead."""
        sizes = sizes_from_shapes(shapes, hints or {})
        if sizes is None or _differences(shapes, sizes):
            return None
        return Recognition(self.name, sizes.mapping(), _label(sizes), heads_shown=False)

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        read = sizes_from_shapes(shapes, {})
        candidates = [read] if read is not None else [read_sizes(v) for v in VARIANTS.values()]
        return nearest(shapes, ((_label(sizes), published_shapes(sizes)) for sizes in candidates), UNUSED)

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published evaluation settings, windows resized to the variant's trained size."""
        options = self._resolve(variant)
        if options.get("trunk", "vit") == "conv":
            return self.inference
        options = {key: value for key, value in options.items() if key != "trunk"}
        return self.inference.with_options(size=read_sizes(options).image)

    def _resolve(self, variant: str | Variant) -> Variant:
        return named_variant(self.title, self.variants, variant)


def _label(sizes: VitSizes) -> str:
    for name, variant in VARIANTS.items():
        if read_sizes(variant) == sizes:
            return f"CFR-ICL {name}"
    return (
        f"CFR-ICL plain ViT, {sizes.depth} blocks of width {sizes.embed_dim}, patch {sizes.patch_size}, "
        f"trained at {' x '.join(map(str, sizes.image))}"
    )


def _differences(shapes: Shapes, sizes: VitSizes) -> list[str]:
    return shape_differences(shapes, published_shapes(sizes), UNUSED)
