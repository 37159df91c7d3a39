"""Building blocks of the few-shot dock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSpinBox, QWidget


class LayerCombo(QComboBox):
    """The layers of a kind, after "none" where one may be left out.

    Parameters
    ----------
    tip : what is chosen
    optional : whether it can be none
    more : a last entry, which is no layer

    Attributes
    ----------
    layers : as listed; None stands for "none"
    """

    def __init__(self, tip: str, *, optional: bool = True, more: str = "") -> None:
        super().__init__()
        self._optional, self._more = optional, more
        self.layers: list[Any] = []
        narrow(self, tip)

    @property
    def layer(self) -> Any:
        """The chosen layer, or None."""
        return self.layers[self.currentIndex()] if 0 <= self.currentIndex() < len(self.layers) else None

    def offer(self, layers: Sequence[Any]) -> bool:
        """List these; whether the chosen layer is still there and stays chosen."""
        chosen = self.layer
        self.layers = [None, *layers] if self._optional else [*layers]
        self.clear()
        for layer in self.layers:
            self.addItem("none" if layer is None else layer.name)
        if self._more:
            self.addItem(self._more)
        if chosen is None or chosen not in self.layers:
            return False
        self.choose(chosen)
        return True

    def choose(self, layer: Any) -> None:
        """Choose a listed layer, without the signal of a user's choice."""
        self.setCurrentIndex(self.layers.index(layer))


class ShapesCombo(QComboBox):
    """Some fixed choices, and one more per Shapes layer.

    Parameters
    ----------
    tip : what is chosen
    fixed : the fixed choices
    inside : words before a layer's name
    """

    def __init__(self, tip: str, fixed: Sequence[str], inside: str) -> None:
        super().__init__()
        self._inside, self._layers = inside, [None] * len(fixed)
        narrow(self, tip)
        self.addItems(list(fixed))

    @property
    def layer(self) -> Any:
        """The chosen Shapes layer, or None."""
        return self._layers[self.currentIndex()]

    def offer(self, layers: Sequence[Any]) -> None:
        """List these layers; the choice stays, or becomes the first when its layer is gone."""
        chosen, fixed = self.layer, self._layers.count(None)
        old = self.currentIndex() if chosen is None else 0
        for _ in range(len(self._layers) - fixed):
            self.removeItem(self.count() - 1)
        self._layers[fixed:] = layers
        for layer in layers:
            self.addItem(f"{self._inside} {layer.name}")
        self.setCurrentIndex(self._layers.index(chosen) if chosen in layers else old)

    def enable(self, index: int, possible: bool) -> None:
        """Let one of the fixed choices be chosen or not; the first is chosen where it is and cannot be."""
        self.model().item(index).setEnabled(possible)
        if not possible and self.currentIndex() == index:
            self.setCurrentIndex(0)


def narrow(combo: QComboBox, tip: str) -> None:
    """Have a list not widen the dock."""
    combo.setToolTip(tip)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)


def combo(tip: str) -> QComboBox:
    """A list that does not widen the dock."""
    combo = QComboBox()
    narrow(combo, tip)
    return combo


def tile_box() -> QSpinBox:
    """The side of a window."""
    box = QSpinBox()
    box.setRange(64, 4096)
    box.setSingleStep(64)
    box.setValue(512)
    box.setSuffix(" px")
    box.setKeyboardTracking(False)  # counts once it is typed
    box.setToolTip("Side of a window; a plane up to this size is done in one piece.")
    return box


def button(text: str, tip: str) -> QPushButton:
    """A button that leaves the keyboard with the canvas."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumWidth(60)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Widgets beside each other."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
