"""ViT-B at 448 in parts, for a machine that is busy: the least processor time of many short rounds.

    python benchmarks/vit_parts.py [--rounds 8] [--json FILE]

`vit_attention.py` times whole forwards, which other programs interrupt a thousand times. A part is short
enough to run undisturbed now and then, so its least time in turns is its own. One thread; the parts are added
up as often as they occur.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from vit_attention import plain_block, plain_head, plain_pyramid

from napari_iseg.nn.fpn import MlpHead, SimplePyramid
from napari_iseg.nn.fused import pack
from napari_iseg.nn.plain_vit import Block, PatchEmbed

WIDTHS = (128, 256, 512, 1024)
Forwards = dict[str, Callable[[], object]]


def parts() -> Iterator[tuple[str, int, Forwards]]:
    """Name, how often it occurs, and the forwards to compare."""
    block = Block(768, 12).eval()
    plain, loose = copy.deepcopy(block), copy.deepcopy(block)
    pack(block)
    cut, whole, grid = torch.randn(4, 196, 768), torch.randn(1, 784, 768), torch.randn(1, 28, 28, 768)
    yield (
        "windowed block",
        10,
        {
            "ours": lambda: block(cut),
            "not packed": lambda: loose(cut),
            "plain": lambda: plain_block(plain, grid, (2, 2)),
        },
    )
    yield (
        "global block",
        2,
        {
            "ours": lambda: block(whole),
            "not packed": lambda: loose(whole),
            "plain": lambda: plain_block(plain, grid, None),
        },
    )
    embed, image = PatchEmbed(3, 768, 16).eval(), torch.rand(1, 3, 448, 448)
    first, unpacked = copy.deepcopy(embed), copy.deepcopy(embed)
    pack(embed)
    yield (
        "patches",
        2,
        {
            "ours": lambda: embed(image),
            "not packed": lambda: unpacked(image),
            "plain": lambda: first.proj(image),
        },
    )
    yield "neck and head", 1, necks(grid.permute(0, 3, 1, 2))


def necks(last: Tensor) -> Forwards:
    """Neck and head on a channels-last map (1, 768, 28, 28)."""
    made = SimplePyramid(768, WIDTHS).eval(), MlpHead(WIDTHS, 256, "x1").eval()
    neck, head = (copy.deepcopy(part).to(memory_format=torch.channels_last) for part in made)
    loose_neck, loose_head = copy.deepcopy(neck), copy.deepcopy(head)
    pack(neck)
    pack(head)
    contiguous = last.contiguous()
    return {
        "ours": lambda: head(neck(last)),
        "not packed": lambda: loose_head(loose_neck(last)),
        "plain": lambda: plain_head(made[1], plain_pyramid(made[0], contiguous)),
    }


def least(forwards: Forwards, rounds: int) -> dict[str, float]:
    """The least processor seconds of each forward, in turns."""
    seconds = {name: float("inf") for name in forwards}
    for _ in range(rounds + 1):  # the first round warms up, and is never the fastest
        for name, forward in forwards.items():
            start = time.process_time()
            forward()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    total = {"ours": 0.0, "not packed": 0.0, "plain": 0.0}
    with torch.inference_mode():
        for name, times, forwards in parts():
            seconds = least(forwards, options.rounds)
            shown = "  ".join(f"{key} {1000 * value:6.1f} ms" for key, value in seconds.items())
            print(f"{name:16} x {times:2d}  {shown}", flush=True)
            total = {key: total[key] + times * seconds[key] for key in total}
    result = total | {
        "ratio": total["ours"] / total["plain"],
        "ratio not packed": total["not packed"] / total["plain"],
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    for key, value in result.items():
        print(f"{key:16} {value:.3f}")


if __name__ == "__main__":
    main()
