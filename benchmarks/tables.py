"""Markdown tables of the results that `starter.py` wrote.

    python benchmarks/tables.py results/starter [results/random-walker ...]

One folder: all figures per set. Several: NoC@85 and IoU after five clicks side by side, over the sets that
all have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = (1, 3, 5, 10)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def noc(report: dict[str, Any], threshold: float) -> float:
    return float(report["noc"][f"{threshold:.2f}"])


def row(name: str, values: list[str]) -> str:
    return f"| {name} | " + " | ".join(values) + " |"


def detailed(results: dict[str, dict[str, Any]]) -> list[str]:
    head = ["set", "objects", "NoC@80", "NoC@85", "NoC@90", *(f"IoU@{k}" for k in SHOWN)]
    head += ["failures@85", "largest fall", "ms"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for kind in ("instances", "semantic"):
        chosen = {name: r for name, r in results.items() if r["kind"] == kind}
        numbers = []
        for name, report in chosen.items():
            figures = [noc(report, t) for t in (0.80, 0.85, 0.90)] + [report["curve"][k - 1] for k in SHOWN]
            numbers.append(figures)
            ms = 1000 * report["prediction_seconds_per_click"]
            tail = [str(report["failures"]["0.85"]), f"{report['drop']:.3f}", f"{ms:.0f}"]
            lines.append(row(name, [str(report["object_count"]), *formatted(figures), *tail]))
        if numbers:
            mean = [float(v) for v in np.mean(numbers, 0)]
            lines.append(row(f"**mean, {kind}**", ["", *formatted(mean), "", "", ""]))
    return lines


def formatted(figures: list[float]) -> list[str]:
    return [f"{v:.2f}" for v in figures[:3]] + [f"{v:.3f}" for v in figures[3:]]


def compared(folders: list[Path]) -> list[str]:
    results = [read(folder) for folder in folders]
    common = [name for name in results[0] if all(name in r for r in results)]
    head = ["set"] + [f"{what}, {folder.name}" for what in ("NoC@85", "IoU@5") for folder in folders]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    numbers = [
        [noc(r[name], 0.85) for r in results] + [r[name]["curve"][4] for r in results] for name in common
    ]
    count = len(folders)
    for name, figures in [*zip(common, numbers, strict=True), ("**mean**", list(np.mean(numbers, 0)))]:
        lines.append(row(name, [f"{v:.2f}" for v in figures[:count]] + [f"{v:.3f}" for v in figures[count:]]))
    return lines


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    print("\n".join(detailed(read(given[0])) if len(given) == 1 else compared(given)))
