"""``iseg.propagate``: a few annotated slices or tiles become all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import IncompleteError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.arguments import check_model
from napari_iseg.fewshot.base import FewShotModel, UnitPredictor
from napari_iseg.fewshot.control import Control
from napari_iseg.fewshot.executors import Executor, Local
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.fewshot.given import GivenImage, GivenLabels, given_clicks, known_planes, plane_list
from napari_iseg.fewshot.models import DEFAULT_MODEL
from napari_iseg.fewshot.predictors import Described, describe
from napari_iseg.fewshot.preparing import Prepared, Request, check_output, place_of, prepare
from napari_iseg.fewshot.processes import Processes, refuse_in_a_pool, refuse_in_a_start
from napari_iseg.fewshot.run_arguments import check_run
from napari_iseg.fewshot.runner import Ended, Failure, Listener, Runner
from napari_iseg.fewshot.suggest import Suggestion, suggest
from napari_iseg.fewshot.worker import Worker
from napari_iseg.labels.metadata import Space
from napari_iseg.prompts import Click, Window


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    out
        The OME-Zarr group of labels.
    labels
        Ids in it.
    units
        Tiles of planes asked for. What is left of them after ``computed`` and ``kept`` is missing: it failed,
        or the run was stopped.
    computed
        Units made now.
    kept
        Units valid from before.
    predictions
        Made for the units computed now. A tile needs those of its neighbours too, whose windows reach into
        it; with ``sequential`` a plane needs one from each side besides its own.
    trust
        Mean of the predicted units, 0 to 1; those without a value in the image are left out.
    failed
        Units that are missing.
    next
        The slice or tile whose annotation would help most; None when all is annotated.
    cancelled
        Stopped on request.
    seconds
        On the clock.
    model_seconds
        In the model.
    megapixels_per_second
        On the clock.
    """

    out: Path
    labels: tuple[int, ...]
    units: int
    computed: int
    kept: int
    predictions: int
    trust: float
    failed: tuple[Failure, ...]
    next: Suggestion | None
    cancelled: bool
    seconds: float
    model_seconds: float
    megapixels_per_second: float


