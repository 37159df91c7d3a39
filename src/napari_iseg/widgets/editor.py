"""The objects of one image: carries clicks and commands to a session and shows the outcome.

Commands run strictly in the order given. A prediction runs beside them in the worker and is replaced by a
newer one; a command that is slow itself (commit, reopen, ...) runs there too and holds back those after it
until it is done, since a session is for one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import IsegError
from napari_iseg.prompts import Box, Click, Window
from napari_iseg.widgets.editor_state import Plane, SessionStart
from napari_iseg.widgets.editor_view import EditorView
from napari_iseg.widgets.layers import ClickLayers
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model
    from napari_iseg.interactive.edges import Refiner
    from napari_iseg.interactive.session import Session


class Editor(EditorView):
    """Edits the objects of one image on one choice of plane axes.

    Parameters
    ----------
    layers : the layers to show things in
    worker : where slow things run
    plan_session : called in the GUI thread before the first command; answers with how a session begins
    """

    def __init__(self, layers: ClickLayers, worker: Worker, plan_session: Callable[[], SessionStart]) -> None:
        super().__init__(layers)
        self._worker, self._plan_session = worker, plan_session
        self._suspended = self._tries_again = False
        self._asked_at = 0.0

    def click(self, plane: Plane, click: Click, view: Window | None) -> None:
        """Add a click; it shows at once and is answered as soon as possible."""
        self.pending.append((plane, click))

        def run() -> None:
            self.pending.pop(0)
            self._session.append_click((*plane, click.row, click.col), click.positive, view)
            self._predict()

        self._do(run)

    def give_box(self, plane: Plane, box: Box | None, view: Window | None) -> None:
        """Give the current object this box instead of the one it has, or none."""
        if self.box == (None if box is None else (plane, box)):
            return
        self._pending_box = (plane, box)

        def run() -> None:
            self._pending_box = None
            if box is None:
                self._session.remove_box()
            else:
                self._session.append_box((*plane, box.row0, box.col0, box.row1, box.col1), view)
            self._predict()

        self._do(run)

    def undo(self) -> None:
        """Go back one step."""
        self._do(lambda: self._step_in_history("Undoing", self._session.undo))

    def redo(self) -> None:
        """Go forward one step again."""
        self._do(lambda: self._step_in_history("Redoing", self._session.redo))

    def reset(self) -> None:
        """Drop the clicks of the current object."""
        self._do(lambda: self._now(lambda: self.news.reset(self._session)))

    def move(self, index: int, point: Sequence[float]) -> None:
        """Put click ``index`` elsewhere, point (plane..., row, col)."""
        self._do(lambda: self._now(lambda: self._session.move_click(index, tuple(point))))

    def remove(self, index: int) -> None:
        """Take click ``index`` away."""
        self._do(lambda: self._now(lambda: self._session.remove_click(index)))

    def choose_label(self, label: int | None) -> None:
        """Commit the current object under ``label``; None for the next free one."""
        self._do(lambda: self._session.choose_label(label))

    def look_at(self, plane: Plane) -> None:
        """The viewer shows another plane: its open object becomes the current one."""
        self._seen = plane

        def run() -> None:
            self._session.plane = plane
            self._predict()

        if self._later or (self.session is not None and plane != self._plane()):
            self._do(run)

    def commit(self) -> None:
        """Write the object into the labels, once its last click is answered."""
        self._do(lambda: self._slow("Committing", self._session.commit), settled=True)

    def refine_edges(self, load: Callable[[], Refiner]) -> None:
        """Make the current object's mask exact, once its last click is answered; a newer click stops it."""

        def run() -> None:
            if self._session.patch is not None and not self._suspended:
                self._predicting = True
                job = self._session.edge_job(load)
                self._worker.submit_newest(job.run, self._refined, self._not_answered)

        self._do(run, settled=True)

    def _refined(self, result: Any) -> None:
        if not self._closed:
            self._predicting = False
            try:
                self._session.finish_edges(result)
            except IsegError as error:
                self._give_up(error)
                return
            self._predict()  # the mask is known now, unless the session has moved on
            self._advance()

    def act_on(self, name: str, plane: Plane, row: float, col: float, missed: Callable[[], None]) -> None:
        """Take up again ("pick") or remove ("delete") the object that is committed at a position.

        What lies there is known in its turn only; ``missed`` is called where that is nothing.
        """

        def run() -> None:
            label = self._label_at(plane, row, col)
            if label == 0:
                missed()
            elif name == "delete":
                self._slow("Deleting", lambda: self._session.delete(label))
            else:
                self._slow("Reopening", lambda: self._session.reopen(label))

        self._do(run)

    def open(self) -> None:
        """Open the session before the first command, and show what it has."""
        self._do(lambda: self._predict())

    def use_model(self, load: Callable[[], Model], text: str) -> None:
        """Answer with another model (or other options) from now on; the current object is computed anew."""
        if not self.is_begun:
            return  # it will be opened with it

        def set_model(model: Model) -> None:
            self._session.model = model
            self._session.threshold = None  # the model's, which the dock shows
            self._predict()

        self._do(lambda: self._slow(text, load, set_model, self._go_on_after, lend=False), settled=True)

    def use_threshold(self, threshold: float) -> None:
        """Another threshold for the probability; asks no network."""
        if self.is_begun:
            self._do(lambda: setattr(self._session, "threshold", threshold))

    def run_on_session(self, text: str, work: Callable[[Session], Any], then: Callable[[Any], None]) -> None:
        """Do something slow with the session (saving) in its turn; no command builds on it."""
        self._do(lambda: self._slow(text, lambda: work(self._session), then, self._go_on_after), settled=True)

    def take(self, session: Session, then: Callable[[bool], None]) -> None:
        """Go on with another session of the same image in its turn, also where what is before it fails.

        ``then`` is called once it is there (True), or this editor was closed before (False).
        """
        self._coming.append((session, then))
        if self.session is None and not self._task:
            self._take_next()
        else:
            self._do(self._take_next, settled=True)

    def _take_next(self) -> None:
        session, then = self._coming.popleft()
        if self._closed:
            self._let_go_of(session)
        else:
            self.exchange(session)
        then(not self._closed)

    def exchange(self, session: Session) -> None:
        """Go on with another session at once: it gets the commands that wait; this one is closed."""
        self._retire()
        self.layers.forget_committed()
        self.seconds = None
        self._have(session)
        if session.model is not None:
            self._predict()
        self.show()

    def stop(self) -> None:
        """Give up the running prediction; its click stays and can be undone."""
        self._give_up_answer()
        self._advance()

    def suspend(self) -> None:
        """Take the working layers away while another image is worked on; nothing is lost."""
        self._give_up_answer()
        self._suspended = True
        self.layers.remove()
        self._advance()  # a commit that waits for the answer asks for it itself

    def _give_up_answer(self) -> None:
        if not self._suspended:  # the worker's newest request is another editor's by then
            self._worker.cancel_newest()
        self._predicting = False

    def close(self) -> None:
        """Let go of everything; the committed labels' layer stays in the viewer.

        The session's files are closed in the worker; work is recorded before it takes effect, so that
        nothing is lost should that fail.
        """
        self._closed = True
        self._drop()
        for signal in (self.changed, self.failed, self.moved):
            signal.disconnect()
        self._retire()

    def resume(self) -> None:
        """Show the layers again and go on."""
        self._suspended = False
        if self.session is not None and not self._lent:
            self._predict()
        self.show()

    def _do(self, run: Callable[[], None], *, settled: bool = False) -> None:
        self._later.append((run, settled))
        self._advance()

    def _advance(self) -> None:
        """Carry out what can be carried out now."""
        while self._later and not self._task:
            if self.session is None:
                make, begun = self._plan_session()
                self._slow("Loading the model", make, partial(self._opened, begun=begun), self._not_opened)
                break
            if self._later[0][1] and self._predicting:
                break
            try:
                self._later.popleft()[0]()
            except IsegError as error:
                self.failed.emit(error)
        self.show()

    def _retire(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.events.disconnect()
            self._let_go_of(session)

    def _let_go_of(self, session: Session) -> None:
        self._worker.submit_task(lambda _cancelled: session.close(), lambda _: None, lambda _: None)

    def _opened(self, session: Session, begun: Callable[[Editor], None]) -> None:
        asked = self.pending[0] if self.pending else self._pending_box
        plane = self._seen if asked is None else asked[0]
        if plane is not None:  # else undoing the first click or box would lead to the plane it starts with
            session.plane = plane
        self._have(session)
        begun(self)

    def _have(self, session: Session) -> None:
        self.session = session
        self.news.hear(session)
        if self.layers.are_shown:
            self.layers.add_current()

    def _not_opened(self, error: Exception) -> None:
        """Commands wait where whoever hears of it has another model; else they are dropped."""
        self._tries_again = False
        self.failed.emit(error)
        if not self._tries_again:
            self._drop()
        self._advance()

    def try_again(self) -> None:
        """Go on with the commands that wait, with another model than the one that was not to be had."""
        self._tries_again = True

    def _step_in_history(self, text: str, step: Callable[[], Any]) -> None:
        """Undo or redo: at once while only clicks are concerned, in the worker when labels may be written."""
        before = self._plane()

        def follow(_result: Any = None) -> None:
            self._predict()
            if self._plane() != before:  # or Enter would commit an object that nobody sees
                self.moved.emit(self._plane())

        if self.layers.committed is None:
            step()
            follow()
        else:
            self._give_up_answer()
            self._slow(text, step, follow)

    def _now(self, change: Callable[[], Any]) -> None:
        change()
        self._predict()

    def _predict(self) -> None:
        """Have the session's present clicks answered, if they are not yet, and are shown."""
        job = None if self._suspended else self._session.job()
        if job is None:
            self._give_up_answer()
        else:
            self._predicting = True
            self._asked_at = time.perf_counter()
            self._worker.submit_newest(job.run, self._answered, self._not_answered)

    def _answered(self, result: Any) -> None:
        if not self._closed:
            self._predicting = False
            if self._session.finish(result):
                self.seconds = time.perf_counter() - self._asked_at
            self._advance()

    def _not_answered(self, error: Exception) -> None:
        if not self._closed:
            self._predicting = False
            self._give_up(error)

    def _slow(
        self,
        text: str,
        work: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        failing: Callable[[Exception], None] | None = None,
        *,
        lend: bool = True,
    ) -> None:
        """Run ``work`` in the worker while commands wait, then ``then`` (default: predict).

        ``failing`` is called when it fails (default: report that, and drop the commands).
        ``lend`` : whether it may touch the session.
        """

        def done(result: Any) -> None:
            if not self._closed:
                self._task, self._lent = "", False
                try:
                    self._predict() if then is None else then(result)
                except IsegError as error:
                    self._give_up(error)
                self._advance()

        def failed(error: Exception) -> None:
            if not self._closed:
                self._task, self._lent = "", False
                (failing or self._give_up)(error)

        self._open_again, self._task, self._lent = self.reopened, text, lend and self.session is not None
        self._worker.submit_task(lambda _cancelled: work(), done, failed)

    def _give_up(self, error: Exception) -> None:
        """Report an error and drop the commands that built on what failed."""
        self._drop()
        self.failed.emit(error)
        if self._seen is not None:  # a look at it may be dropped: Enter would commit what nobody sees
            self.look_at(self._seen)
        self.show()

    def _go_on_after(self, error: Exception) -> None:
        """Report an error; the commands that wait do not build on what failed."""
        self.failed.emit(error)
        self._advance()

    def _drop(self) -> None:
        """Drop the commands that wait, but for sessions to go on with."""
        self._later.clear()
        self.pending.clear()
        self._pending_box = None
        while self._coming:
            self._take_next()
