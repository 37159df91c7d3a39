"""What the few-shot dock shows of an image before there is a run: its painted slices, an earlier result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.fewshot.collect import Clicks
from napari_iseg.labels.store import LabelStore
from napari_iseg.widgets.fewshot_advice import advice_on
from napari_iseg.widgets.fewshot_outputs import is_of_others, labels_needed, made_from
from napari_iseg.widgets.fewshot_request import LabelsNeeded
from napari_iseg.widgets.fewshot_results import earlier_clicks, layer_of
from napari_iseg.widgets.fewshot_run import SupportRow, annotated_rows
from napari_iseg.widgets.fewshot_view import HOW
from napari_iseg.widgets.reports import report

if TYPE_CHECKING:
    from napari_iseg.widgets.fewshot_controller import FewShotController


@dataclass(frozen=True)
class Earlier:
    """What there is of the chosen image and labels from an earlier time.

    Attributes
    ----------
    path, clicks : where the result lies or will lie, and its clicks; None where there is no result
    made_from, labels : the names of the labels that it was made from, and of those that are chosen
    meant : names of labels whose results may be meant where these have none
    others : the result was made from other labels, which had the name of these
    needed : the name of labels that it cannot go on without, where none are chosen
    """

    path: Path
    clicks: Clicks | None
    made_from: str | None
    labels: str | None
    meant: list[str]
    others: bool = False
    needed: str | None = None

    @property
    def words(self) -> str:
        """One sentence on it; nothing where there is nothing."""
        if self.clicks is not None:
            of = "" if self.made_from in (None, self.labels) else f", made from labels {self.made_from!r}"
            anew = (
                " It is of other labels of this name: rename the layer to begin anew." if self.others else ""
            )
            then = " and goes" if self.needed is None else f"; choose labels {self.needed!r} to go"
            return f"There is an earlier result of this image{of}: Run shows it{then} on with it.{anew}"
        if not self.meant:
            return ""
        names = " or ".join(map(repr, self.meant))
        do = f"choose labels {names}" if self.labels is None else f"rename the layer to {names}"
        return f"There is a result made from labels {names}: {do} to go on with it; Run begins another."


class Beforehand:
    """Looks in the background, and tells the dock unless a run has begun meanwhile."""

    def __init__(self, controller: FewShotController) -> None:
        self._controller = controller
        self._asked = 0  # how often an earlier result was looked for: only the last answer counts
        self._earlier, self._advice = "", ""  # the words on an earlier result, and on the labels
        self._said = ""  # of these, last

    @property
    def _is_now(self) -> bool:
        return self._controller.results is None and not self._controller.running

    def forget(self) -> None:
        """Another image, or none: what was said is not true of it."""
        self._earlier = self._advice = self._said = ""
        self._asked += 1
        if self._controller.image is None or not self._controller.running:  # else that it stops stands there
            self._controller.view.set_status(HOW)

    def look_for_earlier(self) -> None:
        """Say so when there is a result of the chosen image and labels from an earlier time."""
        controller, settings = self._controller, self._controller.view.settings
        folder, whose = controller.folder, controller.belonging.whose
        opened = controller.images.attempt(controller.image, settings.axis) if folder.is_dir() else None
        self._asked += 1
        if opened is None:
            self._say_of_earlier("")
            return
        asked = self._asked

        def look() -> Earlier:  # reads pixels
            path = opened.output(folder, settings.tile, whose)
            meant = opened.known(folder, settings.tile).meant(whose)
            name = made_from(path)
            others = name == whose.labels is not None and is_of_others(path, whose)
            needed = labels_needed(path) if whose.labels is None else None
            return Earlier(path, earlier_clicks(path), name, whose.labels, meant, others, needed)

        controller.worker.submit_task(
            lambda _stop: look(), lambda found: self._told_of_earlier(found, asked), report
        )

    def _told_of_earlier(self, found: Earlier, asked: int) -> None:
        if asked != self._asked or not self._is_now:
            return
        if found.clicks is not None:
            self._controller.view.offer_clicks(found.path, found.clicks)
        self._say_of_earlier(found.words)

    def _say_of_earlier(self, words: str) -> None:
        if self._is_now:
            self._earlier = words
            self._say(anew=bool(words))

    def show_earlier(self, error: Exception, wanted: bool) -> None:
        """Show the result that a run was refused to go on with, if it was to be for what is chosen now."""
        image, viewer = self._controller.image, self._controller.viewer
        if isinstance(error, LabelsNeeded) and wanted and image is not None and image in viewer.layers:
            layer_of(viewer, image, error.path, LabelStore.open(error.path), error.labels)
            self._controller.view.set_status(str(error))

    def _say(self, anew: bool) -> None:
        """Show the words that there are, or take back what was said; not anew: where they are others."""
        before, self._said = self._said, f"{self._earlier} {self._advice}".strip()
        if not self._said:
            self._controller.view.replace_status(before, HOW)
        elif anew or self._said != before:
            self._controller.view.set_status(self._said)

    def list_annotated(self) -> None:
        """Show the painted slices of a stack before there is a run that lists them; then what is new."""
        if not self._is_now:
            self._controller.news.look()
            return
        controller, painted = self._controller, None
        opened = controller.images.attempt(controller.image, controller.view.settings.axis)
        if opened is not None and opened.frame.slicing is not None:
            painted = controller.annotations.attempt(opened.image, opened.frame)
        if opened is None or painted is None:
            controller.worker.cancel_newest()
            self._listed([], "")
            return
        source, frame = opened.source, opened.frame

        def look(stop: Callable[[], bool]) -> tuple[list[SupportRow], str]:
            rows = annotated_rows(source, painted, frame, stop)
            return rows, advice_on([row.ref for row in rows], painted, frame, stop)

        controller.worker.submit_newest(look, lambda found: self._listed(*found), report)

    def _listed(self, rows: list[SupportRow], advice: str) -> None:
        if self._is_now:
            self._controller.view.show_supports(rows)
            self._advice = advice
            self._say(anew=False)
