"""The box protocol: every object gets its true box, perhaps shaken, and the mask is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, open_dataset
from napari_iseg.evaluation.how_run import how_run
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.evaluation.metrics import iou
from napari_iseg.evaluation.protocol import choose_objects
from napari_iseg.prompts import Box

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

_LEVELS = (0.5, 0.75, 0.9)


@dataclass(frozen=True)
class BoxReport:
    """IoU of every object's mask with its truth, from a box alone.

    Attributes
    ----------
    method, dataset : names
    ious : per object
    noise : standard deviation of the corners, as a share of the box's sides
    seconds : in the model, for all objects
    run : what was run on what, see `how_run.how_run`
    """

    method: str
    dataset: str
    ious: tuple[float, ...]
    noise: float
    seconds: float
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean_iou(self) -> float:
        """Mean over objects."""
        return float(np.mean(self.ious))

    def share(self, level: float) -> float:
        """Share of objects with at least this IoU."""
        return float(np.mean(np.asarray(self.ious) >= level))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            "prompt": "box",
            "noise": self.noise,
            "protocol": dict(self.run),
            "objects": len(self.ious),
            "mean_iou": self.mean_iou,
            "share": {f"{level:.2f}": self.share(level) for level in _LEVELS},
            "seconds_per_object": self.seconds / len(self.ious),
        }


def evaluate_boxes(
    model: Model,
    dataset: Dataset | str | Path,
    *,
    noise: float = 0.0,
    max_objects_per_image: int | None = None,
    max_objects: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> BoxReport:
    """Ask a model for every object of a data set by its box.

    Parameters
    ----------
    model : one that takes boxes
    dataset : an opened data set, or the path of one
    noise : standard deviation by which corners are moved, as a share of the box's sides (SAM was trained with
        0.1, at most 20 pixels)
    max_objects_per_image, max_objects, seed : as in `napari_iseg.evaluation.protocol.evaluate`
    on_progress : called with (objects done, objects in all)

    Raises
    ------
    InputError
        When the model takes no boxes, the noise is negative, or the data set holds no objects.
    """
    if "box" not in model.card.prompts:
        raise InputError(
            f"The model {model.card.name!r} does not take boxes; evaluate it by clicks (leave --boxes out)."
        )
    if noise < 0:
        raise InputError(f"The noise of boxes must be 0 or more, got {noise}.")
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    limits = {"max_objects_per_image": max_objects_per_image, "max_objects": max_objects, "seed": seed}
    chosen = choose_objects(data, max_objects_per_image, max_objects, seed)
    total = sum(len(ids) for ids in chosen.values())
    if not total:
        raise InputError(f"The data set {data.name} has no object to give a box to; check its labels.")
    method, ious, seconds = ModelMethod(model), [], 0.0
    for index, ids in chosen.items():
        item = data[index]
        image, labels = item.image(), item.labels()
        for label in ids:
            truth = item.truth(label, labels)
            box = shaken(box_of(truth == 1), noise, np.random.default_rng((seed, index, label)))
            started = time.perf_counter()
            method.start(image)
            mask = method.box(box) > method.threshold
            seconds += time.perf_counter() - started
            ious.append(float(iou(mask, truth)))
            if on_progress is not None:
                on_progress(len(ious), total)
    return BoxReport(method.name, data.name, tuple(ious), noise, seconds, how_run(method, data, **limits))


def box_of(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box around the object in ``mask`` (H, W), which must not be empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(float(rows[0]), float(cols[0]), float(rows[-1] + 1), float(cols[-1] + 1))


def shaken(box: Box, noise: float, rng: np.random.Generator, limit: float = 20.0) -> Box:
    """The box with its corners moved at random, by at most ``limit`` pixels and never to nothing."""
    if not noise:
        return box
    height, width = box.row1 - box.row0, box.col1 - box.col0
    sides = np.array([height, width, height, width])
    moves = np.clip(rng.normal(size=4) * noise * sides, -np.minimum(limit, 0.45 * sides), None)
    moves = np.minimum(moves, np.minimum(limit, 0.45 * sides))
    row0, col0, row1, col1 = np.array([box.row0, box.col0, box.row1, box.col1]) + moves
    return Box(row0, col0, row1, col1)


def box_table(reports: Sequence[BoxReport]) -> str:
    """One Markdown row per data set and method."""
    shares = [f"IoU >= {level:g}" for level in _LEVELS]
    lines = [
        "| " + " | ".join(["data set", "method", "objects", "mIoU", *shares, "s/object"]) + " |",
        "| --- | --- | " + " | ".join(["---:"] * (3 + len(shares))) + " |",
    ]
    for r in reports:
        cells = [r.dataset, r.method, str(len(r.ious)), f"{r.mean_iou:.3f}"]
        cells += [f"{100 * r.share(level):.0f} %" for level in _LEVELS]
        lines.append("| " + " | ".join([*cells, f"{r.seconds / len(r.ious):.3f}"]) + " |")
    return "\n".join(lines)
