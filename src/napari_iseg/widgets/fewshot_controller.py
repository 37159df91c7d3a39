"""Connects viewer, few-shot dock and run; knows no Qt widgets."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError, IsegError, SaveError
from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.fewshot.given import GivenImage
from napari_iseg.fewshot.preparing import Prepared, Request
from napari_iseg.fewshot.propagate import RunReport
from napari_iseg.images import PlaneSource
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.store import LabelStore
from napari_iseg.widgets import scene
from napari_iseg.widgets.fewshot_annotations import Annotations
from napari_iseg.widgets.fewshot_results import Results
from napari_iseg.widgets.fewshot_run import Loaded, RunSignals, execute
from napari_iseg.widgets.fewshot_view import FewShotSettings, FewShotView
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.reports import report, warn
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Points

LoadModel = Callable[[str, str], UnitPredictor]  # (name, device) -> predictor; slow, called in the worker
_MEMORY = 2 * 10**9


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
        self._load = load
        self.worker = Worker()
        self.signals = RunSignals()
        self.annotations = Annotations()
        self.results: Results | None = None
        self.image: Image | None = None
        self.settings: FewShotSettings | None = None
        self.report: RunReport | None = None
        self._control: Control | None = None
        self._loaded: Loaded | None = None
        self._again = False
        self._outs: dict[tuple[Any, ...], Path] = {}
        self._source: tuple[Any, PlaneSource] | None = None
        self.signals.prepared.connect(self._prepared)
        self.signals.supports.connect(view.show_supports)
        self.signals.progress.connect(self._progress)
        self.signals.written.connect(self._written)
        viewer.dims.events.point.connect(self._follow_plane)

    # -- what the dock calls --

    @property
    def running(self) -> bool:
        """Whether a run is under way (or waits)."""
        return self._control is not None

    def choose_image(self, image: Image | None) -> None:
        """Work on another image; what was accepted belonged to the one before."""
        if image is not self.image:
            self.cancel()
            self.image, self.results, self.report = image, None, None
            self.annotations.accepted.clear()
        self.tell()

    def choose_annotations(self, labels: Labels | None, clicks: Points | None) -> None:
        """The layers that are annotated in."""
        if self.annotations.clicks is not None:
            self.annotations.clicks.events.data.disconnect(self._clicked)
        self.annotations.labels, self.annotations.clicks = labels, clicks
        if clicks is not None:
            clicks.events.data.connect(self._clicked)
        self.tell()

    def run(self, settings: FewShotSettings) -> None:
        """Start, or start anew with what has changed."""
        self.settings = settings
        if self.image is None:
            warn("Open an image first, then annotate a few of its slices.")
            return
        if self.running:
            self._again = True
            self.cancel()
            return
        try:
            make_request = self._request(self.image, settings)
        except IsegError as error:
            report(error)
            return
        control = self._control = Control()
        self._follow_plane()
        self.view.set_running(True, False)
        self.view.set_status("Preparing: reading the annotated slices…")
        self.worker.submit_task(
            lambda _stop: execute(lambda: self._model(settings), make_request, self.signals, control),
            self._finished,
            self._failed,
        )

    def pause(self) -> None:
        """Pause, or go on."""
        if self._control is not None:
            if self._control.paused:
                self._control.resume()
            else:
                self._control.pause()
            self.view.set_running(True, self._control.paused)

    def cancel(self) -> None:
        """Stop; what is finished stays."""
        if self._control is not None:
            self._control.cancel()

    def accept(self) -> None:
        """The prediction of the slice in view becomes an annotation, on the user's word."""
        plane = self._shown_prediction()
        if plane is None or self.results is None or self.settings is None:
            warn("Go to a slice that is predicted to accept it.")
            return
        self.annotations.accepted[plane] = self.results.mask_of(plane)
        self.results.rejected.discard(plane)
        self.run(self.settings)

    def reject(self) -> None:
        """The prediction of the slice in view is wrong: it is emptied and marked."""
        plane = self._shown_prediction()
        if plane is None or self.results is None:
            warn("Go to a slice that is predicted to reject it.")
            return
        try:
            self.results.reject(plane)
        except SaveError as error:
            report(error)
        self.tell()

    def save(self, path: Path) -> None:
        """Write the result to a file of another kind or place, in the background."""
        if self.report is None:
            return
        out = self.report.out
        self.view.set_status(f"Saving {path.name}…")
        self.worker.submit_task(
            lambda _stop: export_labels(LabelStore.open(out), path),
            lambda written: self.view.set_status(f"Saved {written}."),
            self._failed,
        )

    def go_next(self) -> None:
        """Go to the slice whose annotation helps most."""
        if self.report is None or self.report.next is None or self.results is None:
            return
        self.go_to(self.report.next.plane)
        self.view.set_status(f"Annotate here next: {self.report.next.reason}.")

    def go_to(self, plane: Plane) -> None:
        """Show a plane."""
        if self.image is not None and self.settings is not None:
            axes = self._axes(self.image, self.settings)
            scene.show_axes(self.viewer, self.image, axes)
            scene.go_to(self.viewer, self.image, axes, plane)

    def go_to_cell(self, row: int, col: int) -> None:
        """Show what a cell of the strip stands for."""
        if self.results is None:
            return
        plane = self.results.plane_of_cell(row, col, self._plane() or ())
        if plane is not None:
            self.go_to(plane)

    def close(self) -> None:
        """Stop everything and let go of the viewer."""
        self.cancel()
        self.worker.close()
        self.viewer.dims.events.point.disconnect(self._follow_plane)
        if self.annotations.clicks is not None:
            self.annotations.clicks.events.data.disconnect(self._clicked)
            self.annotations.clicks = None

    def tell(self) -> None:
        """Bring the dock up to date."""
        plane = self._plane()
        if self.results is not None:
            self.view.show_trust(*self.results.cells(plane or ()))
        can_go = self.report is not None and self.report.next is not None
        can_save = self.report is not None and not self.running
        self.view.set_possible(self._shown_prediction() is not None, can_go, can_save)

    # -- the run --

    def _model(self, settings: FewShotSettings) -> Loaded:
        name = f"{settings.model} on {settings.device}"
        if self._loaded is None or self._loaded.name != name:
            self._loaded = Loaded(name, self._load(settings.model, settings.device))
        return self._loaded

    def _request(self, image: Image, settings: FewShotSettings) -> Callable[[UnitPredictor], Request]:
        shape = scene.image_shape(image)
        spacing = [abs(float(step)) for step in image.scale]
        frame = Frame.of(shape, settings.axis if len(shape) > 2 else None, spacing=spacing)
        source = self._image_source(image, frame)
        planes, region = self._where(image, frame, settings)
        array = self.annotations.array(image, frame)
        clicks = self.annotations.given_clicks(image, frame)
        accepted = tuple(self.annotations.accepted)
        out = self._out(image, settings, frame)
        space = Space.make(
            len(shape),
            None if any(str(name).startswith("-") for name in image.axis_labels) else image.axis_labels,
            spacing,
            [float(shift) for shift in image.translate],
            [str(unit) for unit in image.units],
        )

        def make(predictor: UnitPredictor) -> Request:
            return Request(
                image=lambda: source,
                labels=array,
                frame=frame,
                space=space,
                out=out,
                predictor=lambda _device, _bytes: predictor,
                identity=predictor.identity,
                on_grid=not predictor.needs_image,
                planes=planes,
                region=region,
                tile=settings.tile,
                halo=settings.tile // 8,
                memory=_MEMORY,
                clicks=clicks,
                support_planes=array.planes(),
                accepted=accepted,
                complete=not settings.partial,
                sequential=settings.sequential,
                existing="resume",
            )

        return make

    def _where(self, image: Image, frame: Frame, settings: FewShotSettings) -> tuple[list[Plane] | None, Any]:
        """Planes and window of the region that is set."""
        if settings.region == "visible":
            axes = PlaneAxes(len(frame.shape), frame.rows, frame.cols)
            plane = scene.shown_plane(self.viewer, image, axes)
            if plane is None:
                raise InputError("No slice of the image is in view; move the sliders to one.")
            return [plane], scene.visible_window(image, axes)
        if settings.region == "range" and frame.slicing is not None:
            wanted = range(settings.first, settings.last + 1)
            return [plane for plane in frame.planes() if plane[frame.place] in wanted], None
        return None, None

    def _image_source(self, image: Image, frame: Frame) -> PlaneSource:
        """Read once per image and slicing axis: its intensities are looked up when it is opened."""
        key = (image.data, frame.rows, frame.cols)
        if self._source is None or any(a is not b for a, b in zip(self._source[0], key, strict=True)):
            data = list(image.data) if image.multiscale else image.data
            self._source = (key, GivenImage(data, rgb=bool(image.rgb)).opener(frame)())
        return self._source[1]

    def _out(self, image: Image, settings: FewShotSettings, frame: Frame) -> Path:
        """One output per image, slicing axis and tile: a second run brings it up to date."""
        key = (id(image), settings.axis, settings.tile, frame.shape)
        if key not in self._outs:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SaveError(
                    f"The folder {self.folder} cannot be made ({error.strerror or error}); choose another "
                    "autosave folder in Preferences > Plugins > napari-iseg."
                ) from error
            stem = re.sub(r"\W+", "-", image.name).strip("-")[:40] or "image"
            self._outs[key] = self.folder / f"{stem}-{datetime.now():%Y%m%d-%H%M%S-%f}.zarr"
        return self._outs[key]

    # -- what a run tells --

    def _prepared(self, prepared: Prepared) -> None:
        if self.image is None or self.image not in self.viewer.layers:
            self.cancel()
            return
        if self.results is None or self.results.output.path != prepared.output.path:
            self.results = Results(
                self.viewer, self.image, prepared.plan.frame, prepared.plan.grid, prepared.output
            )
        self.results.use(prepared)
        self.view.set_status(f"{len(prepared.plan.supports)} annotated; the nearest come first.")
        self.tell()

    def _progress(self, progress: Progress) -> None:
        left = "" if progress.seconds_left is None else _words(progress.seconds_left)
        self.view.set_progress(progress.done, progress.total, left)

    def _written(self, written: Written) -> None:
        if self.results is not None:
            self.results.add(written, self._plane() or ())
            self.tell()

    def _finished(self, result: RunReport) -> None:
        self._control, self.report = None, result
        self.view.set_running(False, False)
        if self._again and self.settings is not None:
            self._again = False
            self.run(self.settings)
            return
        if result.failed:
            first = result.failed[0]
            warn(
                f"{len(result.failed)} units failed, first {first.where}: {first.reason}. Run again to retry."
            )
        stopped = "Stopped; run again to go on." if result.cancelled else "Done."
        self.view.set_status(f"{stopped} {result.computed} computed, mean trust {result.trust:.2f}.")
        if self.results is not None:
            self.results.refresh()
        self.tell()

    def _failed(self, error: Exception) -> None:
        self._control = None
        self.view.set_running(False, False)
        self.view.set_status("Stopped.")
        report(error)
        if self._again and self.settings is not None:
            self._again = False
            self.run(self.settings)

    # -- the viewer --

    def _clicked(self, event: Any) -> None:
        """A click on a slice makes it a support; what there is of a result is brought up to date."""
        action = str(getattr(event, "action", "")).rsplit(".", 1)[-1].lower()
        if (
            action in ("added", "removed", "changed")
            and self.results is not None
            and self.settings is not None
        ):
            self.run(self.settings)

    def _follow_plane(self, _event: Any = None) -> None:
        if self._control is not None:
            self._control.focus = self._plane()
        if self.results is not None:
            self.results.refresh_if_stale()
        self.tell()

    def _plane(self) -> Plane | None:
        """The plane in view."""
        if self.image is None or self.settings is None:
            return None
        try:
            return scene.shown_plane(self.viewer, self.image, self._axes(self.image, self.settings))
        except (InputError, ValueError):
            return None

    def _shown_prediction(self) -> Plane | None:
        plane = self._plane()
        if plane is None or self.results is None or not self.results.is_predicted(plane):
            return None
        return plane

    def _axes(self, image: Image, settings: FewShotSettings) -> PlaneAxes:
        shape = scene.image_shape(image)
        frame = Frame.of(shape, settings.axis if len(shape) > 2 else None)
        return PlaneAxes(len(shape), frame.rows, frame.cols)


def _words(seconds: float) -> str:
    """A time that people read."""
    if seconds < 90:
        return f"{np.ceil(seconds):.0f} s left"
    return f"{np.ceil(seconds / 60):.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"
