"""CFR-ICL (arXiv 2303.05620) on SimpleClick's plain ViT, and our starter network run by the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.base import ClickNet
from napari_iseg.backends.cfr_icl_variants import (
    UNUSED,
    VARIANTS,
    VitSizes,
    published_shapes,
    read_sizes,
    sizes_from_shapes,
)
from napari_iseg.backends.published import MEAN, STD, check_input, load_strict
from napari_iseg.backends.published_sizes import Family
from napari_iseg.backends.published_vit import STARTER, PlainVitMethod, trunk_words
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
        load_strict(self, state, published_shapes(self.sizes), UNUSED, FAMILY.label(self.sizes))


def _words(sizes: VitSizes, name: str | None) -> str:
    return f"CFR-ICL {name or f'plain ViT, {trunk_words(sizes)}'}"


FAMILY: Final = Family(VARIANTS, read_sizes, sizes_from_shapes, published_shapes, UNUSED, _words)


class CfrIcl(PlainVitMethod[VitSizes]):
    """The backend "cfr-icl"."""

    name = "cfr-icl"
    title = "CFR-ICL"
    good_at = "objects of any kind from clicks; refines its own mask"
    family = FAMILY
    variants = MappingProxyType({**VARIANTS, **STARTER})

    def network(self, sizes: VitSizes) -> CfrIclNet:
        """See `PlainVitMethod.network`."""
        return CfrIclNet(sizes)

    def starter(self, **options: Any) -> ClickNet:
        """See `PlainVitMethod.starter`."""
        from napari_iseg.nn.click_unet import ClickUNet

        return ClickUNet(**options)
