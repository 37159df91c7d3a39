"""From what the user gives to a run that is ready to start: every check is made here, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.fewshot.collect import Clicks, collect, doubts
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.output import Output, layout_record
from napari_iseg.fewshot.pixels import same_pixels
from napari_iseg.fewshot.plan import Plan, Rules
from napari_iseg.fewshot.record import Record
from napari_iseg.fewshot.room import RECORD, Hold, Room, put_back, room_for
from napari_iseg.fewshot.sizes import byte_count, share
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.fewshot.worker import Setup
from napari_iseg.files import check_place, lies_in, real_place
from napari_iseg.images import PlaneSource
from napari_iseg.labels.metadata import Space
from napari_iseg.prompts import Window

EXISTING = ("ask", "resume", "overwrite")


@dataclass(frozen=True)
class Request:
    """What is to be run; see ``propagate`` for the meaning of each."""

    image: Callable[[], PlaneSource]
    labels: Any | None
    frame: Frame
    space: Space
    out: Path
    predictor: Callable[[str, int], UnitPredictor]
    identity: str
    on_grid: bool = False
    planes: Sequence[Plane] | None = None
    region: Window | Areas | None = None
    tile: int = 512
    halo: int = 64
    memory: str | int = "2 GB"
    clicks: Clicks | None = None
    support_planes: Sequence[Plane] | None = None
    accepted: Iterable[Plane] = ()
    wanted: Sequence[int] | None = None
    complete: bool | Areas = True
    sequential: bool = False
    probability: bool = False
    existing: str = "ask"
    annotations: Path | None = None
    device: str = "auto"
    threads: int = 0
    features: str | int = 0


@dataclass(frozen=True)
class Prepared:
    """A run that can start: the parts that ``Runner`` takes, and the setup of its workers.

    After a ``with`` block in which the run has not settled everything is put back as it was, if it raised
    or replaced something.

    Attributes
    ----------
    doubts : sentences on the annotation that its user should hear before the run
    """

    plan: Plan
    record: Record
    output: Output
    setup: Setup
    hold: Hold
    room: Room
    doubts: tuple[str, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with ExitStack() as last:
            last.callback(self.hold.release)  # after all else, as another run may then begin
            self.record.close()
            if kind is None and not self.room.replaces:
                self.room.settle()
            else:
                self.room.give_up()


def run_folder(out: Path) -> Path:
    """Where a run keeps its record: beside its output, of a link beside what it names.

    So a result has one record, by whatever name it is called, and one run at a time works on it.
    """
    place = real_place(out)
    return place.with_name(f"{place.name}.run")


def can_resume(out: Path) -> bool:
    """Whether a run has begun ``out`` and left its record, so that another one may go on with it."""
    return out.exists() and (run_folder(out) / RECORD).exists()


def prepare(request: Request) -> Prepared:
    """Check everything, keep the supports, plan.

    Raises
    ------
    InputError
        When something is missing or does not fit; nothing has then been written over.
    SaveError
        When the output cannot be written.
    """
    frame, out = request.frame, request.out
    grid = Grid(frame.plane_shape, request.tile, request.halo)
    source = request.image()
    _check_image(source, frame)
    check_output(out, request.existing, request.annotations)
    byte_count(request.memory), byte_count(request.features, "features")
    with ExitStack() as refused:
        hold = Hold(out, run_folder(out))
        refused.callback(hold.release)
        put_back(out, run_folder(out))
        check_output(out, request.existing, request.annotations)  # once more: it may be back
        room = room_for(out, run_folder(out), request.existing, unknown=hold.is_new)
        refused.callback(room.give_up)
        prepared = _begun(request, grid, source, hold, room)
        refused.pop_all()
    return prepared


def _begun(request: Request, grid: Grid, source: PlaneSource, hold: Hold, room: Room) -> Prepared:
    """The run with its record, supports, plan and output on disk."""
    frame, out = request.frame, request.out
    record = Record(run_folder(out), layout_record(frame, grid, probability=request.probability))
    try:
        memory, window = byte_count(request.memory), grid.window(0, 0).shape
        record.supports.limit = memory // 8  # until it is known what the tiles leave
        refs = _supports(request, grid, source, record)
        labels = _labels(refs, request.wanted, copied=request.on_grid)
        budget = share(memory, window, len(labels))
        record.supports.limit = budget.supports
        plan = _plan(request, grid, source, refs, labels)
        output = Output(out, frame, grid, labels, request.space, probability=request.probability)
        if not same_pixels(plan.jobs.values(), record, source):
            record.forget()
    except BaseException:
        record.close()
        raise
    setup = Setup(
        image=request.image,
        predictor=request.predictor,
        labels=labels,
        supports=dict(plan.supports),
        folder=record.folder,
        features=budget.features,
        support_bytes=budget.supports,
        ahead=budget.ahead,
        device=request.device,
        threads=request.threads,
        disk=byte_count(request.features),
    )
    said = doubts(refs, request.complete, copied=request.on_grid)
    return Prepared(plan, record, output, setup, hold, room, said)


def _supports(request: Request, grid: Grid, source: PlaneSource, record: Record) -> list[SupportRef]:
    """What is annotated, kept in the run's folder."""
    return collect(
        source,
        request.labels,
        request.frame,
        grid,
        record.supports,
        planes=request.support_planes,
        clicks=request.clicks,
        accepted=request.accepted,
        complete=request.complete,
        on_grid=request.on_grid,
    )


