"""The layers of clicks that the few-shot dock makes: one for each result, brought back with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.fewshot.collect import Clicks
from napari_iseg.widgets.fewshot_clicks import CLICKS, are_of, belong, new_clicks, result_of
from napari_iseg.widgets.fewshot_parts import LayerCombo
from napari_iseg.widgets.placement import PlaneAxes

if TYPE_CHECKING:
    import napari
    from napari.layers import Image


class OwnClicks:
    """Makes them, and chooses among them.

    Parameters
    ----------
    viewer, choice : where they are, and the list that they are chosen in
    label, modifier : as of ``new_clicks``
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        choice: LayerCombo,
        label: Callable[[], int],
        modifier: Callable[[], str],
    ) -> None:
        self._viewer, self._choice, self._label, self._modifier = viewer, choice, label, modifier

    def add(self, image: Image, axes: PlaneAxes, clicks: Clicks, path: Path | None) -> None:
        """A new layer with some clicks, of the result at ``path`` if there is one, is chosen."""
        layer = new_clicks(self._viewer, image, self._label, self._modifier, clicks, axes)
        if path is not None:
            belong(layer, path)
        self._choice.choose(layer)

    def begin(self, image: Image) -> None:
        """Leave clicks on another image, and choose those on this one that no result was made with yet."""
        if are_of(self._choice.layer, image):
            return
        begun = [x for x in self._choice.layers if are_of(x, image) and result_of(x) is None]
        if begun:
            self._choice.choose(begun[0])
        elif self._choice.layer is not None and CLICKS in self._choice.layer.metadata:
            self._choice.choose(None)

    def offer(self, image: Image, axes: PlaneAxes, path: Path, clicks: Clicks) -> None:
        """Bring back the clicks of a result, instead of those that no result was made with."""
        chosen = self._choice.layer
        if chosen is not None and (not clicks or not are_of(chosen, image) or result_of(chosen)):
            return
        own = [x for x in self._choice.layers if are_of(x, image) and result_of(x) == str(path)]
        if own:
            self._choice.choose(own[0])  # of a dock that was closed, or of other labels meanwhile
        elif clicks:
            self.add(image, axes, clicks, path)
