"""Which slice of a few-shot result the viewer shows, and the ways from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_iseg.fewshot.frame import Plane
from napari_iseg.prompts import Window
from napari_iseg.widgets import scene
from napari_iseg.widgets.fewshot_request import frame_of, plane_axes, plane_in_view

if TYPE_CHECKING:
    from napari_iseg.widgets.fewshot_controller import FewShotController

ASTRAY = (
    "Accept and Reject are for the slice in view: show slices in 2D, along the axis that is sliced (a click "
    "on the strip does)."
)


class Ways:
    """Finds its way in the viewer by the axes of the run that is shown."""

    def __init__(self, controller: FewShotController) -> None:
        self._controller = controller
        self._told = False  # that no slice is displayed
        dims = controller.viewer.dims.events
        self._events = (dims.order, dims.ndisplay)
        for event in self._events:
            event.connect(self._follow)

    def close(self) -> None:
        """Let go of the viewer."""
        for event in self._events:
            event.disconnect(self._follow)

    @property
    def plane(self) -> Plane | None:
        """The plane in view."""
        controller = self._controller
        if controller.image is None or controller.settings is None:
            return None
        return plane_in_view(controller.viewer, controller.image, controller.settings.axis)

    @property
    def prediction(self) -> Plane | None:
        """The plane in view, where it is predicted."""
        plane, results = self.plane, self._controller.results
        return plane if plane is not None and results is not None and results.is_predicted(plane) else None

    @property
    def astray(self) -> bool:
        """Whether there is a result of slices and the viewer displays other axes than theirs, or all."""
        results, image = self._controller.results, self._controller.image
        if results is None or results.frame.slicing is None or image is None:
            return False
        return not scene.shows_axes(self._controller.viewer, image, plane_axes(results.frame))

    def _follow(self, _event: Any = None) -> None:
        """Other axes are displayed; the buttons that this puts out of use cannot say why."""
        self._controller.follow_plane()
        before, self._told = self._told, self.astray
        if self._told:
            self._controller.view.set_status(ASTRAY)
        elif before and self._controller.results is not None:
            self._controller.view.set_status("Accept or reject the slice in view, or go on to the next.")

    def go_to(self, plane: Plane, window: Window | None = None) -> None:
        """Show a plane, and a window of it in the middle of the canvas."""
        controller = self._controller
        if controller.image is not None:
            shown = controller.settings if controller.results is not None else None  # else before a run
            axes = plane_axes(frame_of(controller.image, (shown or controller.view.settings).axis))
            scene.show_axes(controller.viewer, controller.image, axes)
            scene.go_to(controller.viewer, controller.image, axes, plane)
            if window is not None:
                scene.look_at(controller.viewer, controller.image, axes, plane, window)

    def go_to_cell(self, row: int, col: int) -> None:
        """Show what a cell of the strip stands for."""
        results = self._controller.results
        if results is not None:
            self.go_to(*results.place_of_cell(row, col, self.plane or ()))

    def go_next(self) -> None:
        """Go to the slice whose annotation helps most, of those that nobody has annotated or decided on."""
        controller, results = self._controller, self._controller.results
        if results is None:
            return
        found = results.next(controller.annotated_since)
        if found is not None:
            self.go_to(found.plane, found.window if results.frame.slicing is None else None)
            words = f"Annotate here next: {found.reason}."
        elif controller.running:
            words = "It is not known yet where an annotation helps most: wait for the first new answers."
        else:
            words = "What is predicted is all annotated, accepted or rejected by now; press Run."
        controller.view.set_status(words)
