"""Segment Anything's network, made of the package segment-anything's own modules and with their names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.backends.prompt_net import PromptNet
from napari_iseg.backends.published import MEAN, STD, check_input, load_strict
from napari_iseg.backends.sam_variants import HEADS, MASKS, UNUSED, SamSizes, published_shapes
from napari_iseg.nn.derived import Derived
from napari_iseg.nn.exact import exact
from napari_iseg.nn.few_tokens import FewTokenAttention
from napari_iseg.nn.square_frame import SquareFrame
from napari_iseg.nn.torchvision_guard import need_torchvision

_CERTAIN = 1e-4  # probabilities are kept so far from 0 and 1 when they become logits


class SamNet(PromptNet):
    """SAM: a plain ViT for the picture, a light decoder for clicks, boxes and an earlier mask.

    ``forward`` answers as every click network does, with the whole of the image in the square; the click loop
    calls ``encode`` and ``decode`` instead.
    """

    def __init__(self, sizes: SamSizes, label: str) -> None:
        super().__init__()
        self.sizes, self.label = sizes, label
        self.side, self.low = sizes.img_size, 4 * sizes.grid
        self.image_encoder = _vit(sizes)
        self.prompt_encoder, self.mask_decoder = prompt_parts(
            sizes.prompt_dim, sizes.grid, sizes.img_size, sizes.mlp_dim, sizes.iou_dim
        )
        self._codes = Derived()

    def encode(self, picture: Tensor) -> Tensor:
        """See `PromptNet.encode`; the padding is zero after normalisation, as published."""
        mean, std = picture.new_tensor((MEAN, STD))[..., None, None]
        rows, cols = picture.shape[-2:]
        padded = F.pad((picture - mean) / std, (0, self.side - cols, 0, self.side - rows))
        embedding: Tensor = self.image_encoder(padded)
        return embedding.contiguous(memory_format=torch.channels_last)  # as ``decode`` wants it

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
        sparse, dense = self.prompts(embedding, points, labels, boxes, memory)
        answers, places = self.attend(embedding + dense, sparse)
        return self.masks(answers, self.mask_decoder.output_upscaling(places), several=several)

    def prompts(
        self, like: Tensor, points: Tensor, labels: Tensor, boxes: Tensor | None, memory: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Codes (B, N, E) of points and corners, and (B, E, G, G) of the mask, of the type of ``like``.

        In bfloat16 a click would move by two pixels.
        """
        clicked = (points, labels) if points.shape[1] else None
        with exact(like):
            known = None if memory is None else memory.float()
            sparse, dense = self.prompt_encoder(points=clicked, boxes=boxes, masks=known)
        return sparse.to(like.dtype), dense.to(like.dtype)

    def attend(self, scene: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer's tokens (B, N, E) and places (B, E, G, G), for prompts ``sparse``."""
        decoder, count = self.mask_decoder, len(scene)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, -1, -1), sparse.expand(count, -1, -1)], 1)
        # Channels last: the transformer takes the places as rows, which then are no copies.
        scene = scene.contiguous(memory_format=torch.channels_last)
        answers, places = decoder.transformer(scene, self._where().expand(count, -1, -1, -1), tokens)
        return answers, places.transpose(1, 2).reshape(scene.shape)

    def masks(self, answers: Tensor, fine: Tensor, *, several: bool) -> tuple[Tensor, Tensor]:
        """Logits and expected IoU from the tokens and the upscaled places (B, E / 8, low, low)."""
        decoder = self.mask_decoder
        wanted = range(1, MASKS) if several else range(1)
        heads = [decoder.output_hypernetworks_mlps[i](answers[:, 1 + i]) for i in wanted]
        logits = torch.einsum("bmc,bchw->bmhw", torch.stack(heads, 1), fine)
        quality: Tensor = decoder.iou_prediction_head(answers[:, 0])
        return logits, quality[:, wanted.start : wanted.stop]

    def _where(self) -> Tensor:
        """The places' position code (1, E, G, G), made once."""

        def make(table: Tensor) -> Tensor:
            with exact(table):
                code: Tensor = self.prompt_encoder.get_dense_pe()
            return code.contiguous(memory_format=torch.channels_last)

        table = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        return self._codes.get("where", table, make)

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet.forward`: of a single click the best of three masks."""
        return self.scored(image, prev_mask, clicks)[0]

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, H, W) and the IoU that the network expects, (B,)."""
        check_input(image, prev_mask, clicks)
        frame = SquareFrame(image.shape[-2], image.shape[-1], self.side)
        embeddings = self.encode(frame.picture(image))
        answers = [
            self._answer(embeddings[i : i + 1], prev_mask[i : i + 1], clicks[i], frame)
            for i in range(len(image))
        ]
        logits, quality = (torch.cat(parts) for parts in zip(*answers, strict=True))
        return frame.restored(logits.float()), quality.float()

    def _answer(
        self, embedding: Tensor, prev_mask: Tensor, clicks: Tensor, frame: SquareFrame
    ) -> tuple[Tensor, Tensor]:
        half = len(clicks) // 2
        signs = torch.arange(len(clicks), device=clicks.device) < half
        used = clicks[:, 2] >= 0
        points = frame.points(clicks[used, :2].float())[None]
        memory = None
        if prev_mask.any():
            memory = frame.reduced(torch.logit(prev_mask, _CERTAIN), self.low)
        several = int(used.sum()) == 1 and memory is None
        if not len(points[0]):  # no prompt at all: the published padding point
            points, labels = points.new_zeros(1, 1, 2), points.new_full((1, 1), -1)
        else:
            labels = signs[used].float()[None]
        return best(*self.decode(embedding, points, labels, None, memory, several=several))

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict with segment-anything's names: every key, no unknown one, the right shapes.

        Raises
        ------
        CheckpointError
            Otherwise, with the first differing keys; the network is then unchanged.
        """
        load_strict(self, state, published_shapes(self.sizes), UNUSED, self.label)


def best(logits: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Of several masks (B, C, L, L) the one with the highest expected IoU (B, C): (B, 1, L, L) and (B,)."""
    index = quality.argmax(1)
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, index][:, None], quality[rows, index]


def _vit(sizes: SamSizes) -> Any:
    """Image encoder of segment-anything."""
    need_torchvision()
    from segment_anything.modeling import ImageEncoderViT

    return ImageEncoderViT(
        img_size=sizes.img_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        mlp_ratio=4,
        qkv_bias=True,
        use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        global_attn_indexes=sizes.global_attn_indexes,
        window_size=sizes.window_size,
        out_chans=sizes.prompt_dim,
    )


def prompt_parts(width: int, grid: int, side: int, mlp_dim: int, iou_dim: int) -> tuple[Any, Any]:
    """Prompt encoder and mask decoder of segment-anything, for embeddings of ``width`` on grid x grid."""
    need_torchvision()
    from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    prompts = PromptEncoder(
        embed_dim=width,
        image_embedding_size=(grid, grid),
        input_image_size=(side, side),
        mask_in_chans=16,
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer_dim=width,
        transformer=_with_few_tokens(
            TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=mlp_dim, num_heads=HEADS), width
        ),
        iou_head_depth=3,
        iou_head_hidden_dim=iou_dim,
    )
    return prompts, decoder


def _with_few_tokens(transformer: Any, width: int) -> Any:
    """The package's transformer with attention that makes use of how few its tokens are."""
    for layer in transformer.layers:
        layer.cross_attn_token_to_image = FewTokenAttention(width, HEADS, width // 2)
        layer.cross_attn_image_to_token = FewTokenAttention(width, HEADS, width // 2)
    transformer.final_attn_token_to_image = FewTokenAttention(width, HEADS, width // 2)
    return transformer
