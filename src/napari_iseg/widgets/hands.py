"""The user's hands on the layers: clicks in the canvas, clicks edited with napari's tools, keys.

Everything is bound on our own layers only and taken off again by `detach`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import InputError
from napari_iseg.widgets.actions import ACTIONS
from napari_iseg.widgets.box_layer import Placed
from napari_iseg.widgets.double_click import hold_zoom, let_zoom
from napari_iseg.widgets.editor import Editor
from napari_iseg.widgets.keyboard import FieldKeys
from napari_iseg.widgets.mouse import click_callback
from napari_iseg.widgets.scene import to_world

if TYPE_CHECKING:
    from napari.layers import Layer

PASTE = "Control-V"  # napari would show what is pasted and tell nobody
KEYS = (*(entry.key for entry in ACTIONS if entry.key), PASTE)


class Hands:
    """Listens to the layers of one editor at a time.

    Parameters
    ----------
    on_click : gets the world position of a click, and whether it was made without modifier by the left button
    on_key : gets the name of the action whose key was pressed
    on_hint : gets a sentence for the status line
    on_box : gets plane and box, or None where it was deleted
    modifier : the key of background clicks; may be set
    """

    def __init__(
        self,
        on_click: Callable[[Sequence[float], bool], None],
        on_key: Callable[[str], None],
        on_hint: Callable[[str], None],
        on_box: Callable[[Placed | None], None],
        modifier: str,
    ) -> None:
        self._on_click, self._on_key, self._on_hint, self._on_box = on_click, on_key, on_hint, on_box
        self.modifier = modifier
        self._on_canvas = click_callback(on_click, lambda: self.modifier)
        self._bound: list[Layer] = []
        self._boxes: Layer | None = None  # that is listened to
        self._editor: Editor | None = None
        self._fields = FieldKeys()

    def attach(self, editor: Editor) -> None:
        """Listen to an editor's clicks layer, which must exist."""
        self._editor = editor
        points = editor.layers.points
        assert points is not None
        points.mouse_drag_callbacks.append(self._on_canvas)
        hold_zoom(editor.layers.viewer, points)
        points.events.data.connect(self._points_edited)
        points.events.mode.connect(self._tool_chosen)
        self._fields.start()
        self.bind_keys()

    def detach(self) -> None:
        """Stop listening."""
        editor, self._editor = self._editor, None
        if editor is not None:
            self._fields.stop()
        points = None if editor is None else editor.layers.points
        if editor is not None and points is not None:
            let_zoom(editor.layers.viewer, points)
            points.events.data.disconnect(self._points_edited)
            points.events.mode.disconnect(self._tool_chosen)
            if self._on_canvas in points.mouse_drag_callbacks:
                points.mouse_drag_callbacks.remove(self._on_canvas)
        self._listen_to_boxes(None)
        for layer in self._bound:
            for key in KEYS:
                layer.bind_key(key, None, overwrite=True)
        self._bound.clear()

    def expect_click(self) -> None:
        """Have the next click in the canvas reach us, whatever layer and tool of napari were chosen."""
        layers = None if self._editor is None else self._editor.layers
        if layers is not None and layers.points is not None and layers.are_shown:
            layers.viewer.layers.selection.active = layers.points
            layers.points.mode = "pan_zoom"

    def bind_keys(self) -> None:
        """Bind the keys on layers that have come since."""
        if self._editor is None:
            return
        self._listen_to_boxes(self._editor.layers.boxes.layer)
        for layer in self._editor.layers.ours:
            if layer in self._bound:
                continue
            for entry in ACTIONS:
                if entry.key:
                    act = partial(self._key_pressed, entry.name)
                    layer.bind_key(entry.key, _pressed(act), overwrite=True)
            refuse_paste(layer, self._on_hint)
            self._bound.append(layer)

    def _key_pressed(self, name: str) -> None:
        if not self._fields.hold_key:
            self._on_key(name)
        elif self._fields.in_list:
            self._on_hint("A list has the keyboard; click on the image first.")

    def quiet(self) -> AbstractContextManager[Any]:
        """A context in which changes of the clicks and of the box are our own and not reported."""
        assert self._editor is not None
        assert self._editor.layers.points is not None
        both = ExitStack()
        both.enter_context(self._editor.layers.points.events.data.blocker(self._points_edited))
        if self._boxes is not None:
            both.enter_context(self._boxes.events.data.blocker(self._box_edited))
        return both

    def _listen_to_boxes(self, layer: Layer | None) -> None:
        if layer is self._boxes:
            return
        if self._boxes is not None:
            self._boxes.events.data.disconnect(self._box_edited)
        self._boxes = layer
        if layer is not None:
            layer.events.data.connect(self._box_edited)

    def _box_edited(self, event: Any) -> None:
        """A box was drawn, moved, resized or deleted; taken up once napari is done with it."""
        from qtpy.QtCore import QTimer

        if str(getattr(event.action, "value", event.action)) in ("changed", "removed", "added"):
            QTimer.singleShot(0, partial(self._take_box, self._editor))

    def _take_box(self, editor: Editor | None) -> None:
        if editor is None or editor is not self._editor or editor.layers.boxes.layer is None:
            return
        try:
            placed = editor.layers.boxes.read()
        except InputError as error:
            self._on_hint(str(error))  # drawing goes on
        else:
            editor.layers.end_drawing()
            self._on_box(placed)
        with self.quiet():
            editor.layers.boxes.show(editor.box, anew=True)  # one box, whatever was drawn

    def _tool_chosen(self, _event: Any) -> None:
        points = None if self._editor is None else self._editor.layers.points
        if points is not None and str(points.mode) == "pan_zoom":
            points.cursor = "crosshair"  # napari gives each tool a cursor of its own
        self._on_hint("")  # what was said before may ask for a click

    def _points_edited(self, event: Any) -> None:
        """Clicks were moved, removed or added with napari's own tools."""
        editor, action = self._editor, str(getattr(event.action, "value", event.action))
        if editor is None or editor.layers.points is None or action not in ("changed", "removed", "added"):
            return
        points, known, axes = editor.layers.points, editor.clicks, editor.layers.axes
        data, selected = points.data.copy(), set(points.selected_data)
        if editor.pending or not editor.settled or editor.layers.clicks_are_late:
            self._on_hint("Wait for the answer before moving or removing clicks.")
        elif action == "removed" and len(data) < len(known):
            self._on_hint("")  # as after every command
            for index in sorted({int(i) % len(known) for i in event.data_indices}, reverse=True):
                editor.remove(index)
        elif action == "added" and len(data) > len(known):
            for point in data[len(known) :]:
                self._on_click(to_world(editor.layers.viewer, editor.layers.image, point), True)
        elif action == "changed" and len(data) == len(known):
            self._on_hint("")
            for index, (plane, click) in enumerate(known):
                now, (row, col) = axes.split(data[index])
                if now == plane and (row, col) != (click.row, click.col):
                    editor.move(index, (*plane, row, col))
        editor.show()
        if action == "changed":
            points.selected_data = selected  # so that Delete works after a drag


def refuse_paste(layer: Layer, say: Callable[[str], None]) -> None:
    """Have the key of pasting say why it does nothing on a layer of clicks or boxes."""
    refuse = partial(say, "Clicks and boxes cannot be pasted; click on the object.")
    layer.bind_key(PASTE, _pressed(refuse), overwrite=True)


def _pressed(act: Callable[[], None]) -> Callable[[Layer], Callable[[], None]]:
    """What napari calls when a key is pressed on a layer.

    It answers with what to do on the key's release. Without that, napari would do what an earlier press of
    the same letter has left: after Z, a tool of napari would come back at Ctrl+Z.
    """

    def press(_layer: Layer) -> Callable[[], None]:
        act()
        return lambda: None

    return press
