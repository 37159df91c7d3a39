"""Several ways of computing the same, timed in turns in one process; shared by the benchmarks of networks."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

Ways = Mapping[str, Callable[[], Tensor]]
Times = dict[str, list[float]]


def in_turns(ways: Ways, repeats: int) -> tuple[Times, Times]:
    """Wall and processor seconds of each way, in turns so that other load hits all alike."""
    wall: Times = {name: [] for name in ways}
    processor: Times = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start, used = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    return wall, processor


def compared(ways: Ways, repeats: int) -> dict[str, float]:
    """Median seconds of each way, median ratio of "ours" to "plain", their difference and the peak memory."""
    with torch.inference_mode():
        logits = {name: way() for name, way in ways.items()}  # the first run also warms up
        wall, processor = in_turns(ways, repeats)
    result = {f"{name}_s": statistics.median(values) for name, values in wall.items()}
    result |= {f"{name}_cpu_s": statistics.median(values) for name, values in processor.items()}
    for kind, times in (("ratio", wall), ("cpu_ratio", processor)):
        pairs = zip(times["ours"], times["plain"], strict=True)
        result[kind] = statistics.median(a / b for a, b in pairs)
    difference = max(float((logits["ours"] - other).abs().max()) for other in logits.values())
    result["largest_difference_in_std"] = difference / float(logits["ours"].std())
    result["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return result


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Repeats, threads, and a file for the result."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser


def show(result: Mapping[str, float], bar: float, file: Path | None) -> None:
    """Print the result and whether its ratio meets the bar; write it to ``file`` too."""
    if file:
        file.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:26} {value:.3g}")
    print(f"bar: ratio at most {bar}: {'met' if result['ratio'] <= bar else 'MISSED'}")
