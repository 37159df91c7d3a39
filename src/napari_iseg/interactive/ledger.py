"""Ledger: the order in which things happen - the journal, then the history, then the label store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from napari_iseg.errors import SaveError
from napari_iseg.interactive.committing import beyond, traces
from napari_iseg.interactive.history import History, Step
from napari_iseg.interactive.objects import Event, Plane
from napari_iseg.interactive.session_folder import SessionFolder, paint_step
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.store import LabelStore, Trace
from napari_iseg.prompts import Window

_CHECKPOINT = 32  # changes of the labels between two syncs of the label files


class Ledger:
    """Does, undoes and redoes events of a session.

    Parameters
    ----------
    history : History
    labels : LabelStore
    folder : SessionFolder or None
        None: nothing is recorded on disk.
    painted : callable (window, plane)
        Told about every window of the label store that has changed.
    """

    def __init__(
        self,
        history: History,
        labels: LabelStore,
        folder: SessionFolder | None,
        painted: Callable[[Window, Plane], None],
    ) -> None:
        self.history = history
        self.labels = labels
        self.folder = folder
        self.steps = 0  # how many times something was done, undone or redone
        self._before = _foreign(history, labels)
        given = max(self._before, default=0) >= history.now.next_label
        self._taken = (
            labels.next_label() if given else 1
        )  # numbers below it are others', or were given before
        self._painted = painted
        self._behind: deque[tuple[Step, bool]] = deque()  # recorded, but not yet in the label store
        self._unsynced = 0

    def record(self, body: dict[str, Any]) -> None:
        """Write to the journal; raises SaveError, and then nothing has happened."""
        if self.folder is not None:
            self.folder.journal.append(body)

    def do(self, event: Event) -> None:
        """Do something new. InputError or a SaveError of the journal: nothing has happened."""
        step = self.history.plan(event)
        self.record({"do": event.to_record()})
        self.history.do(step)
        self._follow(step, forward=True)

    def undo(self) -> None:
        """Take back the last step; there must be one."""
        self.record({"undo": 1})
        self._follow(self.history.undo(), forward=False)

    def redo(self) -> None:
        """Make the last undone step again; there must be one."""
        self.record({"redo": 1})
        self._follow(self.history.redo(), forward=True)

    def _follow(self, step: Step, *, forward: bool) -> None:
        self.steps += 1
        if step.gone or step.come:
            self._behind.append((step, forward))
        self.catch_up()

    def catch_up(self) -> None:
        """Bring the label store to the history; after a SaveError the next change tries the rest again."""
        while self._behind:
            step, forward = self._behind[0]
            try:
                paint_step(self.labels, step, forward=forward)
            except SaveError as error:
                raise SaveError(
                    f"{error} What you did is recorded: the rest of the labels follows with the next change, "
                    "or when the session is opened again."
                ) from error
            self._behind.popleft()
            self._remember(step, forward=forward)
            for paint in (*step.gone, *step.come):
                if paint.region.window is not None:
                    self._painted(paint.region.window, paint.plane)
            self._unsynced += 1
        if self.folder is not None and self._unsynced >= _CHECKPOINT:
            self.folder.checkpoint(self.labels)
            self._unsynced = 0

    def _remember(self, step: Step, *, forward: bool) -> None:
        """Tell the store where a step's objects lie: the session's pieces, and those others have written."""
        for label in {*step.parts, *(paint.label for paint in (*step.gone, *step.come))}:
            own, before = traces(self.history.now.objects.get(label, ())), self._before.get(label, ())
            if label not in step.parts:  # only others', who may have added to it since
                before = tuple(dict.fromkeys((*before, *self.labels.traces_of(label))))
            for paint in () if forward else step.gone:  # back again, maybe where no search has seen it
                if paint.label == label:
                    back = beyond(paint, step.parts.get(label, ((), ()))[0], before)
                    before = before if back is None else (*before, back)
            self._before[label] = before
            if not own and not any(self.labels.holds(label, trace) for trace in before):
                before = ()  # its last pixel went, the session's own or one that it took
            self.labels.remember(label, (*before, *own))

    @property
    def next_label(self) -> int:
        """The next number of an object: the history's, unless others have given it in this store."""
        following = self.labels.next_label()
        if following > self.history.highest:
            self._taken = max(self._taken, following)
        return max(self.history.now.next_label, self._taken)

    def place(self, space: Space) -> None:
        """State anew where the labels lie, in their files too."""
        if self.folder is not None:
            self.folder.journal.check()
            self.folder.restate(space)
        self.labels.place(scale=space.scale, translate=space.translate, units=space.units)

    def close(self) -> None:
        """Bring the label files up to date and close the journal; a second call does nothing.

        A folder with which another program has gone on is left as it is. SaveError when it is gone.
        """
        if self.folder is None or self.folder.journal.closed:
            return
        try:
            if self.folder.journal.missing:
                self.folder.journal.check()
            if not self.folder.journal.outdated:
                self.catch_up()
                self.folder.checkpoint(self.labels)
        finally:
            self.folder.journal.close()


def _foreign(history: History, labels: LabelStore) -> dict[int, tuple[Trace, ...]]:
    """Where the store holds objects that the session has not written, or not as far as it is known."""
    found = {}
    for label in labels.labels:
        own = set(traces(history.now.objects.get(label, ())))
        others = tuple(trace for trace in labels.traces_of(label) if trace not in own)
        if others:
            found[label] = others
    return found
