"""The layer of boxes: one rectangle around the current object, drawn and edited with napari's own tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.prompts import Box
from napari_iseg.widgets.mouse import CLICK_DISTANCE
from napari_iseg.widgets.placement import Placement, PlaneAxes
from napari_iseg.widgets.scene import OUTPUT, to_world

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Shapes

COLOR = "#00c8ff"
EDGE_PIXELS = 2.0  # of the outline on the screen, whatever the zoom
_SELECTING = ("select", "direct")  # napari's tools that move a box or its corners

Placed = tuple[tuple[int, ...], Box]  # plane and box


class BoxLayer:
    """A Shapes layer that belongs to one image and one choice of plane axes, or its absence.

    Parameters
    ----------
    viewer : where the layer is shown
    image : the layer that is segmented
    axes : which of its axes are the plane

    Attributes
    ----------
    layer : None where boxes are not offered
    aside : the layer that is kept out of sight meanwhile, or None
    """

    def __init__(self, viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> None:
        self.layer: Shapes | None = None
        self.aside: Shapes | None = None
        self._hidden = False  # the one aside, by us
        self._viewer, self._image, self._axes = viewer, image, axes
        self._shown: Placed | None = None

    def make(self) -> Shapes:
        """A new layer with the box that there is; the caller adds it to the viewer."""
        from napari.layers import Shapes

        self.aside = None
        self.layer = Shapes(
            ndim=self._axes.ndim,
            name=f"{self._image.name} box",
            edge_color=COLOR,
            face_color="transparent",
            metadata={OUTPUT: True},
            **Placement.of(self._image).whole(),
        )
        self.layer.mode = "pan_zoom"
        self.layer.events.scale_factor.connect(self.keep_width)
        self.keep_width()
        self._draw()
        return self.layer

    def put_aside(self) -> None:
        """Keep the layer out of sight; removing and making one hold the window for a quarter of a second."""
        assert self.layer is not None
        self.show(None, anew=True)
        self.aside, self.layer = self.layer, None
        self._hidden = bool(self.aside.visible)
        self.aside.visible = False
        self.aside.editable = False  # nobody would hear of what is drawn there

    def take_back(self) -> None:
        """Have the layer again that was put aside."""
        assert self.aside is not None
        self.layer, self.aside = self.aside, None
        self.layer.editable = True
        if self._hidden:
            self.layer.visible = True
        self.keep_width()
        self._draw()

    def forget(self) -> None:
        """The layer is gone."""
        self.layer = self.aside = self._shown = None

    @property
    def drawing(self) -> bool:
        """Whether the tool that draws rectangles is chosen."""
        return self.layer is not None and str(self.layer.mode) == "add_rectangle"

    def draw(self) -> None:
        """Let the next drag draw a rectangle."""
        assert self.layer is not None
        self.layer.mode = "add_rectangle"

    def show(self, placed: Placed | None, *, anew: bool = False) -> None:
        """Show exactly this box, where there is no layer as soon as there is one.

        The caller blocks its own callbacks. ``anew``: whatever was drawn goes.
        """
        if placed != self._shown or anew:
            self._shown = placed
            if self.layer is not None:
                self._draw()

    def _draw(self) -> None:
        assert self.layer is not None
        selected = str(self.layer.mode) in _SELECTING and bool(self.layer.selected_data)
        if self.layer.nshapes:
            self.layer.selected_data = set(range(self.layer.nshapes))
            self.layer.remove_selected()
        if self._shown is not None:
            width = self.layer.current_edge_width
            self.layer.add_rectangles([self._corners(*self._shown)], edge_width=width, edge_color=COLOR)
            if selected:
                self.layer.selected_data = {0}  # so that Delete, and its handles, work after a drag

    def read(self) -> Placed | None:
        """The box around the shape drawn last, of any kind; None where there is no shape.

        Raises
        ------
        InputError
            For a shape without height or width, or what a click without a drag has drawn.
        """
        if self.layer is None or not self.layer.nshapes:
            return None
        corners = np.asarray(self.layer.data[-1], float)
        plane, _ = self._axes.split(corners[0])
        # Pixel centres are at integers in napari; a box counts from the edges of pixels.
        rows, cols = corners[:, self._axes.rows] + 0.5, corners[:, self._axes.cols] + 0.5
        box = Box(float(rows.min()), float(cols.min()), float(rows.max()), float(cols.max()))
        if min(np.ptp(rows), np.ptp(cols)) < 1 or (self.drawing and self._on_screen(box) < CLICK_DISTANCE):
            raise InputError("This box has no area; drag from one corner of the object to the opposite one.")
        return plane, box

    def _on_screen(self, box: Box) -> float:
        """The longer side of a box in pixels of the canvas."""
        return max(self._sides(box))

    def _sides(self, box: Box) -> tuple[float, float]:
        """Width and height of a box in pixels of the canvas."""
        assert self.layer is not None
        corners = self._corners((0,) * len(self._axes.leading), box)
        first, right, _, below = (to_world(self._viewer, self.layer, corner) for corner in corners)
        zoom = 1 / float(self.layer.scale_factor)
        return float(np.linalg.norm(right - first)) * zoom, float(np.linalg.norm(below - first)) * zoom

    def keep_width(self, _event: Any = None) -> None:
        """Have outlines, also of what is being drawn, of one width on the screen: napari gives them pixels of
        the image. Where these are longer than wide, the thinner lines have it.
        """
        if self.layer is None:
            return  # aside it is empty
        width = EDGE_PIXELS / min(self._sides(Box(0, 0, 1, 1)))
        if not np.isclose(width, self.layer.current_edge_width):
            self.layer.current_edge_width = width
            if self.layer.nshapes:
                self.layer.edge_width = width
                self.layer.refresh(extent=False, thumbnail=False)

    def _corners(self, plane: Sequence[int], box: Box) -> list[np.ndarray]:
        rows, cols = (box.row0 - 0.5, box.row1 - 0.5), (box.col0 - 0.5, box.col1 - 0.5)
        around = ((rows[0], cols[0]), (rows[0], cols[1]), (rows[1], cols[1]), (rows[1], cols[0]))
        return [self._axes.join(plane, row, col) for row, col in around]
