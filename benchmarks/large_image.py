"""First click on a 30 000 x 30 000 multiscale zarr against the same click on a 1024 crop of it.

    python benchmarks/large_image.py [--model NAME_OR_PATH] [--rounds 5] [--threads 2]

Bars: at most 1.3 times the time, and the process grows by less than 300 MB. Each round wraps the image anew,
so the stretch is found again. Only the chunks near the click and the coarse levels are stored; the rest is
the fill value. Wall time decides; processor time suffers less from other programs' load.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
import zarr

from napari_iseg import backends, load_model
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click, Window

SIDE, CHUNK, LEVELS = 30_000, 512, 7
CLICK = Click(20_100, 9_900)
STORED = Window(18_944, 8_704, 20_992, 11_264)  # chunks of level 0 that hold the context of the click
VIEWS = {"headless": None, "screen": Window(19_500, 9_000, 20_600, 10_900), "all": Window(0, 0, SIDE, SIDE)}


def texture(window: Window, step: int) -> np.ndarray:
    """Cell-like uint16 texture, the same at every level."""
    rows = np.arange(window.top, window.bottom)[:, None] * step
    cols = np.arange(window.left, window.right)[None] * step
    cells = np.sin(rows / 40) * np.sin(cols / 55)
    noise = np.random.default_rng(step).normal(0, 120, cells.shape)
    return np.clip(3000 + 2500 * (cells > 0.3) + noise, 0, None).astype(np.uint16)


def write_pyramid(folder: Path) -> None:
    """All levels; of the finest ones only what lies around the click."""
    for level in range(LEVELS):
        step = 2**level
        side = -(-SIDE // step)
        array = zarr.create_array(
            str(folder / str(level)),
            shape=(side, side),
            chunks=(CHUNK, CHUNK),
            dtype="uint16",
            fill_value=3000,
        )
        whole = Window(0, 0, side, side)
        near = Window(STORED.top // step, STORED.left // step, STORED.bottom // step, STORED.right // step)
        window = whole if level >= 4 else near
        array[window.slices] = texture(window, step)


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


class Peak:
    """Highest resident memory while the block runs."""

    def __enter__(self) -> Peak:
        self.highest, self._stop = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.highest = max(self.highest, resident())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def first_click(image: object, click: Click, model: Model, view: Window | None = None) -> tuple[float, float]:
    """Milliseconds from the opened array to the answer: on the clock, and of the processor."""
    start = time.perf_counter(), time.process_time()
    Predictor(PlaneSource.wrap(image), model).step(None, click, view=view)
    return (time.perf_counter() - start[0]) * 1e3, (time.process_time() - start[1]) * 1e3


def chosen_model(name: str | None) -> Model:
    """The named model, or an untrained vit-xtiny: time does not depend on the weights."""
    if name is not None:
        return load_model(name, device="cpu")
    card = ModelCard(name="untrained", title="untrained", backend="cfr-icl", variant="vit-xtiny")
    return Model(card, backends.build("cfr-icl", "vit-xtiny"), device="cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = chosen_model(options.model)
    half = 512
    top, left = int(CLICK.row) - half, int(CLICK.col) - half
    with tempfile.TemporaryDirectory() as folder:
        write_pyramid(Path(folder))
        levels = [zarr.open_array(str(Path(folder) / str(level)), mode="r") for level in range(LEVELS)]
        crop = levels[0][top : top + 2 * half, left : left + 2 * half]
        for _ in range(2):
            first_click(crop, Click(half, half), model)
        failed = False
        for name, view in VIEWS.items():
            times: dict[str, list[tuple[float, float]]] = {"crop": [], "large": []}
            before = resident()
            with Peak() as peak:
                for _ in range(options.rounds):
                    times["crop"].append(first_click(crop, Click(half, half), model))
                    times["large"].append(first_click(levels, CLICK, model, view))
            (small, small_cpu), (large, large_cpu) = (np.median(times[k], 0) for k in ("crop", "large"))
            growth = peak.highest - before
            failed |= large > 1.3 * small or growth > 300
            print(
                f"{name:9s} crop {small:6.0f} ms  large {large:6.0f} ms  ratio {large / small:.2f} "
                f"(bar 1.3); processor {small_cpu:.0f} and {large_cpu:.0f} ms; "
                f"growth {growth:.0f} MB (bar 300)",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
