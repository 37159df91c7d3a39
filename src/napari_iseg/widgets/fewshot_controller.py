"""Connects viewer, few-shot dock and run; knows no Qt widgets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError, IsegError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.frame import Plane
from napari_iseg.fewshot.preparing import Prepared
from napari_iseg.fewshot.propagate import RunReport
from napari_iseg.widgets.fewshot_annotations import Annotations
from napari_iseg.widgets.fewshot_before import Beforehand
from napari_iseg.widgets.fewshot_belonging import Belonging
from napari_iseg.widgets.fewshot_clicks import ClicksFollow, ClicksWatch, belong, result_of, warn_of_ignored
from napari_iseg.widgets.fewshot_models import LoadModel, Models
from napari_iseg.widgets.fewshot_news import News
from napari_iseg.widgets.fewshot_request import Openings, frame_of, request_of
from napari_iseg.widgets.fewshot_results import Results, settle_clicks
from napari_iseg.widgets.fewshot_run import RunSignals, SupportRow, execute
from napari_iseg.widgets.fewshot_saving import save
from napari_iseg.widgets.fewshot_view import FewShotSettings, FewShotView
from napari_iseg.widgets.fewshot_ways import ASTRAY, Ways
from napari_iseg.widgets.fewshot_words import pieces_of, time_left, words_on_end, words_on_failed
from napari_iseg.widgets.reports import report, warn
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Points

_STOPPED = "Stopped: the image or its labels are others now; press Run for these."


class FewShotController:
    """Annotations and commands in, result layer and words out.

    Parameters
    ----------
    viewer, view : the napari viewer, and the dock (or a stand-in)
    load : loads a few-shot model
    folder : where results are written
    """

    def __init__(self, viewer: napari.Viewer, view: FewShotView, load: LoadModel, folder: Path) -> None:
        self.viewer, self.view, self.folder = viewer, view, folder
        self._models = Models(load)
        self.worker = Worker()
        self.signals = RunSignals()
        self.annotations = Annotations()
        self.results: Results | None = None
        self.image: Image | None = None
        self.settings: FewShotSettings | None = None  # of the run that is shown
        self.report: RunReport | None = None
        self._control: Control | None = None
        self.closed = False
        self._wanted = False  # the run that is under way, for the image and the labels that are chosen now
        self._again = False  # these wait until a cancelled run has ended
        self._to_reject: list[Plane] = []
        self._paused = False  # what follows a paused run waits as it did
        self._places = ClicksFollow(viewer)
        self._clicks = ClicksWatch(self._given, self._clicked)
        self.belonging = Belonging(self)
        self.images = Openings()
        self.before = Beforehand(self)
        self.news = News(self)
        self.ways = Ways(self)
        self.signals.prepared.connect(self._prepared)
        self.signals.supports.connect(self._supported)
        self.signals.progress.connect(self._progress)
        self.signals.written.connect(self._written)
        viewer.dims.events.point.connect(self.follow_plane)

    # -- what the dock calls --

    @property
    def running(self) -> bool:
        """Whether a run is under way (or waits)."""
        return self._control is not None

    def choose_image(self, image: Image | None) -> None:
        """Work on another image."""
        if image is not self.image:
            self._let_go()
            self._places.follow(image)
            if self.image is not None:
                self.image.events.data.disconnect(self._pixels_replaced)
            if image is not None:
                image.events.data.connect(self._pixels_replaced)
            self.image = image
            self.before.forget()
        self.tell()

    def choose_annotations(self, labels: Labels | None, clicks: Points | None) -> None:
        """The layers that are annotated in; to be called also when they were renamed."""
        others = self.belonging.choose(labels)
        if others and not self.belonging.stays():
            if self.results is not None:
                self._let_go()
            if result_of(clicks) is not None:  # they are of that result
                self.view.leave_clicks()
                clicks = None
        self.annotations.clicks = clicks
        self._clicks.follow(clicks)
        if others:
            self.before.look_for_earlier()
        self.tell()

    def _let_go(self) -> None:
        """What was found counts no more for what is chosen; a run that is under way ends."""
        if self.running:
            self.view.set_status(_STOPPED)
        self.cancel()
        self._to_reject, self._wanted = [], False
        self.results = self.report = None
        self.view.set_progress(0, 1, "")
        self.news.forget()

    def run(self) -> None:
        """Start, or start anew with what has changed."""
        settings = self.settings = self.view.settings
        if self.image is None:
            warn("Open an image first, then annotate a few of its slices.")
            return
        if self._control is not None:
            self._again, self._paused = True, self._control.paused or self._paused
            self._control.cancel()
            return
        try:
            opened = self.images.open(self.image, settings.axis)
            whose, taken = self.belonging.whose, self.news.begin()
            make_request = request_of(
                self.viewer, opened, settings, self.annotations, self.folder, whose, taken
            )
        except IsegError as error:
            report(error)
            return
        self.worker.cancel_newest()
        control = self._control = Control()
        if self._paused:
            control.pause()
        self.belonging.begin(partial(opened.known, self.folder, settings.tile), taken)
        self._wanted, self._paused = True, False
        self.follow_plane()
        self.view.set_running(True, control.paused)
        self.view.set_status("Preparing: reading the annotated slices…")
        load = partial(self._models.get, settings.model, settings.device)
        self.worker.submit_task(
            lambda _stop: execute(load, make_request, self.signals, control), self._finished, self._failed
        )

    def pause(self) -> None:
        """Pause, or go on."""
        if self._control is not None:
            if self._again:  # this run ends; what follows it waits or not
                self._paused = not self._paused
            elif self._control.paused:
                self._control.resume()
            else:
                self._control.pause()
            self.view.set_running(True, self._control.paused or self._paused)

    def cancel(self) -> None:
        """Stop, also a run that waits for the end of this one; what is finished or rejected stays so."""
        self._again, self._paused = False, False
        if self._control is not None:
            self._control.cancel()

    def accept(self) -> None:
        """The prediction of the slice in view becomes an annotation, on the user's word."""
        plane = self.ways.prediction
        if plane is not None and self.results is not None:
            self._decide(self.results.accept, plane)
        else:
            warn(ASTRAY if self.ways.astray else "Go to a slice that is predicted to accept it.")

    def reject(self) -> None:
        """The slice in view is wrong: a prediction is emptied and marked, an acceptance is taken back."""
        plane, results = self.ways.plane, self.results
        if plane is None or results is None or not results.can_reject(plane):
            warn(ASTRAY if self.ways.astray else "Go to a slice that is predicted to reject it.")
        elif results.is_accepted(plane):
            self._decide(results.take_back, plane)
        else:
            self._reject(results, plane)

    def _reject(self, results: Results, plane: Plane) -> None:
        if self.running:  # one at a time writes to the output
            self._to_reject.append(plane)
            self.run()
            return
        try:
            results.reject(plane)
        except IsegError as error:
            report(error)
            return
        self.view.set_status(
            "Rejected: the slice is empty until an annotation changes it. Correct it by clicks, or go on."
        )
        self.tell()

    def _decide(self, say: Callable[[Plane], None], plane: Plane) -> None:
        """Keep the user's word on a slice, and bring the rest up to date."""
        try:
            say(plane)
        except IsegError as error:
            report(error)
            return
        self.run()

    def save(self, path: Path) -> None:
        """Write the result to a file of another kind or place, in the background."""
        if self.report is not None and self.results is not None and self.image is not None:
            save(self.report.out, path, self.image, self.results.frame, self.worker, self.view)

    def close(self, _dock: object = None) -> None:
        """Stop everything and let go of the viewer; calling it again does nothing. Touches no widget."""
        if self.closed:
            return
        self.closed = True
        self.cancel()
        self.worker.close()
        self.news.close()
        self.signals.silence()
        self.ways.close()
        self.viewer.dims.events.point.disconnect(self.follow_plane)
        self._clicks.follow(None)
        self._places.follow(None)
        if self.image is not None:
            self.image.events.data.disconnect(self._pixels_replaced)

    def tell(self) -> None:
        """Bring the dock up to date."""
        plane = self.ways.plane
        nothing = np.full((1, 1), np.nan), (-1, -1)
        self.view.show_trust(*(nothing if self.results is None else self.results.cells(plane or ())))
        can_reject = self.results is not None and plane is not None and self.results.can_reject(plane)
        can_go = self.results is not None and (self.running or self.results.has_next)
        can_save = self.report is not None and not self.running
        self.view.set_possible(self.ways.prediction is not None, can_reject, can_go, can_save)

    # -- what a run tells --

    def _prepared(self, prepared: Prepared) -> None:
        there = self.image is not None and self.image in self.viewer.layers
        if there and self._wanted and not self.belonging.is_for_now(prepared.output.path):
            self._wanted = False
            self.view.set_status(_STOPPED)
        if self.image is None or not there or not self._wanted:
            assert self._control is not None
            self._control.cancel()  # and what waits for its end goes on
            return
        known = self.results
        shown = known is not None and known.layer in self.viewer.layers
        if known is None or not shown or known.output.path != prepared.output.path:
            self.results = Results.of(self.viewer, self.image, prepared)
        if self.results is not None:
            self.results.use(prepared)
        if self.results is None or prepared.room.given_up:
            return  # its end says why
        self.news.run_is_shown()
        try:
            shown_anew = known is not self.results and self.annotations.clicks is None
            kept = settle_clicks(prepared.output.path, self._given(), shown_anew)
        except IsegError as error:
            report(error)
            kept = {}
        if kept:
            self.view.offer_clicks(prepared.output.path, kept)
            self.run()
        belong(self.annotations.clicks, prepared.output.path)
        warn_of_ignored(prepared.plan, prepared.doubts)
        pieces = pieces_of(len(prepared.plan.supports), self._whole, "annotated ")
        words = f"From {pieces}; what is in view comes first, then the nearest."
        self.view.set_status(f"{self.belonging.words} {words}".strip())
        self.tell()

    def _supported(self, rows: list[SupportRow]) -> None:
        if self._wanted:
            self.news.list_run(rows)

    def _progress(self, progress: Progress) -> None:
        if self._wanted:  # else it is of what is chosen no more
            left = "" if progress.seconds_left is None else time_left(progress.seconds_left)
            self.view.set_progress(progress.done, progress.total, left)

    def _written(self, written: Written) -> None:
        if self.results is not None:
            self.results.add(written, self.ways.plane or ())
            self.tell()

    def _finished(self, result: RunReport) -> None:
        self._control = None
        self.view.set_running(False, False)
        if self._wanted:
            self.report = result
        if self.results is None or self.results.leave_if_gone():
            self.results = self.report = None
        if self._do_what_waits():
            return
        if not self._wanted:
            self.before.list_annotated()
            self.before.look_for_earlier()
            self.tell()
            return
        if result.failed:
            warn(words_on_failed(result, self._whole))
        words = words_on_end(result, self._whole), self.belonging.take_words(), self.news.words
        self.view.set_status(" ".join(filter(None, words)))
        if self.results is not None:
            self.results.refresh()
        self.tell()

    def _failed(self, error: Exception) -> None:
        self._control = None
        self.view.set_running(False, False)
        self.view.set_status("Stopped.")
        report(error)
        if self.results is None or self.results.leave_if_gone():
            self.results = self.report = None
        self.before.show_earlier(error, self._wanted)
        if not self._do_what_waits():
            self.before.list_annotated()
            self.tell()

    @property
    def _whole(self) -> bool:
        """Whether a run goes through whole slices, and not tiles."""
        return self.results is not None and self.results.grid.count == (1, 1)

    def _do_what_waits(self) -> bool:
        """What was asked for while a run had to end first; whether another one was started."""
        again, planes = self._again, self._to_reject
        self._again, self._to_reject = False, []
        if self.results is not None:
            for plane in planes:
                self._reject(self.results, plane)
        if again:
            self.run()
        return again

    # -- the viewer --

    def _clicked(self, planes: set[Plane]) -> None:
        """A click on a slice makes it a support; what there is of a result is brought up to date."""
        try:
            if self.results is not None:
                for plane in self.results.decisions.accepted & planes:
                    self.results.decisions.forget(plane)  # it was not right after all
        except IsegError as error:
            report(error)
            return
        if self.results is not None or self.running:
            self.run()

    @property
    def annotated_since(self) -> set[Plane]:
        """Planes that were clicked, labelled or rejected, perhaps since the last answers were computed."""
        given: Clicks = {}
        with suppress(InputError):  # said when it matters, at Run
            given = self._given()
        return {*given, *self.news.planes, *self._to_reject}

    def _given(self) -> Clicks:
        """The clicks on the planes of the image."""
        if self.image is None:
            return {}
        frame = frame_of(self.image, self.view.settings.axis)
        return self.annotations.given_clicks(self.viewer, self.image, frame)

    def follow_plane(self, _event: Any = None) -> None:
        """The viewer shows another plane, or other axes."""
        if self._control is not None:
            self._control.focus = self.ways.plane
        if self.results is not None:
            self.results.refresh_if_stale()
        self.tell()

    def _pixels_replaced(self, _event: Any = None) -> None:
        """Other pixels, perhaps more of them, as of a series that grows: a result of the old ones is none."""
        results = self.results
        self._let_go()
        if results is not None:
            results.put_aside()
            self.view.set_status(
                "The image has new pixels: Run segments them. The result of before is a layer, out of sight."
            )
        self.view.list_axes()
        self._clicks.follow(self.annotations.clicks)  # all planes may be others
        self.before.list_annotated()
        self.before.look_for_earlier()
        self.tell()
