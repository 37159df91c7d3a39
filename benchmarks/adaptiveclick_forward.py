"""AdaptiveClick ViT-B at 448 on two threads: our network against the same one written plainly, in turns.

    python benchmarks/adaptiveclick_forward.py [--repeats 5] [--threads 2] [--json FILE]

"Plain" is the network as it is described and released: softmax attention as matrix products, deformable
attention with a loop over the levels and one grid sampling for each, sine codes made in every forward, all
ten masks enlarged before they are summed. Weights and logits are the same. ``sampling`` is the deformable
sampling alone, one layer's, ours against the loop. Wall time decides; processor time suffers less from other
load.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from compare import command_line, compared, in_turns, show
from torch import Tensor, nn
from vit_attention import plain_block, plain_pyramid, softmax_attention

from napari_iseg import backends
from napari_iseg.backends.adaptiveclick_net import AdaptiveClickNet
from napari_iseg.backends.published import MEAN, STD
from napari_iseg.nn.adaptiveclick_decoder import HEADS, MultiHead, blocked_places, click_maps
from napari_iseg.nn.adaptiveclick_decoder import Prediction as Queries
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.deformable import DeformableAttention, Shape, deformable_sample, reference_points
from napari_iseg.nn.sine_code import SineCode

BAR = 0.8
SIDE = 448


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def loop_sample(value: Tensor, shapes: Sequence[Shape], locations: Tensor, weights: Tensor) -> Tensor:
    """As `deformable_sample`: one grid sampling per level, stacked, weighted, summed."""
    batch, _, heads, dim = value.shape
    queries = locations.shape[1]
    parts, sampled = torch.split(value, [rows * cols for rows, cols in shapes], 1), []
    for i, (rows, cols) in enumerate(shapes):
        level = parts[i].flatten(2).transpose(1, 2).reshape(batch * heads, dim, rows, cols)
        grid = (2 * locations[:, :, :, i] - 1).transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(level, grid, mode="bilinear", align_corners=False))
    shares = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    mixed = (torch.stack(sampled, -2).flatten(-2) * shares).sum(-1)
    return mixed.view(batch, heads * dim, queries).transpose(1, 2)


def plain_deformable(
    attn: DeformableAttention, query: Tensor, source: Tensor, shapes: Sequence[Shape]
) -> Tensor:
    batch, count, dim = query.shape
    by_level = (batch, count, attn.heads, attn.levels, attn.points)
    offsets = linear(attn.sampling_offsets, query).view(*by_level, 2)
    weights = linear(attn.attention_weights, query).view(batch, count, attn.heads, -1).softmax(-1)
    sizes = query.new_tensor([(cols, rows) for rows, cols in shapes])
    reference = reference_points(shapes, query)[None, :, None, None, None]
    value = linear(attn.value_proj, source).view(batch, -1, attn.heads, dim // attn.heads)
    mixed = loop_sample(value, shapes, reference + offsets / sizes[:, None], weights.view(by_level))
    return linear(attn.output_proj, mixed)


def plain_pixels(net: AdaptiveClickNet, features: Tensor) -> tuple[list[Tensor], list[Shape], Tensor]:
    decoder = net.pixel_decoder
    maps = plain_pyramid(decoder.neck, features)
    levels = [project(x) for project, x in zip(decoder.input_proj, reversed(maps[1:]), strict=True)]
    shapes: list[Shape] = [(x.shape[2], x.shape[3]) for x in levels]
    tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
    codes = [SineCode(tokens.shape[-1])(*shape, tokens.device) for shape in shapes]
    embed = decoder.transformer.level_embed
    place = torch.cat([code + vector for code, vector in zip(codes, embed, strict=True)])[None]
    for layer in decoder.transformer.encoder.layers:
        mixed = plain_deformable(layer.self_attn, tokens + place, tokens, shapes)
        tokens = layer.norm1(tokens + mixed)
        tokens = layer.norm2(tokens + linear(layer.linear2, F.relu(linear(layer.linear1, tokens))))
    parts = list(torch.split(tokens, [rows * cols for rows, cols in shapes], 1))
    finest = F.relu(decoder.lateral_convs[0](maps[0]))
    middle = parts[2].transpose(1, 2).reshape(1, -1, *shapes[2])
    finest = finest + F.interpolate(middle, size=finest.shape[-2:], mode="bilinear", align_corners=False)
    return parts, shapes, decoder.mask_features(F.relu(decoder.output_convs[0](finest)))


def plain_multihead(
    attn: MultiHead, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None
) -> Tensor:
    weights, biases = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
    heads = [
        F.linear(x, w, b).view(*x.shape[:2], HEADS, -1).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    ]
    if allowed is None:
        mixed = softmax_attention(*heads)
    else:
        scores = (heads[0] * heads[0].shape[-1] ** -0.5) @ heads[1].transpose(-2, -1)
        mixed = scores.masked_fill(~allowed[:, None], float("-inf")).softmax(-1) @ heads[2]
    return linear(attn.out_proj, mixed.transpose(1, 2).flatten(2))


def plain_forward(net: AdaptiveClickNet, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    vit, decoder = net.backbone, net.click_aware_decoder
    mean, std = image.new_tensor((MEAN, STD))[..., None, None]
    disks = click_disks(clicks, SIDE, SIDE)
    prompts = net.patch_embed_coords.proj(torch.cat([prev_mask, disks], 1))
    x = (vit.patch_embed.proj((image - mean) / std) + prompts).permute(0, 2, 3, 1).contiguous()
    grid = (x.shape[1], x.shape[2])
    x = x + vit.pos_embed[:, 1:].view(1, *grid, -1)
    for i, block in enumerate(vit.blocks):
        x = plain_block(block, x, None if (i + 1) % vit.group == 0 else vit.windows(grid))
    parts, shapes, mask_features = plain_pixels(net, x.permute(0, 3, 1, 2).contiguous())
    content, place = decoder.query_feat.weight[None], decoder.query_embed.weight
    said: Queries = decoder.predict(content, mask_features)
    for i, feed in enumerate(decoder.transformer_ffn_layers):
        level = i % 3
        value = parts[level] + decoder.level_embed.weight[level]
        key = value + SineCode(value.shape[-1])(*shapes[level], value.device)
        blocked = blocked_places(said, click_maps(disks[:, :1], [shapes[level]])[0], shapes[level])
        cross, own = (
            decoder.transformer_cross_attention_layers[i],
            decoder.transformer_self_attention_layers[i],
        )
        allowed = ~blocked | blocked.all(-1, keepdim=True)
        mixed = plain_multihead(cross.multihead_attn, content + place, key, value, allowed)
        content = cross.norm(content + mixed)
        query = content + place
        content = own.norm(content + plain_multihead(own.self_attn, query, query, content, None))
        content = feed.norm(content + linear(feed.linear2, F.relu(linear(feed.linear1, content))))
        said = decoder.predict(content, mask_features)
    masks = F.interpolate(said.masks, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    return torch.einsum("bq,bqhw->bhw", said.classes[..., 1].sigmoid(), masks)[:, None]


def sampling(repeats: int) -> dict[str, float]:
    """Processor seconds of one layer's sampling."""
    shapes: list[Shape] = [(14, 14), (28, 28), (56, 56)]
    count = sum(rows * cols for rows, cols in shapes)
    value, weights = torch.randn(1, count, 8, 32), torch.rand(1, count, 8, 3, 4)
    places = reference_points(shapes, value)[None, :, None, None, None]
    places = places + 0.05 * torch.randn(1, count, 8, 3, 4, 2)
    given = (value, shapes, places, weights)
    ways = {"ours": lambda: deformable_sample(*given), "loop": lambda: loop_sample(*given)}
    assert (ways["ours"]() - ways["loop"]()).abs().max() < 1e-3
    _, processor = in_turns(ways, repeats)
    return {f"sampling_{name}_cpu_s": statistics.median(times) for name, times in processor.items()}


def networks() -> tuple[AdaptiveClickNet, AdaptiveClickNet]:
    """Two networks of equal weights: convolutions laid out as in `Model`, and as torch does by default."""
    torch.manual_seed(0)
    plain, ours = (backends.build("adaptiveclick", "vit-b").eval() for _ in range(2))
    assert isinstance(plain, AdaptiveClickNet)
    assert isinstance(ours, AdaptiveClickNet)
    ours.load_state_dict(plain.state_dict())
    return ours.to(memory_format=torch.channels_last), plain


def measure(repeats: int) -> dict[str, float]:
    ours, plain = networks()
    clicks = torch.tensor([[[150.0, 180.5, 0], [100, 200, 2], [60.25, 30, 1], [-1, -1, -1]]])
    inputs = (torch.rand(1, 3, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE), clicks)
    forwards: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ours(*inputs),
        "plain": lambda: plain_forward(plain, *inputs),
    }
    with torch.inference_mode():
        ours.prepare(SIDE, SIDE)
        result = sampling(repeats)
    return result | compared(forwards, repeats)


def main() -> None:
    parser = command_line(__doc__)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    show(measure(options.repeats), BAR, options.json)


if __name__ == "__main__":
    main()
