"""Choosing the axis of a stack that is sliced, and a range of its slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox
from superqt import QLabeledRangeSlider

from napari_iseg.widgets.fewshot_parts import narrow
from napari_iseg.widgets.scene import image_shape

if TYPE_CHECKING:
    from napari.layers import Image


class AxisCombo(QComboBox):
    """The axes of a stack, each with its size; of a 2-D image there is none to choose.

    Parameters
    ----------
    tip : what is chosen
    """

    def __init__(self, tip: str) -> None:
        super().__init__()
        self._image: Image | None = None
        narrow(self, tip)

    def offer(self, image: Image | None) -> None:
        """List those of an image; of the one before, with other sizes, the chosen one stays so."""
        shape = image_shape(image) if image is not None else ()
        stacked = len(shape) > 2
        kept = image is self._image and self.count() == len(shape) and stacked
        chosen = self.currentIndex() if kept else len(shape) - 3  # the one before rows and columns
        self._image = image
        self.clear()
        for axis, size in enumerate(shape if stacked else ()):
            name = str(image.axis_labels[axis]) if image is not None else ""
            self.addItem(f"{f'axis {axis}' if name.startswith('-') else name} ({size})", axis)
        self.setEnabled(stacked)
        self.setCurrentIndex(chosen if stacked else -1)


class SliceRange(QLabeledRangeSlider):
    """First and last slice, both included."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setToolTip("First and last slice.")
        self.setVisible(False)

    def offer(self, image: Image | None, axis: int | None) -> None:
        """All slices of an image along an axis."""
        last = image_shape(image)[axis] - 1 if image is not None and axis is not None else 0
        self.setRange(0, max(1, last))
        self.setValue((0, max(1, last)))
