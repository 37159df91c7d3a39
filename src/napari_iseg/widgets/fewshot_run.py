"""A run in the background of the viewer: prepared and computed in the worker, told of in the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_iseg.fewshot.annotated import occupied, read_plane
from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.executors import Local
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.fewshot.preparing import Prepared, Request, prepare
from napari_iseg.fewshot.propagate import RunReport, make_report
from napari_iseg.fewshot.runner import Runner
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.fewshot.worker import Worker as RunWorker
from napari_iseg.images import PlaneSource
from napari_iseg.images.damage import unless_damaged
from napari_iseg.prompts import Window

THUMBNAIL = 64  # pixels
MOST_THUMBNAILS = 64


@dataclass(frozen=True, eq=False)
class SupportRow:
    """A support as the list shows it.

    Attributes
    ----------
    ref : where and what
    reliability : 0 to 1; None where the method has none
    picture : (rows, cols, 3) uint8, the image with its labels tinted
    """

    ref: SupportRef
    reliability: float | None
    picture: npt.NDArray[np.uint8]

    @property
    def words(self) -> str:
        """Where it lies, how it was annotated, how far it is to be relied on, and its labels."""
        reliability = "" if self.reliability is None else f", reliability {self.reliability:.2f}"
        names = ", ".join(map(str, self.ref.labels))
        named = f"labels {names}" if len(self.ref.labels) > 1 else f"label {names}" if names else "empty"
        return f"{self.ref.place} · {self.ref.origin}{reliability}\n{named}"


@dataclass(eq=False)
class Loaded:
    """A model that stays in memory between runs, with its encoded images."""

    name: str
    predictor: UnitPredictor
    lock: threading.Lock = field(default_factory=threading.Lock)


class RunSignals(QObject):
    """What a run tells; emitted in the worker thread, received in the GUI thread."""

    prepared = Signal(object)  # Prepared
    supports = Signal(object)  # list[SupportRow]
    progress = Signal(object)  # Progress
    written = Signal(object)  # Written

    def silence(self) -> None:
        """Let nobody hear anything more."""
        with suppress(RuntimeError):  # a script that ends has Qt take them away first
            for signal in (self.prepared, self.supports, self.progress, self.written):
                signal.disconnect()


def execute(
    load: Callable[[], Loaded],
    make_request: Callable[[UnitPredictor], Request],
    signals: RunSignals,
    control: Control,
) -> RunReport:
    """Prepare and run; for the worker thread.

    Raises
    ------
    IsegError
        As of ``prepare`` and ``Runner.run``.
    """
    loaded = load()
    # a run that is being stopped and the next one share the model
    with loaded.lock, prepare(make_request(loaded.predictor)) as prepared:
        signals.prepared.emit(prepared)
        worker = RunWorker(prepared.setup, loaded.predictor, prepared.record.supports)
        signals.supports.emit(_rows(prepared, worker.source, None))
        runner = Runner(
            prepared.plan,
            prepared.record,
            prepared.output,
            Local(worker, ahead=2),
            control=control,
            listener=_Teller(signals),
            predicted=prepared.room.settle,
        )
        report = make_report(prepared, runner.run())
        if not report.cancelled:  # embedding costs time that the slice in view shall not wait for
            signals.supports.emit(_rows(prepared, worker.source, loaded.predictor))
        return report


def annotated_rows(
    source: PlaneSource, labels: Any, frame: Frame, cancelled: Callable[[], bool]
) -> list[SupportRow]:
    """The labelled planes as the list shows them before a run; for the worker thread, stopped when asked to.

    Parameters
    ----------
    source, labels : as of ``annotated_row``
    """
    whole = Window.of_shape(source.shape)
    rows: dict[Plane, SupportRow] = {}
    for plane, _ in occupied(labels, frame, None, cancelled):
        if cancelled() or len(rows) >= MOST_THUMBNAILS:
            break
        if plane not in rows:
            rows[plane] = annotated_row(source, labels, frame, plane, whole)
    return list(rows.values())


def annotated_row(
    source: PlaneSource, labels: Any, frame: Frame, plane: Plane, window: Window, origin: str = "labelled"
) -> SupportRow:
    """A window with labels as the list shows it; reads pixels.

    Parameters
    ----------
    source : the image; what is damaged is shown black
    labels : array of ``frame.shape``
    origin : words on how it was annotated
    """
    step = max(1, -(-max(window.shape) // THUMBNAIL))
    mask = read_plane(labels, frame, plane, window)
    present = tuple(int(label) for label in np.unique(mask[mask > 0]))
    key = ",".join(map(str, plane)) or "scene"
    if window.shape != source.shape:
        key = f"{key}@{window.top},{window.left}"  # as the supports of a run have it
    ref = SupportRef(key, plane, window, frame.position(plane), present, False, origin, 0)
    small = mask[::step, ::step]
    image = unless_damaged(partial(source.read, window, plane, step))
    if image is None:
        image = np.zeros((*small.shape, 3), np.float32)
    return SupportRow(ref, None, _picture(image, small))


class _Teller:
    """Hands what a run says to the right signal."""

    def __init__(self, signals: RunSignals) -> None:
        self._signals = signals

    def __call__(self, entry: Progress | Written) -> None:
        signal = self._signals.progress if isinstance(entry, Progress) else self._signals.written
        signal.emit(entry)


def _rows(prepared: Prepared, source: PlaneSource, predictor: UnitPredictor | None) -> list[SupportRow]:
    """The supports with their pictures, and with their reliability where a predictor is given."""
    rows = []
    ask: Any = getattr(predictor, "reliability", None)
    for number, ref in enumerate(prepared.plan.supports.values()):
        if number >= MOST_THUMBNAILS:
            break
        support = prepared.record.supports.read(ref, source)
        reliability = float(ask(support, prepared.plan.rules.labels)) if ask is not None else None
        rows.append(SupportRow(ref, reliability, _picture(support.image, support.mask)))
    return rows


def _picture(image: npt.NDArray[np.float32], mask: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    step = max(1, -(-max(mask.shape) // THUMBNAIL))
    small = image[::step, ::step].copy()
    inside = mask[::step, ::step] > 0
    small[inside] = 0.5 * small[inside] + 0.5 * np.array([1.0, 0.84, 0.04], np.float32)
    return np.ascontiguousarray((small * 255).astype(np.uint8))
