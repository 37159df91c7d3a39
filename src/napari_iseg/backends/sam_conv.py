"""A small SAM for a CPU: the starters' convolutional encoder, segment-anything's prompt parts and decoder.

A plain ViT is far from useful after what a CPU can train it for. As MobileSAM (arXiv 2306.14289) does,
another encoder gives the embedding; as in SAM 2 (arXiv 2408.00714) its finer levels join the decoder's
upscaling. What is ours is said in `napari_iseg.nn.prompt_rule`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.backends.sam_net import SamNet, prompt_parts
from napari_iseg.backends.sam_variants import SamConvSizes
from napari_iseg.errors import CheckpointError
from napari_iseg.nn.derived import Derived
from napari_iseg.nn.ifsenet_encoder import ConvEncoder
from napari_iseg.nn.ifsenet_parts import ConvNorm, resize
from napari_iseg.nn.prompt_rule import MAPS, MEANING, prompt_maps
from napari_iseg.nn.textures import TEXTURES, textures

_MIDDLE, _QUARTER, _HIDDEN = 64, 32, 32  # channels at stride 8 of IFSENet's starter, at stride 4, of the maps
_CLOSE = 48
_GREY = 0.5  # of the padding


class _Closer(nn.Module):
    """Looks at picture and prompts together at stride 4, where SAM's decoder only multiplies them.

    A large SAM's embedding holds every outline already. Starts as nothing.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        layers = [
            ConvNorm(inner if i == 0 else _CLOSE, _CLOSE, dilation=rate) for i, rate in enumerate((1, 2, 4))
        ]
        self.look = nn.Sequential(*layers)
        self.change = nn.Conv2d(_CLOSE, outer, 1)
        self.answer = nn.Conv2d(_CLOSE, 1, 1)
        for last in (self.change, self.answer):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What to add to the features (B, outer, h, w), and to all logits (B, 1, h, w)."""
        seen = self.look(x)
        return self.change(seen), self.answer(seen)


class SamConvNet(SamNet):
    """See the module; called as a `SamNet`. The embedding holds the finer levels too, folded to stride 8."""

    def __init__(self, sizes: SamConvSizes, label: str) -> None:
        super(SamNet, self).__init__()
        width = sizes.prompt_dim
        self.conv_sizes, self.label = sizes, label
        self.side, self.low = sizes.img_size, 4 * sizes.grid
        self.encoder = ConvEncoder()
        first, second, third, deep = self.encoder.channels
        self.middle = ConvNorm(second + third, _MIDDLE, 1)  # as IFSENet's, so that it can start this one
        self.deep = ConvNorm(deep, width - _MIDDLE, 1)
        self.quarter = ConvNorm(first, _QUARTER, 1)
        self.prompt_encoder, self.mask_decoder = prompt_parts(
            width, sizes.grid, sizes.img_size, sizes.mlp_dim, sizes.iou_dim
        )
        self.seen = nn.Conv2d(_MIDDLE, _QUARTER, 1)
        self.maps = nn.Conv2d(MAPS, _HIDDEN, 3, padding=1)
        self.maps_down = nn.Conv2d(_HIDDEN, width, 3, stride=2, padding=1)
        self.join_quarter = nn.Conv2d(_QUARTER + _HIDDEN, width // 4, 1)
        self.join_half = nn.Conv2d(TEXTURES, width // 8, 1)
        self.closer = _Closer(width // 4 + _QUARTER + _HIDDEN, width // 4)
        self.direct = nn.Conv2d(MAPS, 1, 1)
        with torch.no_grad():
            self.direct.weight.copy_(torch.tensor(MEANING).view(1, -1, 1, 1))
            self.direct.bias.fill_(-0.5)  # type: ignore[union-attr]
        self._codes = Derived()

    def encode(self, picture: Tensor) -> Tensor:
        """See `PromptNet.encode`."""
        rows, cols = picture.shape[-2:]
        padded = F.pad(picture, (0, self.side - cols, 0, self.side - rows), value=_GREY)
        levels = self.encoder(padded)
        eighth = levels.f2.shape[-2:]
        middle = self.middle(torch.cat([levels.f2, resize(levels.f3, eighth)], 1))
        parts = [
            middle,
            resize(self.deep(levels.f4), eighth),
            F.pixel_unshuffle(self.quarter(levels.f1), 2),
            F.pixel_unshuffle(textures(padded.float()).to(middle.dtype), 4),
        ]
        return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)

    def decode(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        memory: Tensor | None = None,
        *,
        several: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """See `PromptNet.decode`."""
        width = self.conv_sizes.prompt_dim
        embedding = embedding.contiguous(memory_format=torch.channels_last)  # from a file it is not
        scene, quarter, half = torch.split(embedding, [width, 4 * _QUARTER, 16 * TEXTURES], 1)
        quarter, half = F.pixel_shuffle(quarter, 2), F.pixel_shuffle(half, 4)
        seen = torch.cat([quarter, resize(self.seen(scene[:, :_MIDDLE]), quarter.shape[-2:])], 1)
        seen = torch.cat([seen, 4 * F.avg_pool2d(half, 2)], 1)
        maps = prompt_maps(seen, points, labels, boxes, memory).to(embedding.dtype)
        hidden = self.maps(maps).relu()
        sparse, dense = self.prompts(embedding, points, labels, boxes, memory)
        answers, coarse = self.attend(scene + dense + self.maps_down(hidden), sparse)
        up = self.mask_decoder.output_upscaling  # transposed convolution, norm, GELU, and again without norm
        raised, near = up[0](coarse), torch.cat([quarter, hidden], 1)
        change, answer = self.closer(torch.cat([raised, near], 1))
        fine = up[2](up[1](raised + self.join_quarter(near) + change))
        fine = up[4](up[3](fine) + self.join_half(half))
        logits, quality = self.masks(answers, fine, several=several)
        return logits + resize(self.direct(maps) + answer, logits.shape[-2:]), quality

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Refused: no published checkpoint has this form.

        Raises
        ------
        CheckpointError
            Always.
        """
        del state
        raise CheckpointError(
            "SAM with the starters' encoder has no published checkpoint; load it by its card or its folder."
        )
