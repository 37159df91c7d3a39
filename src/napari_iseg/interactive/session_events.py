"""What a session tells those who show it."""

from __future__ import annotations

from psygnal import Signal, SignalGroup

from napari_iseg.prompts import Window


class SessionEvents(SignalGroup):
    """What a viewer listens to.

    ``changed()``: clicks, mask, plane or settings; ``committed(label, kept)``: ``kept`` pixels stayed with
    other objects; ``labels_changed(window, plane)``: pixels of the label store; ``failed(error)``: no
    prediction.
    """

    changed = Signal()
    committed = Signal(int, int)
    labels_changed = Signal(Window, tuple)
    failed = Signal(Exception)
