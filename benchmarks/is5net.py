"""IS5Net at 1024 on two threads: our forward against the plain one, in one process, in turns.

    python benchmarks/is5net.py [--repeats 3] [--threads 2] [--width 1.0] [--size 1024] [--json FILE]

"Plain" is the network as it is published: batch norms by themselves, channels first, all six side maps
enlarged and made probabilities. Ours folds the norms into the convolutions, keeps channels last, and makes
the one map that is the answer. The bfloat16 variant is timed too; it is not kept where it changes the answer
by more than 1e-3.

Wall time decides; processor time is given beside it because it suffers less from other programs' load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.is5net import EdgeNet
from napari_iseg.nn.is5net import fold_norms

BAR, CHANGE = 0.85, 1e-3


def realistic(net: EdgeNet) -> EdgeNet:
    """Random weights whose signal neither dies nor explodes, with norms that do something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.1, generator=generator)
            elif value.ndim == 4:
                value.normal_(0, 1.3 / value[0].numel() ** 0.5, generator=generator)
    return net.eval()


def variants(net: EdgeNet) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    last = deepcopy(net).to(memory_format=torch.channels_last)
    folded = fold_norms(deepcopy(net))
    ours = fold_norms(deepcopy(net)).to(memory_format=torch.channels_last)

    def run(network: EdgeNet, *, is_last: bool, all_maps: bool, half: bool = False) -> Callable[..., Tensor]:
        def forward(image: Tensor, mask: Tensor, box: Tensor) -> Tensor:
            if is_last:
                image = image.to(memory_format=torch.channels_last)
            context = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
            with context:
                return network(image, mask, box)[0] if all_maps else network.answer(image, mask, box)

        return forward

    return {
        "plain": run(net, is_last=False, all_maps=True),
        "channels last": run(last, is_last=True, all_maps=True),
        "norms folded": run(folded, is_last=False, all_maps=True),
        "ours": run(ours, is_last=True, all_maps=False),
        "ours, bfloat16": run(ours, is_last=True, all_maps=False, half=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--only", nargs="*", help="names of variants beside plain; default: all")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    net = backends.build("is5net", {"in_channels": 5, "width": asked.width})
    assert isinstance(net, EdgeNet)
    torch.manual_seed(0)
    side = asked.size
    given = torch.rand(1, 3, side, side), torch.rand(1, 1, side, side), torch.ones(1, 1, side, side)
    forwards = {
        name: forward
        for name, forward in variants(realistic(net)).items()
        if name == "plain" or asked.only is None or name in asked.only
    }
    wall: dict[str, list[float]] = {name: [] for name in forwards}
    used: dict[str, list[float]] = {name: [] for name in forwards}
    answers: dict[str, Tensor] = {}
    with torch.inference_mode():
        for _ in range(asked.repeats):
            for name, forward in forwards.items():
                started, cpu = time.perf_counter(), time.process_time()
                answers[name] = forward(*given)
                wall[name].append(time.perf_counter() - started)
                used[name].append(time.process_time() - cpu)
    result = {}
    print("| forward | wall s (median) | of plain | processor s | of plain | largest change |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in forwards:
        ratio, share = (
            statistics.median(t / p for t, p in zip(times[name], times["plain"], strict=True))
            for times in (wall, used)
        )
        change = float((answers[name].float() - answers["plain"]).abs().max())
        median, busy = statistics.median(wall[name]), statistics.median(used[name])
        print(f"| {name} | {median:.2f} | {ratio:.2f} | {busy:.2f} | {share:.2f} | {change:.1e} |")
        result[name] = {
            "wall": median,
            "ratio": ratio,
            "processor": busy,
            "processor_ratio": share,
            "change": change,
        }
    if "ours" in result:
        good = result["ours"]["ratio"] <= BAR and result["ours"]["change"] <= CHANGE
        print(f"\nours at {result['ours']['ratio']:.2f} of plain (bar {BAR}): {'met' if good else 'not met'}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
