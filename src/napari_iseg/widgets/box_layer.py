"""The layer of boxes: one rectangle around the current object, drawn and edited with napari's own tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
_WIDTH = 0.01  # of the edge, as a share of the box's longer side: shapes have no width in screen pixels

Placed = tuple[tuple[int, ...], Box]  # plane and box


class BoxLayer:
    """A Shapes layer that belongs to one image and one choice of plane axes, or its absence.

    Parameters
    ----------
    viewer : where the layer is shown
    image : the layer that is segmented
    axes : which of its axes are the plane
    """

    def __init__(self, viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> None:
        self.layer: Shapes | None = None
        self._viewer, self._image, self._axes = viewer, image, axes
        self._shown: Placed | None = None

    def make(self) -> Shapes:
        """A new empty layer; the caller adds it to the viewer."""
        from napari.layers import Shapes

        self._shown = None
        self.layer = Shapes(
            ndim=self._axes.ndim,
            name=f"{self._image.name} box",
            edge_color=COLOR,
            face_color="transparent",
            edge_width=1,
            metadata={OUTPUT: True},
            **Placement.of(self._image).whole(),
        )
        self.layer.mode = "pan_zoom"
        return self.layer

    def forget(self) -> None:
        """The layer is gone."""
        self.layer = self._shown = None

    @property
    def drawing(self) -> bool:
        """Whether the tool that draws rectangles is chosen."""
        return self.layer is not None and str(self.layer.mode) == "add_rectangle"

    def draw(self) -> None:
        """Let the next drag draw a rectangle."""
        assert self.layer is not None
        self.layer.mode = "add_rectangle"

    def show(self, placed: Placed | None, *, anew: bool = False) -> None:
        """Show exactly this box; the caller blocks its own callbacks. ``anew``: whatever was drawn goes."""
        if self.layer is None or (placed == self._shown and not anew):
            return
        self._shown = placed
        if self.layer.nshapes:
            self.layer.selected_data = set(range(self.layer.nshapes))
            self.layer.remove_selected()
        if placed is not None:
            width = max(0.3, _WIDTH * max(placed[1].row1 - placed[1].row0, placed[1].col1 - placed[1].col0))
            self.layer.add_rectangles([self._corners(*placed)], edge_width=width, edge_color=COLOR)

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
        assert self.layer is not None
        corners = self._corners((0,) * len(self._axes.leading), box)
        first, right, _, below = (to_world(self._viewer, self.layer, corner) for corner in corners)
        sides = np.linalg.norm(right - first), np.linalg.norm(below - first)
        return float(max(sides) / self.layer.scale_factor)

    def _corners(self, plane: Sequence[int], box: Box) -> list[np.ndarray]:
        rows, cols = (box.row0 - 0.5, box.row1 - 0.5), (box.col0 - 0.5, box.col1 - 0.5)
        around = ((rows[0], cols[0]), (rows[0], cols[1]), (rows[1], cols[1]), (rows[1], cols[0]))
        return [self._axes.join(plane, row, col) for row, col in around]
