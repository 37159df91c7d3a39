"""How long the first, second and later clicks take through `Session.click`, models side by side.

    python benchmarks/click_speed.py [MODEL ...] [--objects 24] [--threads 2]

A MODEL is a name or a folder with weights and card; default: cfr-icl-starter. On scikit-image's coins, 512 x
512; each object is a new session, so its second click is the first one at which the picture is seen for thin
structures. "refuting" is a second click in the middle of what the first has found. Models take turns at each
object, since the machine's speed changes from minute to minute.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from skimage.data import coins
from skimage.transform import resize

from napari_iseg.backends.model import Model
from napari_iseg.interactive.session import Session
from napari_iseg.weights.store import load_click_model

WARM = 3  # objects that are not counted

Point = Sequence[float]


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
    taken: dict[str, list[list[float]]] = {name: [] for name in models}
    for index in range(options.objects):
        points = np.random.default_rng(index).integers(60, 450, (3, 2)).tolist()
        for name, model in models.items():
            taken[name].append([*played(model, image, points), refuted(model, image, points[0])])
    for name, seconds in taken.items():
        middle = 1000 * np.median(seconds[WARM:], 0)
        words = zip(("first", "second", "third", "refuting"), middle, strict=True)
        print(f"{name:30s} " + ", ".join(f"{word} {value:4.0f} ms" for word, value in words))


def played(model: Model, image: npt.NDArray[Any], points: Sequence[Point]) -> list[float]:
    """Seconds of each click on one object: object, background, object."""
    with Session(image, model) as session:
        return [clicked(session, point, k % 2 == 0) for k, point in enumerate(points)]


def refuted(model: Model, image: npt.NDArray[Any], first: Point) -> float:
    """Seconds of a background click where the mask of the first click is deepest."""
    with Session(image, model) as session:
        mask = session.click(first)
        depth = ndi.distance_transform_edt(mask)
        return clicked(session, np.unravel_index(int(depth.argmax()), mask.shape), False)


def clicked(session: Session, point: Point, positive: bool) -> float:
    """Seconds that one click takes."""
    started = time.perf_counter()
    session.click(point, positive)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