def propagate(
    volume: Any,
    labels: Any = None,
    out: str | Path = "rest.zarr",
    model: str | FewShotModel | UnitPredictor = DEFAULT_MODEL,
    planes: range | slice | Sequence[int] | Sequence[Plane] | None = None,
    tile: int = 512,
    halo: int = 64,
    memory: str | int = "2 GB",
    scheduler: str | None = None,
    *,
    axis: int | str | None = None,
    region: Window | Areas | None = None,
    scale: Sequence[float] | None = None,
    axes: Sequence[str] | None = None,
    translate: Sequence[float] | None = None,
    units: Sequence[object] | None = None,
    clicks: Mapping[int | Plane, Sequence[tuple[int, Click]]] | None = None,
    supports: Sequence[int] | Sequence[Plane] | None = None,
    only: Sequence[int] | None = None,
    complete: bool | Areas = True,
    sequential: bool = False,
    probability: bool = False,
    existing: str = "ask",
    workers: int | Sequence[str] = 1,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    batch: int = 1,
    features: str | int = 0,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    bands: Sequence[int] | None = None,
    control: Control | None = None,
    listener: Listener | None = None,
) -> RunReport:
    """Segment a volume, time series or scene from a few annotated slices or tiles.

    Nothing of the data's size is ever held: windows are read, predicted, blended and written one after the
    other. Beside ``out`` a folder ``<out>.run`` keeps what is finished, so that a run that was killed goes on
    where it was (``existing="resume"``) and ends with the same bits, and after a change of the annotations
    only what depends on it is computed again.

    Parameters
    ----------
    volume : array_like, sequence of arrays, or callable
        (..., rows, cols) with or without a channel axis; numpy, zarr, dask, xarray; or the levels of a
        pyramid. A callable opens a PlaneSource. For several processes or a cluster something that can be
        handed over: a zarr array on disk, or a picklable callable.
    labels : array_like, LabelStore, path, or None
        Of the volume's shape without channels. 0 is background, -1 unknown. Slices (of a scene: surroundings)
        that hold a label are the supports; they are copied to the output and never overwritten.
    out
        OME-Zarr group to make; ends in .zarr.
    model
        Name of a few-shot model or baseline, or a predictor.
    planes
        Indices along the slicing axis, or plane indices (t, z); None: all.
    tile
        Side of a window, in pixels. Planes up to this side are one piece.
    halo
        By how many pixels a window reaches beyond its core.
    memory
        Budget of one worker, as "2 GB" or bytes.
    scheduler
        Address of a Dask scheduler, whose workers then do the same.
    axis
        Slicing axis, index or name; None: the third from last.
    region
        Only the tiles that touch this window of the planes; of polygons, only the pixels inside, and what the
        output holds outside stays.
    scale
        Units per pixel of the labels, one entry per axis; None: that of a LabelStore, else 1. Distances
        between slices are measured with it.
    axes
        Names of the labels' axes, one per axis; None: those of a LabelStore, else the usual ones.
    translate
        Position of the labels' first pixel, one entry per axis; None: that of a LabelStore, else 0.
    units
        Units of ``scale``, one entry per axis; None: those of a LabelStore, else none.
    clicks
        Per plane (index along the slicing axis, or plane index; () in a scene) pairs (label, click).
    supports
        Planes to look for labels in; None: everywhere.
    only
        Labels to look for; None: all.
    complete
        Whether unlabelled pixels of annotated slices and tiles are background; else unknown. Polygons:
        background inside them, unknown outside; one that reaches no painted slice or tile changes nothing.
        A single label without any background is refused where all would be marked: in scenes, in tiles, and
        by the model "training-free".
    sequential
        Carry the answer from slice to slice, from both sides, until it is no longer trusted.
    probability
        Keep the probabilities too, as ``out/probability`` (label, ..., rows, cols) float16.
    existing
        "ask" refuses an output that exists, "resume" goes on with it, "overwrite" replaces it: what was
        there goes with the first prediction, and is put back if the run is refused before.
    workers
        Processes on this machine, as a number or as devices ("cuda:0", "cuda:1"). Each runs the main script
        again, so that what a script does must stand under ``if __name__ == "__main__":``.
    device
        Of the model: "auto", "cpu", "cuda", ...
    precision
        Of the model, as `napari_iseg.backends.model.Model` takes it.
    threads
        Of the model; 0: as the library likes. For equal bits between runs use equal threads.
    batch
        Windows per call of the model, which a GPU likes.
    features
        Encoded images kept on disk beside the record, as "2 GB" or bytes, so that after a change of the
        annotations no image is encoded again, in another process either. A window of 512 x 512 takes 2 to
        5 MB; with less room than the run needs it only costs time. The answers are the same bits.
    rgb
        As of ``PlaneSource.wrap``.
    channel_axis
        As of ``PlaneSource.wrap``.
    bands
        As of ``PlaneSource.wrap``.
    control
        Pause, cancel and focus.
    listener
        Told of progress and written blocks, in this thread.

    Raises
    ------
    InputError
        Before anything was written, when something does not fit; or when the run cannot go on.
    SaveError
        When the output cannot be written, before the run or in it.
    IncompleteError
        When units failed repeatedly; all others are done, the message names them, resuming tries them again.

    Warns
    -----
    UserWarning
        Before the first prediction, when nothing is known to be background, or a polygon of ``complete``
        changes nothing because it reaches no paint.
    """
    refuse_in_a_start()
    check_model(model)
    check_run(
        out=out,
        planes=planes,
        tile=tile,
        halo=halo,
        scheduler=scheduler,
        region=region,
        axes=axes,
        supports=supports,
        only=only,
        complete=complete,
        sequential=sequential,
        probability=probability,
        workers=workers,
        threads=threads,
        batch=batch,
        control=control,
        listener=listener,
    )
    given = GivenLabels.of(labels)
    image = GivenImage(volume, rgb, channel_axis, bands)
    shape = tuple(given.array.shape) if given.array is not None else image.shape()
    known: dict[str, Any] = given.store.space.to_record() if given.store is not None else {}
    stated = {"axes": axes, "scale": scale, "translate": translate, "units": units}
    space = Space.make(
        len(shape), **known | {key: value for key, value in stated.items() if value is not None}
    )
    frame = Frame.of(shape, axis, axes=space.axes, spacing=[abs(step) for step in space.scale])
    devices = [device] * int(workers) if isinstance(workers, int | Integral) else list(workers)
    annotations = given.store.path if given.store is not None else None
    # before the model is loaded: nobody waits for a refusal
    check_output(Path(out), existing, annotations, place_of(volume))
    if scheduler is not None:
        from napari_iseg.fewshot.cluster import check_scheduler

        check_scheduler(scheduler)
    elif len(devices) > 1:
        refuse_in_a_pool()
    described = describe(model, devices[0], precision)
    with prepare(
        Request(
            image=image.opener(frame),
            labels=given.array,
            frame=frame,
            space=space,
            out=Path(out),
            predictor=described.opener,
            identity=described.identity,
            on_grid=described.on_grid,
            planes=plane_list(planes, frame),
            region=region,
            tile=int(tile),
            halo=int(halo),
            memory=memory,
            clicks=given_clicks(clicks, given.store, frame),
            support_planes=plane_list(supports, frame) or known_planes(given.store, frame),
            wanted=only,
            complete=complete if isinstance(complete, Areas) else bool(complete),
            sequential=bool(sequential),
            probability=bool(probability),
            existing=existing,
            annotations=annotations,
            device=devices[0],
            threads=int(threads),
            features=features,
        )
    ) as prepared:
        for sentence in prepared.doubts:
            warnings.warn(sentence, stacklevel=2)
        runner = Runner(
            prepared.plan,
            prepared.record,
            prepared.output,
            _executor(prepared, described, devices, scheduler),
            control=control,
            listener=listener,
            batch=int(batch),
            predicted=prepared.room.settle,
        )
        report = make_report(prepared, runner.run())
    if report.failed:
        raise IncompleteError(_what_failed(report), report)
    return report


