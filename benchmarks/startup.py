"""How long the import and the first clicks take: `python benchmarks/startup.py [--model NAME]`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

import napari_iseg as iseg


def seconds_to_import(repeats: int = 5) -> float:
    """Median of fresh processes, minus that of a process that imports nothing."""
    code = "import time; t = time.perf_counter(); import napari_iseg; print(time.perf_counter() - t)"
    run = [sys.executable, "-c", code]
    return statistics.median(
        float(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(repeats)
    )


def milliseconds_per_click(model: str, repeats: int = 5) -> tuple[float, float]:
    """Medians of the first and of the later clicks through a session, 512 x 512 pixels."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (512, 512), np.uint8)
    image[100:300, 150:350] //= 3
    loaded = iseg.load_model(model)
    first, later = [], []
    for repeat in range(repeats + 1):
        session = iseg.Session(image, loaded)
        for i, (row, col, positive) in enumerate(
            [(200, 250, True), (150, 160, True), (400, 60, False), (290, 340, True)]
        ):
            started = time.perf_counter()
            session.click((row, col), positive=positive)
            if repeat:  # the first session warms up
                (later if i else first).append(1000 * (time.perf_counter() - started))
    return statistics.median(first), statistics.median(later)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cfr-icl-starter")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"import napari_iseg: {seconds_to_import():.3f} s")
    print("first click {:.0f} ms, later clicks {:.0f} ms".format(*milliseconds_per_click(options.model)))
