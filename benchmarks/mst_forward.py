"""MST ViT-B at 448 on two threads: our network against the same one written plainly, in turns.

    python benchmarks/mst_forward.py [--repeats 5] [--threads 2] [--variant main] [--json FILE]

"Plain" is the network as it is described and released: softmax attention as matrix products, the patch
kernels and the position tables resampled in every forward, every level of the head resized before the maps
are concatenated and mixed. It uses the same weights and must give the same logits. Wall time decides;
processor time suffers less from other load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from compare import command_line, compared, show
from torch import Tensor
from vit_attention import plain_attention, plain_head, plain_pyramid, softmax_attention

from napari_iseg import backends
from napari_iseg.backends.mst import MstNet
from napari_iseg.backends.published import MEAN, STD
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.mst import ScoringBlock, click_cells
from napari_iseg.nn.mst_score import CrossAttention, ScoreBlock
from napari_iseg.nn.mst_tokens import position_tables
from napari_iseg.nn.plain_vit import Mlp

BAR = 0.7


def plain_linear(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def plain_mlp(mlp: Mlp, x: Tensor) -> Tensor:
    return plain_linear(mlp.fc2, F.gelu(plain_linear(mlp.fc1, x)))


def plain_attend(query: Tensor, joint: Tensor, heads: int) -> Tensor:
    """(B, N, C) and keys beside values (B, M, 2 C) -> (B, N, C)."""
    batch, count, dim = query.shape
    split = query.view(batch, count, heads, -1).transpose(1, 2)
    key, value = joint.view(batch, joint.shape[1], 2, heads, -1).permute(2, 0, 3, 1, 4)
    return softmax_attention(split, key, value).transpose(1, 2).reshape(batch, count, dim)


def plain_cross(attn: CrossAttention, x: Tensor, context: Tensor) -> Tensor:
    mixed = plain_attend(plain_linear(attn.q, x), plain_linear(attn.kv, context), attn.heads)
    return plain_linear(attn.proj, mixed)


def plain_context(score: ScoreBlock, base: Tensor, grid: tuple[int, int]) -> Tensor:
    attn, context = score.cross_attn, score.norm2(base)
    if attn.sr is not None:
        cells = attn.sr(context.transpose(1, 2).reshape(len(base), -1, *grid))
        context = attn.norm(cells.flatten(2).transpose(1, 2))
    return plain_linear(attn.kv, context)


def plain_refresh(score: ScoreBlock, x: Tensor, context: Tensor, kind: str) -> Tensor:
    attn = score.cross_attn
    mixed = plain_attend(plain_linear(attn.q, score.norm1(x)), context, attn.heads)
    expert = attn.proj[f"expert_{kind}"]
    x = x + plain_linear(expert[2], F.gelu(plain_linear(expert[0], mixed)))
    return x + plain_mlp(score.cross_mlp, score.norm3(x))


def plain_scoring(
    block: ScoringBlock, x: Tensor, small: Tensor, large: Tensor, cells: Tensor, grid, places
) -> tuple[Tensor, Tensor, Tensor]:
    score, rules, clicked = block.score, block.rules, (cells >= 0).any(1)
    context = plain_context(score, x, grid)
    small = plain_refresh(score, small, context, "s")
    if score.cross_attn.sr is None:  # the branch 224 makes it again for the large tokens
        context = plain_context(score, x, grid)
    large = plain_refresh(score, large, context, "l")
    kernel = score.kernel(x, cells)
    fine = score.select(small, kernel, clicked, places[0]).tokens
    coarse = score.select(large, kernel, clicked, places[1]).tokens
    fuse, take = block.score_l_s, block.score_cross_attn
    fused = fine + block.gamma * plain_cross(fuse, block.norm6(fine), block.norm7(coarse))
    taken = plain_cross(take, block.norm3(x), block.norm4(fused))
    x = x + (block.gamma2 * taken if rules.scaled else taken)
    return x + plain_mlp(block.score_mlp, block.norm5(x)) if rules.score_mlp else x, small, large


def plain_forward(net: MstNet, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    vit, (rows, cols) = net.backbone, net.backbone.grid(height, width)
    mean, std = image.new_tensor((MEAN, STD))[..., None, None]
    normal = (image - mean) / std
    middle, *places = position_tables(
        vit.pos_embed,
        vit.trained_grid,
        (rows, cols),
        [(rows, cols), (2 * rows, 2 * cols), (rows // 2, cols // 2)],
    )
    prompts = net.patch_embed_coords.proj(torch.cat([prev_mask, click_disks(clicks, height, width)], 1))
    x = (vit.patch_embed.proj(normal) + prompts).flatten(2).transpose(1, 2) + middle
    embed = vit.patch_embed
    small, large = (
        F.conv2d(normal, embed._resampled(embed.proj.weight, side), embed.proj.bias, stride=side)
        .flatten(2)
        .transpose(1, 2)
        + places[i]
        for i, side in enumerate((vit.patch // 2, 2 * vit.patch))
    )
    cells = click_cells(clicks, (rows, cols), vit.patch)
    for block in vit.blocks:
        if isinstance(block, ScoringBlock):
            x, small, large = plain_scoring(block, x, small, large, cells, (rows, cols), places)
        x = x + plain_attention(block.attn, block.norm1(x))
        x = x + plain_mlp(block.mlp, block.norm2(x))
    levels = plain_pyramid(net.neck, x.transpose(1, 2).reshape(len(x), -1, rows, cols).contiguous())
    logits = plain_head(net.head, levels)
    return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=True)


def networks(variant: str) -> tuple[MstNet, MstNet]:
    """Two networks of equal weights: convolutions laid out as in `Model`, and as torch does by default."""
    torch.manual_seed(0)
    plain, ours = (backends.build("mst", variant).eval() for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    return ours.to(memory_format=torch.channels_last), plain


def measure(variant: str, repeats: int) -> dict[str, float]:
    ours, plain = networks(variant)
    side = int(ours.sizes.image[0])
    ours.prepare(side, side)
    clicks = torch.tensor([[[150.0, 180.5, 0], [100, 200, 2], [60.25, 30, 1], [-1, -1, -1]]])
    inputs = (torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side), clicks)
    forwards: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ours(*inputs),
        "plain": lambda: plain_forward(plain, *inputs),
    }
    return compared(forwards, repeats)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--variant", default="main")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    show(measure(options.variant, options.repeats), BAR, options.json)


if __name__ == "__main__":
    main()
