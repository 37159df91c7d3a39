"""MST (multi-scale tokens, arXiv 2401.04403): a click model that also looks with small and large patches."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.backends.base import ClickNet, Inference, Shapes
from napari_iseg.backends.cfr_icl_variants import UNUSED
from napari_iseg.backends.mst_variants import (
    QUALITY_WIDTH,
    VARIANTS,
    MstSizes,
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
from napari_iseg.nn.mst import MstVit, click_cells, within
from napari_iseg.nn.mst_score import MstOutput, Selection
from napari_iseg.nn.plain_vit import PatchEmbed

_PACKED_BYTES = 2**30  # every branch of ViT-B's width; 0.62 GB for "main"


class MstNet(ClickNet):
    """Plain ViT whose scoring blocks take in the small and large tokens most like the clicks.

    Names as published. Negative clicks are seen as disks; only positive ones choose tokens.
    """

    training_methods = ("detailed",)

    def __init__(self, sizes: MstSizes) -> None:
        super().__init__()
        self.sizes = sizes
        dim, patch = sizes.embed_dim, sizes.patch_size
        self.patch_embed_coords = PatchEmbed(3, dim, patch)
        self.backbone = MstVit(
            sizes.image, patch, dim, sizes.depth, sizes.num_heads, sizes.scoring, sizes.rules
        )
        self.neck = SimplePyramid(dim, sizes.neck_dims)
        self.head = MlpHead(sizes.neck_dims, sizes.head_channels, "x1")
        if sizes.quality:
            self.quality = nn.Sequential(
                nn.Linear(3 * dim, QUALITY_WIDTH), nn.ReLU(True), nn.Linear(QUALITY_WIDTH, 1)
            )

    @property
    def branch(self) -> str:
        """Of the authors' repository; decides which losses train it."""
        return self.sizes.branch

    @property
    def patch(self) -> int:
        """Side of a middle patch in pixels."""
        return self.sizes.patch_size

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet.forward`. Clicks outside the window are left out, as published.

        Raises
        ------
        InputError
            For a size that is no multiple of the large patch, or tensors that do not fit together.
        """
        return self._run(image, prev_mask, clicks)[0]

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and, (B,), the IoU that the quality head expects; without one see `ClickNet.scored`."""
        if not self.sizes.quality:
            return super().scored(image, prev_mask, clicks)
        out = self.detailed(image, prev_mask, clicks)
        assert out.quality is not None  # asked above; for the type checker
        return out.logits, out.quality.sigmoid()

    def detailed(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> MstOutput:
        """As `forward`, with what the scoring blocks chose and the quality as a logit."""
        logits, features, chosen = self._run(image, prev_mask, clicks)
        quality = self._quality(logits.detach(), features) if self.sizes.quality else None
        return MstOutput(logits, chosen, quality)

    def prepare(self, height: int, width: int) -> None:
        """Make position tables and resampled kernels, and pack the weights, once; the state dict stays."""
        with torch.no_grad():
            self.backbone.prepare(height, width)
        pack(self, _PACKED_BYTES)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a published (or our own) state dict: every used key, no unknown one, the right shapes.

        Raises
        ------
        CheckpointError
            Otherwise: which branch it is if it is another one, else the first differing keys; the network is
            then unchanged.
        """
        asked = FAMILY.label(self.sizes)

        def instead(shapes: Shapes) -> str | None:
            found = FAMILY.recognised(shapes, {"num_heads": self.sizes.num_heads})
            if found is None:
                return None
            variant = FAMILY.name(found) or found.mapping()
            return f"This checkpoint is {FAMILY.label(found)}, not {asked}; pass variant={variant!r}."

        load_strict(self, state, published_shapes(self.sizes), UNUSED, asked, instead)

    def _run(
        self, image: Tensor, prev_mask: Tensor, clicks: Tensor
    ) -> tuple[Tensor, Tensor, list[tuple[Selection, Selection]]]:
        check_input(image, prev_mask, clicks)
        height, width = image.shape[-2:]
        grid = self.backbone.grid(height, width)
        clicks = within(clicks, height, width)
        mean, std = image.new_tensor((MEAN, STD))[..., None, None]
        disks = click_disks(clicks, height, width)
        prompts = self.patch_embed_coords(torch.cat([prev_mask, disks.to(prev_mask.dtype)], 1))
        cells = click_cells(clicks, grid, self.sizes.patch_size)
        features, chosen = self.backbone((image - mean) / std, prompts, cells)
        logits = self.head(self.neck(features))
        logits = F.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=True)
        return logits, features, chosen

    def _quality(self, logits: Tensor, features: Tensor) -> Tensor:
        """Pools features inside the mask, along its outline and everywhere: what tells good from bad."""
        inside = F.adaptive_avg_pool2d(logits.sigmoid(), (features.shape[-2], features.shape[-1]))
        parts = (inside, 4 * inside * (1 - inside), torch.ones_like(inside))
        pooled = [(features * part).sum((2, 3)) / (part.sum((2, 3)) + 1) for part in parts]
        quality: Tensor = self.quality(torch.cat(pooled, 1).float())
        return quality[:, 0]


def _words(sizes: MstSizes, name: str | None) -> str:
    scoring = f"{len(sizes.scoring)} scoring blocks"
    if name is not None:
        return f"MST {name} ({name.removesuffix('-6s')}, {scoring})"
    return f"MST {sizes.branch} ({scoring}), {trunk_words(sizes)}"


FAMILY: Final = Family(VARIANTS, read_sizes, sizes_from_shapes, published_shapes, UNUSED, _words)


class Mst(PlainVitMethod[MstSizes]):
    """The backend "mst"."""

    name = "mst"
    title = "MST"
    good_at = "objects of very different sizes in one image"
    inference = Inference(zoom_min_side=20)
    family = FAMILY
    variants = MappingProxyType({**VARIANTS, **STARTER})

    def network(self, sizes: MstSizes) -> MstNet:
        """See `PlainVitMethod.network`."""
        return MstNet(sizes)

    def starter(self, **options: Any) -> ClickNet:
        """See `PlainVitMethod.starter`."""
        from napari_iseg.nn.mst_unet import MstUNet

        return MstUNet(**options)
