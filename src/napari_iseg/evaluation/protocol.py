"""The published click protocol: simulate a click, predict, measure, until the target or the last click."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.arguments import check_whole
from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.datasets import Dataset, open_dataset
from napari_iseg.evaluation.how_run import how_run
from napari_iseg.evaluation.methods import ClickMethod, ModelMethod, check_method, mask_of
from napari_iseg.evaluation.metrics import SCALE_BOUNDS, ObjectResult, Report, iou
from napari_iseg.evaluation.scales import checked_bounds

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

OnProgress = Callable[[int, int], None]  # (objects done, objects in all)


def evaluate(
    model: Model | ClickMethod | str | Path,
    dataset: Dataset | str | Path,
    max_clicks: int = 20,
    *,
    max_objects_per_image: int | None = None,
    max_objects: int | None = None,
    seed: int = 0,
    target_iou: float = 0.95,
    stop_at_target: bool = True,
    on_progress: OnProgress | None = None,
    scale_bounds: Sequence[float] = SCALE_BOUNDS,
) -> Report:
    """Evaluate a model (or any `ClickMethod`) by simulated clicks on every object of a data set.

    Each object starts from an empty mask; a click goes where the present mask is most wrong; a pixel is
    object where the probability exceeds the method's threshold; IoU is taken over pixels that are not
    ignored. Models see the whole image (as published). How a model is run (refinement, flip, window) is part
    of the model: see ``Model.with_inference``.

    Parameters
    ----------
    model
        A model, a card's name or a checkpoint's path (run in float32, as published), or an object with all
        that a `ClickMethod` has: ``start(image)``, ``click(row, col, positive)`` with a probability (H, W) as
        its answer, a ``name`` for reports, and the ``threshold`` above which a pixel is object.
    dataset
        An opened data set, or the path of one.
    max_clicks
        Clicks per object at most.
    max_objects_per_image
        Evaluate a random part of each image's objects only, at most so many; the same for all methods.
    max_objects
        Evaluate a random part of all objects only, at most so many, spread over the images; the same for all
        methods.
    seed
        Of the random choice of objects.
    target_iou
        Where an object is finished, at least 0.8.
    stop_at_target
        False makes all ``max_clicks`` clicks, for a curve without the published convention that a finished
        object keeps its IoU.
    on_progress
        Called with (objects done, objects in all).
    scale_bounds
        Bounds between the bins of relative object side, ascending, in (0, 1).

    Raises
    ------
    InputError
        When the data set holds no objects, an option is out of range, the object lacks one of these, or its
        answer has another shape or NaN.
    """
    check_whole("max_clicks", max_clicks)
    if not isinstance(target_iou, Real) or not 0.8 <= target_iou <= 1:
        raise InputError(f"Evaluation needs a target IoU from 0.8 to 1, got {target_iou!r}.")
    bounds = checked_bounds(scale_bounds)
    method = as_method(model)
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    limits = {"max_objects_per_image": max_objects_per_image, "max_objects": max_objects, "seed": seed}
    chosen = choose_objects(data, max_objects_per_image, max_objects, seed)
    total = sum(len(ids) for ids in chosen.values())
    if not total:
        few = f"has no object of at least {data.min_area} pixels"
        raise InputError(f"The data set {data.name} {few}; check its labels or lower min_area.")
    limit = target_iou if stop_at_target else float("inf")
    results: list[ObjectResult] = []
    started = time.perf_counter()
    for index, ids in chosen.items():
        item = data[index]
        image, labels = item.image(), item.labels()
        for label in ids:
            truth = item.truth(label, labels)
            ious, seconds = click_loop(method, image, truth, max_clicks, limit)
            area = int(np.count_nonzero(truth == 1))
            side = float(np.sqrt(area / truth.size))
            results.append(ObjectResult(item.name, label, area, side, ious, seconds))
            if on_progress is not None:
                on_progress(len(results), total)
    wall = time.perf_counter() - started
    protocol = max_clicks, target_iou, stop_at_target
    run = how_run(method, data, threshold=method.threshold, **limits)
    return Report(method.name, data.name, tuple(results), *protocol, wall, bounds, run)


def click_loop(
    method: ClickMethod,
    image: npt.NDArray[Any],
    truth: npt.NDArray[np.int8],
    max_clicks: int,
    target_iou: float,
) -> tuple[tuple[float, ...], float]:
    """IoU after each click on one object, and the seconds spent in the method.

    ``image`` is (H, W) or (H, W, C), ``truth`` (H, W) with 1 = object, 0 = background, -1 = ignored.
    InputError for an answer of another shape than ``truth``, or with NaN.
    """
    simulator = ClickSimulator(truth)
    mask = np.zeros(truth.shape, np.bool_)
    ious: list[float] = []
    started = time.perf_counter()
    method.start(image)
    seconds = time.perf_counter() - started
    while len(ious) < max_clicks and (not ious or ious[-1] < target_iou):
        click = simulator.next(mask)
        started = time.perf_counter()
        answer = method.click(click.row, click.col, click.positive)
        seconds += time.perf_counter() - started
        mask = mask_of(answer, method, truth.shape)
        ious.append(iou(mask, truth))
    return tuple(ious), seconds


def choose_objects(
    dataset: Dataset, max_per_image: int | None = None, max_objects: int | None = None, seed: int = 0
) -> dict[int, list[int]]:
    """Image index -> label ids to evaluate; a random part is spread evenly over the images.

    InputError for limits and seeds that are no whole numbers, and for a chosen image of another size than its
    labels: found when it is reached, all clicks before it would be lost.
    """
    check_whole("max_objects_per_image", max_per_image, or_none=True)
    check_whole("max_objects", max_objects, or_none=True)
    check_whole("seed", seed, 0)
    ranked: list[tuple[int, float, int, int]] = []
    for index, item in enumerate(dataset):
        rng = np.random.default_rng((seed, index))
        for rank, label in enumerate(rng.permutation(item.ids(dataset.min_area))[:max_per_image]):
            ranked.append((rank, float(rng.random()), index, int(label)))
    chosen: dict[int, list[int]] = {}
    for _, _, index, label in sorted(sorted(ranked)[:max_objects], key=lambda entry: entry[2:]):
        chosen.setdefault(index, []).append(label)
    for index in chosen:
        dataset[index].check_shape()
    return chosen


def as_method(model: Model | ClickMethod | str | Path) -> ClickMethod:
    """The click method behind what `evaluate` takes; InputError for anything else."""
    if isinstance(model, str | Path):
        from napari_iseg.weights.store import load_click_model

        return ModelMethod(load_click_model(str(model), precision="float32"))
    if hasattr(model, "start") and hasattr(model, "click"):
        check_method(model)
        return cast(ClickMethod, model)
    if not hasattr(model, "card"):
        raise InputError(
            "Evaluation needs a model, its name or path, or an object with start(), click(), a name and a "
            f"threshold, got a {type(model).__name__}."
        )
    if not hasattr(model, "inference"):
        raise InputError(
            f"The model {model.card.name!r} takes no clicks; measure it with `napari-iseg evaluate --dis`."
        )
    return ModelMethod(model)
