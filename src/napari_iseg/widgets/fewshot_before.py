"""What the few-shot dock shows of an image before there is a run: its painted slices, an earlier result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_iseg.errors import InputError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.widgets.fewshot_results import earlier_clicks
from napari_iseg.widgets.fewshot_run import SupportRow, annotated_rows
from napari_iseg.widgets.reports import report

if TYPE_CHECKING:
    from napari_iseg.widgets.fewshot_controller import FewShotController


class Beforehand:
    """Looks in the background, and tells the dock unless a run has begun meanwhile."""

    def __init__(self, controller: FewShotController) -> None:
        self._controller = controller
        self._asked = 0  # how often an earlier result was looked for: only the last answer counts

    @property
    def _is_now(self) -> bool:
        return self._controller.results is None and not self._controller.running

    def look_for_earlier(self) -> None:
        """Say so when there is a result of the chosen image and labels from an earlier time."""
        controller, settings = self._controller, self._controller.view.settings
        folder, name = controller.folder, controller.annotations.name
        opened = controller.images.attempt(controller.image, settings.axis) if folder.is_dir() else None
        self._asked += 1
        if opened is None:
            return
        path, asked = lambda: opened.output(folder, settings.tile, name), self._asked  # reads pixels
        controller.worker.submit_task(
            lambda _stop: earlier_clicks(path()), lambda clicks: self._told_of_earlier(clicks, asked), report
        )

    def _told_of_earlier(self, clicks: Clicks | None, asked: int) -> None:
        if clicks is not None and asked == self._asked and self._is_now:
            self._controller.view.offer_clicks(clicks)
            self._controller.view.set_status(
                "There is an earlier result of this image: Run shows it and goes on with it."
            )

    def list_annotated(self) -> None:
        """Show the painted slices of a stack before there is a run that lists them."""
        if not self._is_now:
            return
        controller = self._controller
        opened, painted = controller.images.attempt(controller.image, controller.view.settings.axis), None
        if opened is not None and opened.frame.slicing is not None:
            try:
                painted = controller.annotations.array(opened.image, opened.frame)
            except InputError:  # of another shape: said when it matters, at Run
                painted = None
        if opened is None or painted is None:
            controller.view.show_supports([])
            return
        controller.worker.submit_newest(
            lambda stop: annotated_rows(opened.source, painted, opened.frame, stop), self._listed, report
        )

    def _listed(self, rows: list[SupportRow]) -> None:
        if self._is_now:
            self._controller.view.show_supports(rows)
