"""MST (multi-scale tokens, arXiv 2401.04403): a click model that also looks with small and large patches."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.backends.base import ClickNet, Inference, Recognition, Shapes, Variant
from napari_iseg.backends.cfr_icl_variants import UNUSED
from napari_iseg.backends.mst_variants import (
    QUALITY_WIDTH,
    VARIANTS,
    MstSizes,
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
from napari_iseg.errors import CheckpointError, InputError
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
        tensors = tensors_of(state)
        shapes = {key: tuple(value.shape) for key, value in tensors.items()}
        wrong = shape_differences(shapes, published_shapes(self.sizes), UNUSED)
        found = sizes_from_shapes(shapes, {"num_heads": self.sizes.num_heads}) if wrong else None
        if found is not None and not shape_differences(shapes, published_shapes(found), UNUSED):
            raise CheckpointError(
                f"This checkpoint is {_label(found)}, not {_label(self.sizes)}; "
                f"pass variant={_name(found) or found.mapping()!r}."
            )
        on_meta = check_state(self, wrong, _label(self.sizes))
        # Built without memory: take the tensors as they are.
        self.load_state_dict({key: tensors[key] for key in self.state_dict()}, strict=True, assign=on_meta)

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


class Mst:
    """The backend "mst"."""

    name = "mst"
    title = "MST"
    good_at = "objects of very different sizes in one image"
    prompts = frozenset({"click"})
    inference = Inference(zoom_min_side=20)
    # A variant with "trunk": "conv" is our starter network; its other keys are that network's arguments.
    variants: Mapping[str, Variant] = MappingProxyType(
        {**VARIANTS, "starter": MappingProxyType({"trunk": "conv"})}
    )

    def build(self, variant: str | Variant) -> ClickNet:
        """The network of a variant (a name or a mapping), with random weights."""
        options = dict(self._resolve(variant))
        if options.pop("trunk", "vit") != "conv":
            return MstNet(read_sizes(options))
        from napari_iseg.nn.mst_unet import MstUNet

        try:
            return MstUNet(**options)
        except TypeError as error:
            raise InputError(f"The variant does not describe a starter network: {error}.") from None

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`."""
        sizes = sizes_from_shapes(shapes, hints or {})
        if sizes is None or shape_differences(shapes, published_shapes(sizes), UNUSED):
            return None
        return Recognition(self.name, sizes.mapping(), _label(sizes), heads_shown=False)

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        read = sizes_from_shapes(shapes, {})
        candidates = [read] if read is not None else [read_sizes(v) for v in VARIANTS.values()]
        return nearest(shapes, ((_label(sizes), published_shapes(sizes)) for sizes in candidates), UNUSED)

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published evaluation settings, windows resized to the variant's trained size."""
        options = dict(self._resolve(variant))
        if options.pop("trunk", "vit") == "conv":
            return self.inference
        return self.inference.with_options(size=read_sizes(options).image)

    def _resolve(self, variant: str | Variant) -> Variant:
        return named_variant(self.title, self.variants, variant)


def _name(sizes: MstSizes) -> str | None:
    return next((name for name, variant in VARIANTS.items() if read_sizes(variant) == sizes), None)


def _label(sizes: MstSizes) -> str:
    scoring = f"{len(sizes.scoring)} scoring blocks"
    name = _name(sizes)
    if name is not None:
        return f"MST {name} ({name.removesuffix('-6s')}, {scoring})"
    return (
        f"MST {sizes.branch} ({scoring}), {sizes.depth} blocks of width {sizes.embed_dim}, patch "
        f"{sizes.patch_size}, trained at {' x '.join(map(str, sizes.image))}"
    )
