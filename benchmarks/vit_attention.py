"""ViT-B at 448 on two threads: our network against the same one written plainly, in one process, in turns.

    python benchmarks/vit_attention.py [--repeats 5] [--threads 2] [--precision float32] [--json FILE]

"Plain" is the network as it is described: softmax attention as matrix products, windows cut and joined
around each block's attention, every level of the head resized before the maps are concatenated and mixed. It
uses the same weights and must give the same logits. A third forward, ours with only the attention replaced,
shows how much of the gain is the fused attention and how much the rest. All of them compute in the same
precision; with bfloat16 the plain one is timed in float32 too.

Wall time decides; processor time is given beside it because it suffers less from other programs' load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from compare import command_line, compared, show
from torch import Tensor, nn

from napari_iseg import backends
from napari_iseg.backends.cfr_icl import CfrIclNet
from napari_iseg.backends.precision import PRECISIONS
from napari_iseg.nn import plain_vit
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.fpn import MlpHead, SimplePyramid
from napari_iseg.nn.plain_vit import Attention, Block

BAR = 0.8
Inputs = tuple[Tensor, Tensor, Tensor]


def softmax_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, heads, N, D) three times -> (B, heads, N, D)."""
    weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return weights.softmax(-1) @ value


def plain_attention(attn: Attention, x: Tensor) -> Tensor:
    batch, count, dim = x.shape
    qkv = (
        F.linear(x, attn.qkv.weight, attn.qkv.bias)
        .reshape(batch, count, 3, attn.heads, dim // attn.heads)
        .permute(2, 0, 3, 1, 4)
    )
    mixed = softmax_attention(*qkv.unbind(0))
    mixed = mixed.transpose(1, 2).reshape(batch, count, dim)
    out: Tensor = F.linear(mixed, attn.proj.weight, attn.proj.bias)
    return out


def plain_block(block: Block, x: Tensor, windows: tuple[int, int] | None) -> Tensor:
    """One block on (B, rows, cols, C); ``windows`` None for a global one."""
    batch, rows, cols, dim = x.shape
    normal = block.norm1(x)
    if windows is None:
        mixed = plain_attention(block.attn, normal.view(batch, rows * cols, dim)).view(x.shape)
    else:
        down, across = windows
        high, wide = rows // down, cols // across
        cut = normal.view(batch, down, high, across, wide, dim).transpose(2, 3).reshape(-1, high * wide, dim)
        mixed = plain_attention(block.attn, cut).view(batch, down, across, high, wide, dim)
        mixed = mixed.transpose(2, 3).reshape(x.shape)
    x = x + mixed
    first, second = block.mlp.fc1, block.mlp.fc2
    hidden = F.gelu(F.linear(block.norm2(x), first.weight, first.bias))
    out: Tensor = x + F.linear(hidden, second.weight, second.bias)
    return out


def plain_pyramid(neck: SimplePyramid, x: Tensor) -> list[Tensor]:
    """The neck layer by layer, with torch's own group norm."""
    levels = []
    for stage in (neck.down_4, neck.down_8, neck.down_16, neck.down_32):
        y = x
        for layer in stage:
            y = nn.GroupNorm.forward(layer, y) if isinstance(layer, nn.GroupNorm) else layer(y)
        levels.append(y)
    return levels


def plain_head(head: MlpHead, levels: list[Tensor]) -> Tensor:
    """Every level resized before the maps are concatenated and mixed."""
    levels = [F.relu(conv.conv(level)) for conv, level in zip(head.convs, levels, strict=True)]
    size = levels[0].shape[-2:]
    levels = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in levels]
    logits: Tensor = head.conv_seg(F.relu(head.fusion_conv.conv(torch.cat(levels, 1))))
    return logits


def plain_forward(net: CfrIclNet, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    vit = net.backbone
    mean, std = image.new_tensor(((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))[..., None, None]
    prompts = net.patch_embed_coords.proj(torch.cat([prev_mask, click_disks(clicks, height, width)], 1))
    x = (vit.patch_embed.proj((image - mean) / std) + prompts).permute(0, 2, 3, 1).contiguous()
    grid = (x.shape[1], x.shape[2])
    x = x + vit.pos_embed[:, 1:].view(1, *grid, -1)
    for i, block in enumerate(vit.blocks):
        x = plain_block(block, x, None if (i + 1) % vit.group == 0 else vit.windows(grid))
    logits = plain_head(net.head, plain_pyramid(net.neck, x.permute(0, 3, 1, 2).contiguous()))
    return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=True)


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """Our network with softmax attention in place of the fused one, and nothing else changed."""
    fused, plain_vit.F.scaled_dot_product_attention = F.scaled_dot_product_attention, softmax_attention
    try:
        yield
    finally:
        plain_vit.F.scaled_dot_product_attention = fused


def networks() -> tuple[CfrIclNet, CfrIclNet]:
    """Two networks of equal weights: convolutions laid out as in `Model`, and as torch does by default."""
    torch.manual_seed(0)
    plain = backends.build("cfr-icl", "vit-b").eval()
    ours = backends.build("cfr-icl", "vit-b").eval()
    assert isinstance(plain, CfrIclNet)
    assert isinstance(ours, CfrIclNet)
    ours.load_state_dict(plain.state_dict())
    return ours.to(memory_format=torch.channels_last), plain


def measure(repeats: int, precision: str) -> dict[str, float]:
    ours, plain = networks()
    half = precision != "float32"
    casts = partial(torch.autocast, "cpu", PRECISIONS[precision]) if half else nullcontext
    with casts():
        ours.prepare(448, 448)
    clicks = torch.tensor([[[150.0, 180.5, 0], [300, 200, 2], [60.25, 300, 1], [-1, -1, -1]]])
    inputs = (torch.rand(1, 3, 448, 448), torch.zeros(1, 1, 448, 448), clicks)

    def cast(forward: Callable[[], Tensor]) -> Tensor:
        with casts():
            return forward().float()

    def swapped() -> Tensor:
        with without_fused_attention():
            out: Tensor = ours(*inputs)
            return out

    forwards: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: cast(lambda: ours(*inputs)),
        "ours_with_softmax": lambda: cast(swapped),
        "plain": lambda: cast(lambda: plain_forward(plain, *inputs)),
    }
    if half:
        forwards["plain_float32"] = lambda: plain_forward(plain, *inputs)
    return compared(forwards, repeats)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    show(measure(options.repeats, options.precision), BAR, options.json)


if __name__ == "__main__":
    main()
