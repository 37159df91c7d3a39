"""What every session has: its parts, what can be read off them, settings, and the order of things."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import DeviceError, InputError, IsegError
from napari_iseg.interactive.engine import Engine, MakePredictor
from napari_iseg.interactive.exclusive import exclusive
from napari_iseg.interactive.job import Job, Result
from napari_iseg.interactive.ledger import Ledger
from napari_iseg.interactive.objects import Draft, Event, Plane
from napari_iseg.interactive.patch import Patch
from napari_iseg.interactive.points import checked_plane, checked_threshold
from napari_iseg.interactive.session_events import SessionEvents
from napari_iseg.interactive.session_setup import Setup, plain
from napari_iseg.labels.checks import HIGHEST
from napari_iseg.labels.regions import Region
from napari_iseg.prompts import Box, Click, Coordinates

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

_Pixel = TypeVar("_Pixel", np.bool_, np.float32)


class SessionState:
    """The readable side of ``Session`` and its settings; ``Session`` adds what the user does.

    Parameters
    ----------
    setup : Setup
        Image, labels, history and folder.
    model : Model or None
    make : callable (source, model, plane) -> predictor
    cache_bytes : int
        Bytes of states kept for a fast undo.
    """

    def __init__(self, setup: Setup, model: Model | None, make: MakePredictor, cache_bytes: int) -> None:
        self._lock = RLock()
        self.source = setup.source
        self.labels = setup.labels
        self.events = SessionEvents()
        self._ledger = Ledger(setup.history, setup.labels, setup.folder, self.events.labels_changed.emit)
        self._engine = Engine(setup.source, make, cache_bytes)
        self._threshold = setup.threshold
        self._recorded = (setup.model, dict(setup.inference or {}))
        self._revision = 0
        self._masked: tuple[Region, Patch] | None = None  # the patch of the present mask, made once
        self._model: Model | None = None
        self.model = model

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        """Neither copied nor pickled: two would share one history, labels and folder, or part from them."""
        raise InputError(
            "A session cannot be copied or pickled; make another with Session(image, model), or record it "
            "in a folder (journal=...), which Session.open goes on with."
        )

    # What is there

    @property
    def outdated(self) -> bool:
        """Whether another program has gone on with this session's folder; only opening it again helps."""
        return self._ledger.folder is not None and self._ledger.folder.journal.outdated

    @property
    def folder(self) -> Path | None:
        """The folder of the session; None when nothing is recorded."""
        return self._ledger.folder.path if self._ledger.folder is not None else None

    @property
    def note(self) -> str:
        """What was noticed on opening (an incomplete last record), one sentence; empty otherwise."""
        return self._ledger.folder.journal.note if self._ledger.folder is not None else ""

    @property
    def plane(self) -> Plane:
        """The plane worked on: an index per leading axis; () in 2-D. May be set; not an undo step."""
        return self._ledger.history.now.plane

    @plane.setter
    @exclusive
    def plane(self, plane: Coordinates) -> None:
        plane = checked_plane(plane, self.source.leading_shape)
        if plane != self.plane:
            self._ledger.history.now.plane = plane
            self._bump()

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks of the open object of this plane, in order."""
        return self._draft.prompts.clicks

    @property
    def current_box(self) -> Box | None:
        """The box of the open object of this plane."""
        return self._draft.prompts.box

    @property
    def has_mask(self) -> bool:
        """Whether a refined or painted mask stands in place of the model's answer."""
        return self._draft.mask is not None

    @property
    @exclusive
    def object_id(self) -> int:
        """The label that ``commit`` would give to the open object.

        The next one, or the lowest free one once the highest there can be was given.
        """
        now = self._ledger.history.now
        label = self._draft.label or self._ledger.next_label
        if label <= HIGHEST:
            return label
        taken = {*now.objects, *self.labels.labels}
        return next(free for free in count(1) if free not in taken)

    @property
    @exclusive
    def objects(self) -> dict[int, tuple[Plane, ...]]:
        """Objects committed in this session: label, and the planes of its pieces as committed."""
        table = self._ledger.history.now.objects
        return {label: tuple(part.plane for part in parts) for label, parts in sorted(table.items())}

    @property
    @exclusive
    def reopened(self) -> dict[Plane, int]:
        """Objects that ``reopen`` took out of ``labels`` and that are still open: plane, and label."""
        return self._ledger.history.reopened

    @property
    @exclusive
    def open_planes(self) -> tuple[Plane, ...]:
        """Planes that hold an object that is not committed, in order."""
        drafts = self._ledger.history.now.drafts
        return tuple(sorted(plane for plane, draft in drafts.items() if not draft.is_empty))

    @property
    def can_undo(self) -> bool:
        """Whether ``undo`` would do something."""
        return self._ledger.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether ``redo`` would do something."""
        return self._ledger.history.can_redo

    @property
    @exclusive
    def patch(self) -> Patch | None:
        """The current object on the grid of its area; None without one or before it is computed."""
        region = self._draft.mask
        if region is not None:
            if self._masked is None or self._masked[0] is not region:
                self._masked = region, Patch.of_region(region)
            return self._masked[1]
        state = self._engine.state(self.plane, self._draft)
        if state is None:
            return None
        valid = None if state.scale == 1 else partial(self.source.valid, plane=self.plane)
        return Patch.of(state, self.threshold, valid)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(Y, X) bool of the current object, computed if need be; memory beside it is not touched.

        Raises DeviceError where the plane is too large for an array of it; ``patch`` never is.
        """
        return self._with_mask(self._bare_plane(np.bool_))

    @property
    def probability(self) -> NDArray[np.float32]:
        """(Y, X) float32 of the current object, computed if need be; 0 outside the area worked on.

        Raises DeviceError where the plane is too large for an array of it; ``patch`` never is.
        """
        plane = self._bare_plane(np.float32)
        patch = self._computed()
        if patch is not None:
            patch.paste_probability(plane)
        return plane

    # Settings

    @property
    def threshold(self) -> float:
        """Pixels above this probability are the object: the model's, or as set (None: the model's again).

        Setting it asks no network, and leaves committed objects as they are.
        """
        if self._threshold is not None:
            return self._threshold
        return float(self._needed_model().inference.threshold)

    @threshold.setter
    @exclusive
    def threshold(self, value: float | None) -> None:
        value = checked_threshold(value)
        if value != self._threshold:
            self._ledger.record({"threshold": {} if value is None else {"value": value}})
            self._threshold = value
            self.events.changed.emit()

    @property
    def model(self) -> Model | None:
        """The model; after setting another (or other options) open objects are computed anew."""
        return self._model

    @model.setter
    @exclusive
    def model(self, model: Model | None) -> None:
        if model is self._model:
            return
        if isinstance(model, (str, bytes)):
            raise InputError(
                f"A session needs a loaded model: give load_model({model!r}) instead of its name."
            )
        if model is not None and not hasattr(getattr(model, "card", None), "name"):
            raise InputError(
                "A session needs a loaded model, as load_model('cfr-icl-starter') gives one, got a "
                f"{type(model).__name__}."
            )
        if model is not None and not hasattr(model, "inference"):
            raise InputError(
                f"The model {model.card.name!r} takes no clicks or boxes; if it refines edges, give it to "
                "refine_edges."
            )
        if model is not None:
            described = (model.card.name, plain(model.inference))
            if described != self._recorded:
                self._ledger.record({"model": {"name": described[0], "inference": described[1]}})
            self._recorded = described
        self._model = model
        self._engine.forget(self._revision + 1)
        self._bump()

    @property
    @exclusive
    def recorded_model(self) -> tuple[str, dict[str, Any]]:
        """Name and inference settings of the model used last, as recorded; "" before there was one."""
        return self._recorded[0], dict(self._recorded[1])

    # For a viewer: record first, compute elsewhere, accept if still wanted

    @exclusive
    def job(self) -> Job | None:
        """What must be computed for the open object; None when its mask is known or there are no prompts."""
        if self._draft.is_empty or self._draft.mask is not None:
            return None
        if self._engine.state(self.plane, self._draft) is not None:
            return None
        model = self._needed_model()  # may be loaded now, which is a new revision
        return self._engine.job(self._revision, model, self.plane, self._draft)

    @exclusive
    def finish(self, result: Result) -> bool:
        """Accept a job's result; False when the session has moved on (states are kept for undo)."""
        self._engine.keep(result)
        if result.revision != self._revision:
            return False
        self.events.changed.emit()
        return True

    @exclusive
    def fail(self, job: Job, error: Exception) -> bool:
        """Report that a job failed; False when the session has moved on. The clicks stay as they are."""
        if job.revision != self._revision:
            return False
        self.events.failed.emit(error)
        return True

    # Inside

    @property
    def _draft(self) -> Draft:
        return self._ledger.history.now.draft(self.plane)

    def _do(self, event: Event) -> None:
        self._then_bump(lambda: self._ledger.do(event))

    def _then_bump(self, work: Callable[[], None]) -> bool:
        """Do something, and tell so if it was done, even when the label file could not follow."""
        before = self._ledger.steps
        try:
            work()
        finally:
            if self._ledger.steps != before:
                self._bump()
        return True

    def _bump(self) -> None:
        self._revision += 1
        self.events.changed.emit()

    def _bare_plane(self, dtype: type[_Pixel]) -> NDArray[_Pixel]:
        """Zeros for all pixels of a plane; made before anything is recorded that is answered with it."""
        try:
            return np.zeros(self.source.shape, dtype)
        except MemoryError:
            rows, cols = self.source.shape
            raise DeviceError(
                f"The memory is too small for an array of all {rows} x {cols} pixels of the plane; use "
                "session.append_click or append_box, session.finish(session.job().run()), and then "
                "session.patch or session.commit()."
            ) from None

    def _with_mask(self, plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``plane``, which is False, with the current object in it, computed if need be."""
        patch = self._computed()
        if patch is not None:
            patch.paste_mask(plane)
        return plane

    def _computed(self) -> Patch | None:
        """The patch of the open object, predicted here and now if it is not known."""
        job = self.job()
        if job is not None:
            try:
                self.finish(job.run())
            except IsegError as error:
                self.fail(job, error)
                raise
        return self.patch

    @exclusive
    def _needed_model(self) -> Model:
        """The model; that of a reopened session is loaded now."""
        if self._model is None:
            name, inference = self._recorded
            if not name:
                raise InputError("No model is loaded; set one: session.model = load_model(name).")
            from napari_iseg.weights.store import load_click_model

            self.model = load_click_model(name).with_inference(**inference)
        assert self._model is not None
        return self._model
