"""How long the first, second and later clicks take through `Session.click`, models side by side.

    python benchmarks/click_speed.py [MODEL ...] [--objects 24] [--threads 2]

A MODEL is a name or a folder with weights and card; default: cfr-icl-starter. On scikit-image's coins, 512 x
512; each object is a new session, so its second click is the first one at which the picture is seen for thin
structures. Models take turns at each object, since the machine's speed changes from minute to minute.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from skimage.data import coins
from skimage.transform import resize

from napari_iseg.interactive.session import Session
from napari_iseg.weights.store import load_click_model

WARM = 3  # objects that are not counted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["cfr-icl-starter"])
    parser.add_argument("--objects", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = (resize(coins(), (512, 512)) * 255).astype(np.uint8)
    models = {name: load_click_model(name, device="cpu") for name in options.models}
    taken = {name: np.zeros((options.objects, 3)) for name in models}
    for index in range(options.objects):
        points = np.random.default_rng(index).integers(60, 450, (3, 2))
        for name, model in models.items():
            session = Session(image, model)
            for k, (row, col) in enumerate(points):
                started = time.perf_counter()
                session.click((float(row), float(col)), k % 2 == 0)
                taken[name][index, k] = time.perf_counter() - started
            session.close()
    for name, seconds in taken.items():
        first, second, third = 1000 * np.median(seconds[WARM:], 0)
        print(f"{name:30s} first {first:4.0f} ms, second {second:4.0f} ms, third {third:4.0f} ms")


if __name__ == "__main__":
    main()
