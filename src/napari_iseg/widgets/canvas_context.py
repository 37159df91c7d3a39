"""What a removed layer was drawn with is freed in the canvas's own drawing context."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

if TYPE_CHECKING:
    import napari

_MESA = b"GL_MESA_window_pos"  # one of the extensions that bear its name


class CanvasContext:
    """Makes the canvas's context the current one before napari removes a layer, where Mesa draws.

    napari (0.9) frees a removed layer's shaders at once, in whatever context is current: after a frame, that
    in which Qt puts the window together. Mesa's software drawing cannot free them there. It does so at the
    end of the canvas's next frame and unbinds, unnoticed, the shader in use as well: where only one layer is
    left to draw, the frame after ends the program. An image removed from under its committed labels is
    enough. Other drivers are left alone, as some on Windows need what napari does.

    Parameters
    ----------
    viewer : whose layers are removed
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._canvas: QOpenGLWidget | None = None
        viewer.layers.events.removing.connect(self._make_current)  # which keeps no hold of us

    def find(self, dock: QWidget) -> None:
        """Look for the canvas of the window that a dock of ours is shown in."""
        window: QWidget | None = dock
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parentWidget()
        if window is not None and window.centralWidget() is not None:
            self._canvas = window.centralWidget().findChild(QOpenGLWidget)

    def _make_current(self, _event: Any) -> None:
        canvas = self._canvas
        with suppress(RuntimeError):  # the window was closed, and its canvas is no more
            if canvas is not None and canvas.isValid() and canvas.context().hasExtension(_MESA):
                canvas.makeCurrent()
