"""The layers beside an image: its clicks, the current object, the committed ones, the probability on demand.

One big editable labels layer does not scale in napari, so the object being made is a small layer that covers
the window worked on, and the committed objects are a read-only (multiscale) layer over the label store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_iseg.prompts import Click, Window
from napari_iseg.widgets.box_layer import BoxLayer
from napari_iseg.widgets.layer_list import insert_below, remove
from napari_iseg.widgets.placement import Placement, PlaneAxes, name_axes, put
from napari_iseg.widgets.read_only import read_only
from napari_iseg.widgets.scene import OUTPUT

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer, Points
    from napari.utils.colormaps import DirectLabelColormap

    from napari_iseg.interactive.patch import Patch

FOREGROUND, BACKGROUND = "#22dd55", "#ff3b30"
OBJECT_COLOR = "#ffd60a"
SESSION = "napari-iseg session"  # key of the metadata of committed labels
NAMES = r"(objects|probability|current object|box|clicks)( \[\d+\])?"  # after the image's, as we give them
MARKER_PIXELS = 8.0  # on the screen, whatever the zoom; the border that napari adds doubles it


class ClickLayers:
    """Makes, places and fills the layers that belong to one image and one choice of plane axes.

    Parameters
    ----------
    viewer : where the layers are added
    image : the layer that is segmented
    axes : which of its axes are the plane
    """

    def __init__(self, viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> None:
        self.viewer, self.image, self.axes = viewer, image, axes
        self.points: Points | None = None
        self.current: Labels | None = None
        self.probability: Image | None = None
        self.committed: Labels | None = None
        self.boxes = BoxLayer(viewer, image, axes)
        self._shown: list[tuple[tuple[int, ...], Click]] = []  # the clicks
        self.clicks_are_late = False  # more are shown than there are
        self._folder: Path | None = None  # of the session whose labels are shown
        self._put_out_of_sight = False  # the probability, by us
        self._named_after = image.name

    @property
    def ours(self) -> tuple[Layer, ...]:
        """The layers that exist and are in the viewer, bottom first."""
        layers = (self.committed, self.probability, self.current, self.boxes.layer, self.points)
        return tuple(layer for layer in layers if layer is not None and layer in self.viewer.layers)

    @property
    def are_shown(self) -> bool:
        """Whether the clicks layer is in the viewer; without it nothing is shown."""
        return self.points is not None and self.points in self.viewer.layers

    @property
    def lack_objects(self) -> bool:
        """Whether the user removed the layer of committed labels."""
        return self.committed not in (None, *self.viewer.layers)

    def has_lost(self, removed: Layer) -> bool:
        """Whether a layer that is gone was that of clicks or of committed labels."""
        return removed in (self.points, self.committed)

    def miss(self, removed: Layer) -> bool:
        """Whether a layer that is gone was that of the current object, and the image is there yet."""
        return removed is self.current and self.image in self.viewer.layers

    @property
    def take_prompts(self) -> bool:
        """Whether a click or drag in the canvas, and our keys, reach our layers; else they only pan."""
        active = self.viewer.layers.selection.active
        return active is not None and active in (self.points, self.boxes.layer)

    def add_points(self) -> Points:
        """Add the clicks layer on top and make it the active one."""
        from napari.layers import Points

        points = Points(
            np.empty((0, self.axes.ndim)),
            ndim=self.axes.ndim,
            name=f"{self.image.name} clicks",
            size=MARKER_PIXELS,
            canvas_size_limits=(MARKER_PIXELS, MARKER_PIXELS),
            metadata={OUTPUT: True},
            **Placement.of(self.image).whole(),
        )
        self.points, self._shown = points, []
        self.viewer.add_layer(points)
        points.mode = "pan_zoom"
        points.cursor = "crosshair"
        return points

    def take_clicks(self) -> None:
        """Make the clicks layer active in place of the image, where a click would only pan."""
        if self.are_shown and self.viewer.layers.selection.active is self.image:
            self.viewer.layers.selection.active = self.points

    def take_clicks_once_added(self) -> None:
        """`take_clicks` when napari has made the image active, after everybody has heard of its coming."""
        from qtpy.QtCore import QTimer

        activated = self.viewer.layers.selection.events.active

        def follow(_event: Any) -> None:
            if self.viewer.layers.selection.active is self.image:
                activated.disconnect(follow)
                QTimer.singleShot(0, self.take_clicks)

        activated.connect(follow)

    def offer_boxes(self, offered: bool) -> None:
        """Have the layer of boxes there, or put it aside."""
        boxes, there = self.boxes, self.viewer.layers
        here = boxes.layer is not None and boxes.layer in there
        if offered and not here and boxes.aside is not None and boxes.aside in there:
            boxes.take_back()
        elif offered and not here and self.are_shown:
            insert_below(self.viewer, boxes.make(), self.points)
        elif not offered and here:
            if there.selection.active is boxes.layer:
                there.selection.active = self.points
            boxes.put_aside()
        elif not offered and boxes.layer is not None:
            boxes.forget()

    @property
    def drawing(self) -> bool:
        """Whether the next drag draws a box."""
        return self.boxes.drawing and self.viewer.layers.selection.active is self.boxes.layer

    def draw_box(self) -> None:
        """Let the next drag draw a box."""
        if self.boxes.layer is not None and self.boxes.layer in self.viewer.layers:
            self.viewer.layers.selection.active = self.boxes.layer
            self.boxes.draw()

    def end_drawing(self) -> None:
        """Go back to clicks once a box is drawn; one that is being edited stays at hand."""
        if self.boxes.layer is not None and self.boxes.drawing:
            self.boxes.layer.mode = "pan_zoom"
            if self.points is not None and self.points in self.viewer.layers:
                self.viewer.layers.selection.active = self.points

    def show_clicks(self, clicks: Sequence[tuple[tuple[int, ...], Click]]) -> bool:
        """Make the clicks layer show exactly these (plane, click); the caller blocks its own callbacks.

        Foreground clicks are green discs, background clicks red minus signs; the shapes tell them apart too.

        Returns
        -------
        bool
            False where clicks that are gone cannot be taken away yet, as napari is slicing the layer
            (NAPARI_ASYNC): its answer would name points that are no more, and napari would fail.
        """
        self.clicks_are_late = False
        if self.points is None:
            return True
        joined = [self.axes.join(plane, click.row, click.col) for plane, click in clicks]
        data, points = np.asarray(joined).reshape(-1, self.axes.ndim), self.points
        if self._shown == [*clicks] and np.array_equal(points.data, data):
            return True  # each of the changes below makes napari draw
        fewer = len(data) < max(len(points.data), len(self._shown))  # napari may have taken them itself
        if fewer and not points.loaded:
            self.clicks_are_late = True
            return False
        self._shown, positive = [*clicks], [click.positive for _, click in clicks]
        points.selected_data = set()
        points.data = data
        # Drawn once, below: of a hidden layer, and with NAPARI_ASYNC, napari would draw each change with what
        # it knew before, and fail where there were more clicks. Colours have events of their own.
        with ExitStack() as silent:
            silent.enter_context(points.events.blocker_all())
            for own in (getattr(points, "_face", None), getattr(points, "_border", None)):  # private
                if own is not None:
                    silent.enter_context(own.events.blocker_all())
            if positive:
                points.symbol = ["disc" if sign else "hbar" for sign in positive]
                colors = [FOREGROUND if sign else BACKGROUND for sign in positive]
                points.face_color = points.border_color = colors  # a wide border comes with a limited size
                points.size = MARKER_PIXELS
            if fewer:
                points.set_view_slice()  # at once: the mouse would meet points that are no more
        points.refresh()
        return True

    def add_current(self) -> Labels:
        """The layer of the current object, added empty where it is missing.

        Adding a layer costs napari many milliseconds, so it is done before the first answer is there.
        """
        if self.current is None or self.current not in self.viewer.layers:
            from napari.layers import Labels

            self.current = Labels(
                np.zeros((1,) * self.axes.ndim, np.uint8),
                name=f"{self.image.name} current object",
                opacity=0.45,
                colormap=object_colors(),
                metadata={OUTPUT: True},
                **Placement.of(self.image).whole(),
            )
            self.current.editable = False
            # The box lies over the mask, so that its outline is seen.
            insert_below(self.viewer, self.current, self.boxes.layer, self.points)
        return self.current

    def show_current(
        self, plane: Sequence[int], window: Window, step: int, mask: npt.NDArray[np.bool_]
    ) -> None:
        """Show the mask (rows, cols) bool of ``window`` on ``plane``; its pixels are ``step`` wide."""
        current = self.add_current()
        _replace(current, self.axes.expand(mask.astype(np.uint8)), self._part(plane, window, step))

    def show_probability(
        self, plane: Sequence[int], window: Window, step: int, probability: npt.NDArray[np.float32]
    ) -> None:
        """Show the probability (rows, cols) float32 in [0, 1], placed as in `show_current`."""
        from napari.layers import Image

        data = self.axes.expand(np.asarray(probability, np.float32))
        placed = self._part(plane, window, step)
        if self.probability is None or self.probability not in self.viewer.layers:
            self.probability = Image(
                data,
                name=f"{self.image.name} probability",
                colormap="inferno",
                contrast_limits=(0, 1),
                blending="additive",  # where the probability is 0 the picture stays as it is
                metadata={OUTPUT: True},
                **placed,
            )
            insert_below(self.viewer, self.probability, self.current, self.boxes.layer, self.points)
        else:
            _replace(self.probability, data, placed)
            if self._put_out_of_sight:
                self.probability.visible = True
        self._put_out_of_sight = False

    def show_patch(
        self, plane: Sequence[int], patch: Patch | None, *, with_probability: bool, waiting: bool
    ) -> None:
        """Show the current object, and its probability if wanted.

        While one is ``waiting`` for an answer, what was shown before stays until it comes.
        """
        if patch is not None:
            self.show_current(plane, patch.window, patch.scale, patch.mask)
        elif not waiting:
            self.clear_current()
        if patch is not None and with_probability:
            self.show_probability(plane, patch.window, patch.scale, patch.probability)
        elif not (with_probability and waiting):
            self.hide_probability()

    def clear_current(self) -> None:
        """Show no current object; its layer stays, so that the list does not flicker."""
        if self.current is not None and self.current in self.viewer.layers and self.current.data.any():
            _fill(self.current, np.zeros((1,) * self.axes.ndim, np.uint8))

    def hide_probability(self) -> None:
        """Put the probability out of sight; removing a layer holds the window for a third of a second."""
        if self.probability is not None and self.probability.visible:
            self.probability.visible = False
            self._put_out_of_sight = True

    def show_committed(self, levels: Sequence[Any], folder: Path | None = None) -> None:
        """Show the label store's pyramid (finest first, axes leading + plane), or show its new content.

        ``folder`` is that of the session; see `leave_committed`.
        """
        if self.committed is not None and self.committed in self.viewer.layers:
            self.committed.refresh(extent=False)
            return
        from napari.layers import Labels

        self._take_over(folder)
        data = [self._in_image_order(level) for level in read_only(levels)]
        layer = Labels(
            data if len(data) > 1 else data[0],
            multiscale=len(data) > 1,
            name=f"{self.image.name} objects",
            opacity=0.5,
            cache=False,  # the arrays change under napari; a cached chunk would be an old one
            **Placement.of(self.image).whole(),
        )
        layer.editable = False
        self.committed, self._folder = layer, folder
        over = self.viewer.layers[self.viewer.layers.index(self.image) + 1 :][:1]  # where ours are away
        insert_below(self.viewer, layer, self.probability, self.current, self.boxes.layer, self.points, *over)

    @property
    def left_session(self) -> Path | None:
        """The folder of the session whose labels an earlier dock has left beside the image."""
        left = self._left_behind()
        return None if left is None else Path(left.metadata[SESSION][-1])

    def _take_over(self, folder: Path | None) -> None:
        """Labels that an earlier dock has left make room for the same session's; of another one they stay."""
        left = self._left_behind()
        if left is not None and left.metadata.pop(SESSION)[-1] == str(folder):
            remove(self.viewer, left)

    def _left_behind(self) -> Layer | None:
        notes = [(layer, layer.metadata.get(SESSION)) for layer in self.viewer.layers]
        return next((layer for layer, note in notes if note and note[:-1] == self._whose()), None)

    def _whose(self) -> list[Any]:  # of plain values: a layer may be written with its metadata
        return [str(self.image.unique_id), self.axes.rows, self.axes.cols]

    def leave_committed(self) -> None:
        """The dock is closed: one that is opened again goes on from the committed labels.

        Not before: two docks on one image would write into one session.
        """
        if self.committed is not None and self._folder is not None:
            self.committed.metadata[SESSION] = [*self._whose(), str(self._folder)]

    def let_go_of_committed(self) -> None:
        """The committed labels stay as a layer like any other: nothing goes on from them."""
        self._folder = None

    def forget_committed(self) -> None:
        """Take the layer of committed labels away; another label store takes its place."""
        remove(self.viewer, self.committed)
        self.committed = None

    def follow_image(self) -> None:
        """Move the clicks and the committed labels to where the image was moved."""
        placed = Placement.of(self.image).whole()
        for layer in (self.points, self.boxes.layer, self.boxes.aside, self.committed):
            if layer is not None and layer in self.viewer.layers:
                put(layer, placed)
        self.boxes.keep_width()
        for layer in (self.current, self.probability):  # cover a part, which `show_patch` places
            if layer is not None:
                name_axes(layer, placed)

    def follow_name(self) -> None:
        """Name our layers after the image, which was renamed, but for those that the user has named."""
        before, self._named_after = self._named_after, self.image.name
        given = re.compile(f"{re.escape(before)} {NAMES}")
        for layer in (*self.ours, self.boxes.aside):
            if layer is not None and given.fullmatch(layer.name):
                layer.name = self.image.name + layer.name.removeprefix(before)

    def remove(self) -> None:
        """Take away clicks, box, current object and probability; committed labels stay, the user's result."""
        boxes = self.boxes
        remove(self.viewer, boxes.layer, boxes.aside, self.probability, self.current, self.points)
        self.boxes.forget()
        self.probability = self.current = self.points = None

    def _part(self, plane: Sequence[int], window: Window, step: int) -> dict[str, Any]:
        return Placement.of(self.image).part(self.axes, plane, window, step)

    def _in_image_order(self, level: Any) -> Any:
        """A label array with axes leading + plane, lazily brought into the image's order."""
        if self.axes.is_natural:
            return level
        import dask.array as da

        order = (*self.axes.leading, self.axes.rows, self.axes.cols)
        return da.from_array(level, name=False).transpose(tuple(int(axis) for axis in np.argsort(order)))


def object_colors() -> DirectLabelColormap:
    """The colours of the current object's layer."""
    from napari.utils.colormaps import DirectLabelColormap

    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: OBJECT_COLOR})


def _replace(layer: Any, data: npt.NDArray[Any], placed: dict[str, Any]) -> None:
    _fill(layer, data)
    put(layer, placed)


def _fill(layer: Any, data: npt.NDArray[Any]) -> None:
    """Give a layer other data. It takes no brush strokes, which the session would not know of."""
    if not np.array_equal(layer.data, data):  # else napari would draw all the same
        layer.data = data
        layer.editable = False  # new data make it editable
