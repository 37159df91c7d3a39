"""AdaptiveClick's networks: on the published plain ViT, and on the small trunk of our starter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.backends.adaptiveclick_variants import UNUSED, VARIANTS, Sizes, read_sizes, sizes_from_shapes
from napari_iseg.backends.base import ClickNet, Shapes
from napari_iseg.backends.published import MEAN, STD, check_input, load_strict, shapes_of
from napari_iseg.backends.published_sizes import Family
from napari_iseg.backends.published_vit import trunk_words
from napari_iseg.nn.adaptiveclick_decoder import ClickAwareDecoder, Prediction
from napari_iseg.nn.adaptiveclick_pixels import PixelDecoder
from napari_iseg.nn.click_unet import ClickUNet
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.exact import exact
from napari_iseg.nn.fused import pack
from napari_iseg.nn.plain_vit import PatchEmbed, PlainVit


class Learned(NamedTuple):
    """What a loss needs of a forward.

    ``logits`` : (B, 1, H, W), the answer; ``predictions`` : before the first decoder layer and after each;
    ``quality`` : (B,) logits of the IoU that the network expects, where it has such a head
    """

    logits: Tensor
    predictions: list[Prediction]
    quality: Tensor | None


class AdaptiveClickNet(ClickNet):
    """Plain ViT, deformable pixel decoder, click-aware mask-adaptive decoder; names as published.

    Differs from the published code where that only hurt: the answer of a window that is not square has the
    window's size (there: transposed), and evaluation mode is evaluation mode.
    """

    training_methods = ("learned",)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.patch_embed_coords = PatchEmbed(3, sizes.embed_dim, sizes.patch_size)
        self.backbone = PlainVit(sizes.image, sizes.patch_size, sizes.embed_dim, sizes.depth, sizes.num_heads)
        self.pixel_decoder = PixelDecoder(
            sizes.neck_dims,
            sizes.decoder_dim,
            sizes.feedforward_dim // 2,
            sizes.encoder_layers,
            sizes.embed_dim,
        )
        self.click_aware_decoder = ClickAwareDecoder(
            sizes.decoder_dim, sizes.feedforward_dim, sizes.decoder_layers, sizes.queries
        )

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet.forward`.

        Raises
        ------
        InputError
            For a size that the grid of patches and windows cannot take, or tensors that do not fit together.
        """
        return self.learned(image, prev_mask, clicks).logits

    def learned(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Learned:
        """All that the loss needs: the answer, and what the queries say after each layer."""
        check_input(image, prev_mask, clicks)
        height, width = image.shape[-2:]
        self.backbone.grid(height, width)
        mean, std = image.new_tensor((MEAN, STD))[..., None, None]
        disks = click_disks(clicks, height, width).to(prev_mask.dtype)
        prompts = self.patch_embed_coords(torch.cat([prev_mask, disks], 1))
        features = self.backbone((image - mean) / std, prompts)
        levels, mask_features = self.pixel_decoder(features)
        predictions: list[Prediction] = self.click_aware_decoder(levels, mask_features, disks[:, :1])
        return Learned(predictions[-1].combined((height, width)), predictions, None)

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
            Otherwise, with what it is instead or the first differing keys; the network is then unchanged.
        """
        asked = FAMILY.label(self.sizes)

        def instead(shapes: Shapes) -> str | None:
            found = FAMILY.recognised(shapes, {})
            if found is None or FAMILY.label(found) == asked:
                return None
            return f"This checkpoint is {FAMILY.label(found)}, not {asked} as asked for; pass its variant=..."

        load_strict(self, state, shapes_of(self), UNUSED, asked, instead)


class AdaptiveClickUNet(ClickUNet):
    """Our starter: AdaptiveClick's two decoders on the maps of a small U-Net, which it can start from.

    Every query's mask is a change of the U-Net's own, which the finest map also holds: before training it
    changes nothing, and the answer is the U-Net's.

    Parameters
    ----------
    widths, depths, sweeps : of the U-Net, see `ClickUNet`
    decoder_dim, feedforward_dim, encoder_layers, decoder_layers, queries : of the decoders, see `Sizes`
    heads, points : of the deformable attention; a quarter of the published places, which rule a click's time
    """

    training_methods = ("learned",)

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 160),
        depths: Sequence[int] = (1, 1, 2, 3),
        sweeps: int = 48,
        *,
        decoder_dim: int = 64,
        feedforward_dim: int = 256,
        encoder_layers: int = 1,
        decoder_layers: int = 3,
        queries: int = 6,
        heads: int = 4,
        points: int = 2,
    ) -> None:
        super().__init__(widths, depths, sweeps)
        pyramid = (widths[0] + self.out.out_channels, *widths[1:])
        self.pixel_decoder = PixelDecoder(
            pyramid, decoder_dim, feedforward_dim // 2, encoder_layers, None, heads=heads, points=points
        )
        self.click_aware_decoder = ClickAwareDecoder(decoder_dim, feedforward_dim, decoder_layers, queries)
        self._start_as_unet(queries)

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet.forward`; any size, padded inside to a multiple of 16."""
        return self._decoded(self.maps(image, prev_mask, clicks), image, clicks)[0]

    def learned(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Learned:
        """All that the loss needs; `Prediction`s are those of the padded input."""
        maps = self.maps(image, prev_mask, clicks)
        logits, predictions = self._decoded(maps, image, clicks)
        return Learned(logits, predictions, self._quality(logits.detach(), maps[1], maps[3]))

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the IoU that the quality head expects of them, (B,)."""
        maps = self.maps(image, prev_mask, clicks)
        logits, _ = self._decoded(maps, image, clicks)
        return logits, self._quality(logits, maps[1], maps[3]).sigmoid()

    def prepare(self, height: int, width: int) -> None:
        """Pack the decoders' weights, once; the state dict stays."""
        del height, width  # the sine codes are kept when they are first made
        pack(self)

    @torch.no_grad()
    def _start_as_unet(self, queries: int) -> None:
        """Masks without a change, and weights that add up to about one."""
        decoder = self.click_aware_decoder
        for parameter in decoder.mask_embed.layers[-1].parameters():
            nn.init.zeros_(parameter)
        decoder.class_embed.weight.mul_(0.1)
        decoder.class_embed.bias.copy_(torch.tensor([0.0, -math.log(max(1, queries - 1))]))

    def _decoded(
        self, maps: Sequence[Tensor], image: Tensor, clicks: Tensor
    ) -> tuple[Tensor, list[Prediction]]:
        """The answer (B, 1, H, W) without the padding, and all predictions."""
        fine, *coarser = maps
        cells = self.out(fine)  # 2 x 2 pixels of the U-Net's mask
        levels, mask_features = self.pixel_decoder([torch.cat([fine, cells], 1), *coarser])
        height, width = 2 * fine.shape[-2], 2 * fine.shape[-1]
        disks = click_disks(clicks, height, width)
        base = cells.float().mean(1, keepdim=True)
        predictions: list[Prediction] = self.click_aware_decoder(levels, mask_features, disks[:, :1], base)
        last = predictions[-1]
        with exact(base):
            change = torch.einsum("bq,bqhw->bhw", last.weights, last.masks.float() - base)[:, None]
        change = F.interpolate(change, size=(height, width), mode="bilinear", align_corners=False)
        own = F.pixel_shuffle(cells.float(), 2) * last.weights.sum(1).view(-1, 1, 1, 1)
        return (own + change)[..., : image.shape[-2], : image.shape[-1]], predictions


def published_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Published key -> shape of everything the network uses; the entries of `UNUSED` are left out."""
    with torch.device("meta"):
        return shapes_of(AdaptiveClickNet(sizes))


def _words(sizes: Sizes, name: str | None) -> str:
    return f"AdaptiveClick {name or f'with a ViT of {trunk_words(sizes)}'}"


FAMILY: Final = Family(VARIANTS, read_sizes, sizes_from_shapes, published_shapes, UNUSED, _words)
