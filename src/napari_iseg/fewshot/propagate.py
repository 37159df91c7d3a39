"""``iseg.propagate``: a few annotated slices or tiles become all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import IncompleteError, InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.arguments import check_model, check_run
from napari_iseg.fewshot.base import FewShotModel, UnitPredictor
from napari_iseg.fewshot.control import Control
from napari_iseg.fewshot.executors import Executor, Local
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.fewshot.given import GivenImage, GivenLabels, given_clicks, known_planes, plane_list
from napari_iseg.fewshot.models import DEFAULT_MODEL
from napari_iseg.fewshot.predictors import Described, describe
from napari_iseg.fewshot.preparing import Prepared, Request, check_output, prepare, run_folder
from napari_iseg.fewshot.processes import Processes, refuse_in_a_pool, refuse_in_a_start
from napari_iseg.fewshot.runner import Ended, Failure, Listener, Runner
from napari_iseg.fewshot.suggest import Suggestion, suggest
from napari_iseg.fewshot.worker import Worker
from napari_iseg.files import remove
from napari_iseg.labels.metadata import Space
from napari_iseg.prompts import Click, Window


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    out : the OME-Zarr group of labels; labels : ids in it
    units : tiles of planes asked for; computed : predictions made now; kept : units valid from before
    trust : mean of the predicted units, 0 to 1; failed : units that are missing
    next : the slice or tile whose annotation would help most; None when all is annotated
    cancelled : stopped on request; seconds, megapixels_per_second : on the clock; model_seconds : in the
        model
    """

    out: Path
    labels: tuple[int, ...]
    units: int
    computed: int
    kept: int
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
    volume : array-like, levels of a pyramid, or a callable that opens a PlaneSource
        (..., rows, cols) with or without a channel axis; numpy, zarr, dask, xarray. For several processes or
        a cluster something that can be handed over: a zarr array on disk, or a picklable callable.
    labels : array of the volume's shape without channels, LabelStore or path of one, optional
        0 is background, -1 unknown. Slices (of a scene: surroundings) that hold a label are the supports;
        they are copied to the output and never overwritten.
    out : OME-Zarr group to make; ends in .zarr
    model : name of a few-shot model or baseline, or a predictor
    planes : indices along the slicing axis, or plane indices (t, z); None: all
    tile, halo : side of a window, and by how much it reaches beyond its core; planes up to ``tile`` are one
        piece
    memory : budget of one worker, as "2 GB" or bytes
    scheduler : address of a Dask scheduler, whose workers then do the same
    axis : slicing axis, index or name; None: the third from last
    region : only the tiles that touch this window of the planes; of polygons, only the pixels inside, and
        what the output holds outside stays
    scale, axes, translate, units : of the labels, one entry per axis; None: those of a LabelStore, else 1 ...
        Distances between slices are measured with ``scale``.
    clicks : per plane (index along the slicing axis, or plane index; () in a scene) pairs (label, click)
    supports : planes to look for labels in; None: everywhere
    only : labels to look for; None: all
    complete : whether unlabelled pixels of annotated slices and tiles are background; else unknown. Polygons:
        background inside them, unknown outside
    sequential : carry the answer from slice to slice, from both sides, until it is no longer trusted
    probability : keep the probabilities too, as ``out/probability`` (label, ..., rows, cols) float16
    existing : "ask" refuses an output that exists, "resume" goes on with it, "overwrite" replaces it
    workers : processes on this machine, as a number or as devices ("cuda:0", "cuda:1"). Each runs the main
        script again, so that what a script does must stand under ``if __name__ == "__main__":``
    device, precision, threads : of the model; threads 0: as the library likes. For equal bits between runs
        use equal threads
    batch : windows per call of the model, which a GPU likes
    features : encoded images kept on disk beside the record, as "2 GB" or bytes, so that after a change of
        the annotations no image is encoded again, in another process either. A window of 512 x 512 takes 2 to
        5 MB; with less room than the run needs it only costs time. The answers are the same bits
    rgb, channel_axis, bands : as of ``PlaneSource.wrap``
    control, listener : pause, cancel and focus; told of progress and written blocks, in this thread

    Raises
    ------
    InputError, SaveError
        Before anything was written, when something does not fit; or when the run cannot go on.
    IncompleteError
        When units failed repeatedly; all others are done, the message names them, resuming tries them again.
    """
    refuse_in_a_start()
    check_model(model)
    check_run(planes=planes, supports=supports, only=only, region=region, axes=axes)
    given = GivenLabels.of(labels)
    image = GivenImage(volume, rgb, channel_axis, bands)
    shape = tuple(given.array.shape) if given.array is not None else image.shape()
    known: dict[str, Any] = given.store.space.to_record() if given.store is not None else {}
    stated = {"axes": axes, "scale": scale, "translate": translate, "units": units}
    space = Space.make(
        len(shape), **known | {key: value for key, value in stated.items() if value is not None}
    )
    frame = Frame.of(shape, axis, axes=space.axes, spacing=[abs(step) for step in space.scale])
    devices = _devices(workers, device)
    annotations = given.store.path if given.store is not None else None
    check_output(Path(out), existing, annotations)  # before the model is loaded: nobody waits for a refusal
    if scheduler is not None:
        from napari_iseg.fewshot.cluster import check_scheduler

        check_scheduler(scheduler)
    elif len(devices) > 1:
        refuse_in_a_pool()
    described = describe(model, devices[0], precision)
    # not of a resumed run: an earlier result, killed while it was replaced, may be put back first
    places = () if existing == "resume" else (Path(out), run_folder(Path(out)))
    fresh = [path for path in places if not path.exists()]
    prepared = prepare(
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
            tile=tile,
            halo=halo,
            memory=memory,
            clicks=given_clicks(clicks, given.store, frame),
            support_planes=plane_list(supports, frame) or known_planes(given.store, frame),
            wanted=only,
            complete=complete,
            sequential=sequential,
            probability=probability,
            existing=existing,
            annotations=annotations,
            device=devices[0],
            threads=threads,
            features=features,
        )
    )
    try:
        executor = _executor(prepared, described, devices, scheduler)
    except InputError:
        prepared.close()
        for path in fresh:  # or the next try would be asked what to do with it
            remove(path)
        raise
    except BaseException:
        prepared.close()
        raise
    try:
        runner = Runner(
            prepared.plan,
            prepared.record,
            prepared.output,
            executor,
            control=control,
            listener=listener,
            batch=batch,
        )
        report = make_report(prepared, runner.run())
    finally:
        prepared.close()
    if report.failed:
        named = "; ".join(f"{failure.where} ({failure.reason.rstrip('.')})" for failure in report.failed[:5])
        more = f" and {len(report.failed) - 5} more" if len(report.failed) > 5 else ""
        raise IncompleteError(
            f"{len(report.failed)} of {report.units} units of {report.out} failed: {named}{more}; the rest "
            "is done, resume to try them again.",
            report,
        )
    return report


def make_report(prepared: Prepared, ended: Ended) -> RunReport:
    """What a run did, from how it ended."""
    plan = prepared.plan
    results = [(plan.jobs[unit.name], prepared.record.result(plan.jobs[unit.name])) for unit in plan.blocks]
    trusts = [result.trust for job, result in results if result is not None and not job.fixed]
    return RunReport(
        out=prepared.output.path,
        labels=plan.rules.labels,
        units=len(plan.blocks),
        computed=ended.computed,
        kept=ended.kept,
        trust=float(np.mean(trusts)) if trusts else 1.0,
        failed=ended.failed,
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


def _devices(workers: int | Sequence[str], device: str) -> list[str]:
    if not isinstance(workers, int):
        chosen = [str(name) for name in workers]
        if not chosen:
            raise InputError("workers needs at least one device, like cuda:0.")
        return chosen
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    return [device] * workers