def _what_failed(report: RunReport) -> str:
    named = "; ".join(f"{failure.where} ({failure.reason.rstrip('.')})" for failure in report.failed[:5])
    more = f" and {len(report.failed) - 5} more" if len(report.failed) > 5 else ""
    return (
        f"{len(report.failed)} of {report.units} units of {report.out} failed: {named}{more}; the rest "
        "is done, resume to try them again."
    )


def make_report(prepared: Prepared, ended: Ended) -> RunReport:
    """What a run did, from how it ended."""
    plan = prepared.plan
    results = [(plan.jobs[unit.name], prepared.record.result(plan.jobs[unit.name])) for unit in plan.blocks]
    predicted = [result for job, result in results if result is not None and not job.fixed]
    trusts = [result.trust for result in predicted if not result.is_empty]
    written = [prepared.record.is_written(unit.name, plan.block_digest(unit)) for unit in plan.blocks]
    return RunReport(
        out=prepared.output.path,
        labels=plan.rules.labels,
        units=len(plan.blocks),
        computed=sum(written) - ended.kept,
        kept=ended.kept,
        predictions=ended.computed,
        trust=float(np.mean(trusts)) if trusts else 1.0,
        failed=tuple({failure.where: failure for failure in ended.failed}.values()),  # of all its steps
        next=suggest(plan, prepared.record),
        cancelled=ended.cancelled,
        seconds=ended.seconds,
        model_seconds=ended.model_seconds,
        megapixels_per_second=ended.pixels / 1e6 / max(ended.seconds, 1e-9),
    )


def _executor(
    prepared: Prepared, described: Described, devices: Sequence[str], scheduler: str | None
) -> Executor:
    setup = prepared.setup
    if scheduler is not None:
        from napari_iseg.fewshot.cluster import Cluster

        return Cluster(setup, scheduler)
    if len(devices) > 1:
        return Processes(setup, devices)
    worker = Worker(setup, described.predictor(setup.features), prepared.record.supports)
    return Local(worker, ahead=_ahead(prepared))


def _ahead(prepared: Prepared) -> int:
    """Windows that are read before their turn: few, and no more than a part of the budget."""
    rows, cols = prepared.plan.grid.window(0, 0).shape
    return int(min(4, prepared.setup.ahead // (rows * cols * 12)))
