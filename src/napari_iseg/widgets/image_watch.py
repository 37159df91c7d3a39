"""Listens to what the user does to the images that are worked on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_iseg.widgets.placement import PLACING

if TYPE_CHECKING:
    from napari.layers import Image, Layer

STILL = 300  # milliseconds


class ImageWatch:
    """Tells when the chosen image is moved or gets units, and when one that was chosen gets pixels or a name.

    Parameters
    ----------
    moved, replaced, renamed : called with napari's event
    still : called once an image that was moved has lain still for a moment
    """

    def __init__(
        self,
        moved: Callable[[Any], None],
        still: Callable[[], None],
        replaced: Callable[[Any], None],
        renamed: Callable[[Any], None],
    ) -> None:
        self._tell_moved, self._replaced, self._renamed = moved, replaced, renamed
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(STILL)
        self._timer.timeout.connect(still)
        self._chosen: Image | None = None
        self._watched: set[Layer] = set()

    def _moved(self, event: Any) -> None:
        self._tell_moved(event)
        self._timer.start()

    def follow(self, image: Image | None) -> None:
        """Another image was chosen, or none."""
        for event in self._placement():
            event.disconnect(self._moved)
        self._chosen = image
        for event in self._placement():
            event.connect(self._moved)
        if image is not None and image not in self._watched:
            self._watched.add(image)
            image.events.data.connect(self._replaced)
            image.events.name.connect(self._renamed)

    def forget(self, layer: Layer) -> None:
        """A layer was removed."""
        if layer in self._watched:
            self._watched.remove(layer)
            layer.events.data.disconnect(self._replaced)
            layer.events.name.disconnect(self._renamed)

    def close(self) -> None:
        """Hear nothing more."""
        with suppress(RuntimeError):  # a script that ends has Qt take its timers away first
            self._timer.stop()
        self.follow(None)
        for layer in tuple(self._watched):
            self.forget(layer)

    def _placement(self) -> tuple[Any, ...]:
        if self._chosen is None:
            return ()
        return tuple(getattr(self._chosen.events, name) for name in PLACING)