def _plan(
    request: Request,
    grid: Grid,
    source: PlaneSource,
    refs: Sequence[SupportRef],
    labels: tuple[int, ...],
) -> Plan:
    """What is to be done; InputError when that is nothing, in a result that is yet to be made."""
    frame, mode = request.frame, "sequential" if request.sequential else "independent"
    planes = list(request.planes) if request.planes is not None else list(frame.planes())
    rules = Rules(request.identity, image_digest(source), labels, mode, request.on_grid, frame.spacing)
    plan = Plan(frame, grid, rules, refs, planes, request.region)
    if not plan.blocks:
        raise InputError("The region lies beside the image, so there is nothing to do; move it onto it.")
    # one that is resumed gets the annotations, also the last; one that is overwritten lies elsewhere by now
    if not request.out.exists() and all(plan.jobs[unit.name].fixed for unit in plan.blocks):
        raise InputError(
            "Every slice or tile asked for is annotated already, so there is nothing to predict; choose more "
            "planes or another slicing axis, or draw around what is complete (the dock's Unlabelled: "
            "background in …, --complete, complete=Areas)."
        )
    return plan


def image_digest(source: PlaneSource) -> str:
    """Of an image's shape and stretch; its pixels are compared where results are kept."""
    stretch = source.stretch()
    ends = [np.asarray(stretch.low).tolist(), np.asarray(stretch.high).tolist()]
    text = json.dumps([list(source.leading_shape), list(source.shape), ends])
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _check_image(source: PlaneSource, frame: Frame) -> None:
    if source.shape != frame.plane_shape or source.leading_shape != frame.leading_shape:
        raise InputError(
            f"The labels of shape {frame.shape} do not fit an image of {source.leading_shape} planes of "
            f"{source.shape[0]} x {source.shape[1]} pixels; give labels of the image's shape."
        )


def _labels(refs: Sequence[SupportRef], wanted: Sequence[int] | None, *, copied: bool) -> tuple[int, ...]:
    """Ids to look for: those wanted, if something can be learnt, or copied, of each."""
    present = sorted({label for ref in refs for label in ref.labels})
    if wanted is None:
        return tuple(present)
    given = {label for ref in refs for label in (*ref.labels, *ref.lost) if label}
    usable = present if copied else {label for ref in refs for label in ref.learnt if label}
    missing = sorted(set(wanted).difference(usable))
    if missing and missing[0] in given:
        raise InputError(
            f"The label {missing[0]} lies only where the image has no values, so nothing can be learnt of "
            "it; annotate it where it has some, or leave it out (only, --only)."
        )
    if missing:
        raise InputError(
            f"No annotated slice or tile holds the label {missing[0]}; those that there are: "
            f"{', '.join(map(str, present))}."
        )
    return tuple(sorted({int(label) for label in wanted}))


def check_name(out: Path) -> None:
    """Refuse a name that is none of an output."""
    if out.suffix != ".zarr":
        raise InputError(f"The output {str(out)!r} must end in .zarr: it is an OME-Zarr group of labels.")


def check_inputs(out: Path, image: Path | None, annotations: Path | None) -> None:
    """Refuse an output that is what the run reads, or the folder it lies in: replacing it would delete that.

    Parameters
    ----------
    image, annotations : where they lie; None: in memory, or not known

    Raises
    ------
    InputError
        The sentence says which of them it is.
    """
    if not out.exists():
        return
    if image is not None and lies_in(image, out):
        raise InputError(f"{out} is the image itself, or holds it; choose another name for the output.")
    if annotations is not None and lies_in(annotations, out):
        raise InputError(f"{out} holds the annotations themselves; choose another name for the output.")


def place_of(image: Any) -> Path | None:
    """Where a zarr array on disk lies, of levels the first; None for all else."""
    first = image[0] if isinstance(image, list | tuple) and len(image) else image
    root = getattr(getattr(first, "store", None), "root", None)
    return Path(root) / str(getattr(first, "path", "")) if isinstance(root, str | Path) else None


def check_output(out: Path, existing: str, annotations: Path | None, image: Path | None = None) -> None:
    """Refuse an output that cannot be written or is not to be guessed about; touches nothing.

    Parameters
    ----------
    annotations, image : see `check_inputs`

    Raises
    ------
    InputError, SaveError
        See ``propagate``.
    """
    if existing not in EXISTING:
        raise InputError(f"existing must be one of {', '.join(EXISTING)}, got {existing!r}.")
    check_name(out)
    check_inputs(out, image, annotations)
    if out.exists() and existing == "ask":
        raise InputError(
            f"{out} exists already; say whether to resume it or to overwrite it (existing='resume' or "
            "'overwrite'), or choose another name."
        )
    folder = real_place(out).parent
    if not folder.is_dir():
        raise SaveError(f"The folder {folder} for {out.name} does not exist; create it or choose another.")
    check_place(out)
