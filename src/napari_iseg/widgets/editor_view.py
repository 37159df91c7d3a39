"""Shows what an editor has in its layers; `Editor` adds what the user does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from qtpy.QtCore import QTimer

from napari_iseg.widgets.editor_state import EditorState
from napari_iseg.widgets.layers import ClickLayers

SLICING = 30  # milliseconds until napari is asked again whether it has sliced the clicks


class EditorView(EditorState):
    """The visible side of `Editor`.

    Parameters
    ----------
    layers : the layers to show things in

    Attributes
    ----------
    quiet : wraps our own edits of the clicks and the box
    """

    def __init__(self, layers: ClickLayers) -> None:
        super().__init__(layers)
        self.quiet: Callable[[], AbstractContextManager[Any]] = nullcontext
        self._closed = self._asks_again = False

    def show(self) -> None:
        """Bring all layers to the session's state; committed labels also while another image is worked on."""
        self._show_clicks()
        if self.session is not None and not self._lent:
            self._show_committed()
            if self.layers.are_shown:
                self.layers.show_patch(
                    self._plane(),
                    self.session.patch,
                    with_probability=self.with_probability,
                    waiting=self._predicting,
                )
        self.changed.emit()

    def _show_committed(self) -> None:
        layers, session = self.layers, self._session
        if layers.image in layers.viewer.layers:
            missed = layers.lack_objects and layers.are_shown  # the user removed it
            if self.news.take_labels() or missed:
                layers.show_committed(session.labels.levels, session.folder)

    def _show_clicks(self) -> None:
        if self.layers.are_shown and not self._lent and not self._closed:
            with self.quiet():
                if not self.layers.show_clicks(self.clicks) and not self._asks_again:
                    self._asks_again = True
                    QTimer.singleShot(SLICING, self._ask_again)
                self.layers.boxes.show(self.box)

    def _ask_again(self) -> None:
        self._asks_again = False
        self._show_clicks()
