"""What was annotated since a few-shot run took the labels: listed as new, and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.widgets.fewshot_run import MOST_THUMBNAILS, SupportRow, annotated_row
from napari_iseg.widgets.fewshot_taken import Place, Taken, labelled
from napari_iseg.widgets.reports import report
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    from napari_iseg.images import PlaneSource
    from napari_iseg.widgets.fewshot_controller import FewShotController

Others = dict[Place, SupportRow | None]  # where there are others now; None: not listed


class News:
    """Compares the labels with those that the run which is shown took.

    In a thread of its own: a run may take hours, and a slice that is annotated meanwhile is not in it.
    """

    def __init__(self, controller: FewShotController) -> None:
        self._controller = controller
        self._worker = Worker()
        self._next: Taken = {}  # of the run that was begun last
        self._taken: Taken | None = None  # of the run that is shown
        self._heard = False  # of a change since a run was begun, which may have come too late for it
        self._of_run: list[SupportRow] = []
        self._others: Others = {}

    @property
    def words(self) -> str:
        """One sentence; nothing where there is nothing new."""
        button = "Run anew" if self._controller.running else "Run"
        return f"Labels have changed; {button} brings the rest up to date." if self._others else ""

    @property
    def planes(self) -> set[Plane]:
        """Those that hold others than the run took."""
        return {plane for plane, _ in self._others}

    @property
    def busy(self) -> bool:
        """Whether labels are being compared."""
        return self._worker.busy

    def begin(self) -> Taken:
        """A run begins; the worker puts the labels that it takes into what is returned."""
        self._heard, self._next = False, {}
        return self._next

    def run_is_shown(self) -> None:
        """The run that was begun has read the labels and is shown from now on."""
        self._taken, self._others = self._next, {}
        if self._heard:
            self.look()

    def list_run(self, rows: list[SupportRow]) -> None:
        """Show the supports of the run, and what is new."""
        self._of_run = rows
        self._show()

    def forget(self) -> None:
        """No run is shown."""
        self._taken, self._of_run, self._others = None, [], {}

    def close(self) -> None:
        """Look no more."""
        self._worker.close()

    def look(self) -> None:
        """The labels may have changed, or may be those of another layer."""
        self._heard = True
        controller, taken = self._controller, self._taken
        results, settings = controller.results, controller.settings
        if taken is None or results is None or settings is None:
            return
        opened = controller.images.attempt(controller.image, settings.axis)
        frame, grid = results.frame, results.grid
        painted = None if opened is None else controller.annotations.attempt(opened.image, frame)
        if opened is None or painted is None:
            self._worker.cancel_newest()
            self._found(taken, {})
            return
        source = opened.source
        self._worker.submit_newest(
            lambda stop: _others(taken, painted, frame, grid, source, stop),
            lambda others: self._found(taken, others),
            report,
        )

    def _found(self, taken: Taken, others: Others) -> None:
        if taken is not self._taken:
            return
        before, self._others = self._others, others
        self._show()
        if before.keys() != others.keys():
            self._controller.view.set_status(self.words or "The labels are those of the run.")

    def _show(self) -> None:
        rows = [row for row in self._others.values() if row is not None]
        for row in self._of_run:
            other = self._others.get((row.ref.plane, row.ref.window), row)
            if other is row or (other is None and row.ref.origin != "labelled"):  # it is clicked or accepted
                rows.append(row)
        place = lambda row: (row.ref.plane, row.ref.window.top, row.ref.window.left)  # noqa: E731
        self._controller.view.show_supports(sorted(rows, key=place))


def _others(
    taken: Taken, labels: Any, frame: Frame, grid: Grid, source: PlaneSource, cancelled: Callable[[], bool]
) -> Others:
    """Where there are others than a run took, with what the list shows of them."""
    now = labelled(labels, frame, grid, cancelled)
    found: Others = dict.fromkeys(taken.keys() - now.keys())
    for plane, window in [place for place in now if now[place] != taken.get(place)]:
        if cancelled():
            break
        row, news = None, "changed" if (plane, window) in taken else "new"
        if len(found) < MOST_THUMBNAILS:
            row = annotated_row(source, labels, frame, plane, window, f"labelled, {news}")
        found[plane, window] = row
    return found
