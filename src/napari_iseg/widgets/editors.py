"""The editors of all images that were worked on, one for each choice of plane axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.labels.metadata import Space
from napari_iseg.widgets import scene
from napari_iseg.widgets.editor import Editor
from napari_iseg.widgets.editor_state import SessionStart
from napari_iseg.widgets.layers import ClickLayers
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.sessions import SessionPlan, whereabouts
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

    from napari_iseg.interactive.session import Session


@dataclass
class Editors:
    """Makes an editor when it is first asked for, and keeps it.

    Attributes
    ----------
    begin : answers with how a session begins, see `Editor`
    left : the folder of a session that an earlier dock has left beside the image, to go on with
    autosave : the folder of the journals; None for none
    quiet : wraps the editors' own edits of clicks and boxes
    changed, failed : told by every editor
    """

    viewer: napari.Viewer
    worker: Worker
    begin: Callable[[SessionPlan], SessionStart]
    left: Callable[[ClickLayers], Path | None]
    autosave: Path | None
    quiet: Callable[[], AbstractContextManager[Any]]
    changed: Callable[[], None]
    failed: Callable[[Exception], None]
    _made: dict[tuple[Image, PlaneAxes], Editor] = field(default_factory=dict)
    _placing: set[Editor] = field(default_factory=set)  # whose labels are being told where they lie

    def __iter__(self) -> Iterator[Editor]:
        return iter(tuple(self._made.values()))

    def of(self, image: Image, axes: PlaneAxes) -> Editor:
        """That of an image with these plane axes."""
        if (image, axes) not in self._made:
            layers = ClickLayers(self.viewer, image, axes)
            editor = Editor(layers, self.worker, lambda: self._plan(layers))
            editor.quiet = self.quiet
            editor.changed.connect(self.changed)
            editor.failed.connect(self.failed)
            editor.moved.connect(lambda plane: scene.go_to(self.viewer, image, axes, plane))
            self._made[image, axes] = editor
            if self.left(layers) is not None:
                editor.open()
        return self._made[image, axes]

    def take_out(self, layer: Layer) -> list[Editor]:
        """Those of an image, which are kept no longer and not gone on with."""
        found = [self._made.pop(key) for key in tuple(self._made) if key[0] is layer]
        for editor in found:
            editor.layers.let_go_of_committed()
        return found

    def follow(self, image: Image) -> None:
        """The image was moved, or got another pixel size or other units: so have its layers."""
        for (other, _), editor in self._made.items():
            if other is image:
                editor.layers.follow_image()

    def place(self) -> None:
        """State where all labels lie, also in their files, where that has changed."""
        for editor in self:
            self._place(editor)

    def _place(self, editor: Editor) -> None:
        if editor.session is None or editor in self._placing:
            return
        wanted, labels = whereabouts(editor.layers.image, editor.layers.axes), editor.session.labels
        if Space.make(len(labels.shape), labels.space.axes, **wanted) == labels.space:
            return

        def place(session: Session) -> None:
            try:
                session.place(**wanted)
            finally:
                self._placing.discard(editor)

        self._placing.add(editor)
        editor.run_on_session("Placing the labels", place, lambda _done: self._place(editor))

    def close(self) -> None:
        """Close all."""
        for editor in self._made.values():
            editor.close()
        self._made.clear()

    def _plan(self, layers: ClickLayers) -> SessionStart:
        """How a session begins on the image as it is now, or one that an earlier dock has left goes on."""
        return self.begin(SessionPlan.of(layers.image, layers.axes, self.autosave, self.left(layers)))
