"""Whom a pressed key is for: napari hears of those that a field does not need, and calls what we bound."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_FIELDS = (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox, QComboBox, QAbstractItemView)
_LAYER_LIST = "QtLayerList"  # of napari, which passes its keys on to the layers on purpose


class FieldKeys(QObject):
    """Knows whether the key that napari is told of was pressed in a field (of numbers, text, a list).

    There Enter confirms what was typed and Esc calls it off, whosever field it is, and both go on to the
    window. Who has the keyboard by then does not tell: napari's slice number gives it up at Enter.

    Attributes
    ----------
    hold_key : whether it was
    in_list : whether the last field was a list to choose from, which keeps the keyboard after a choice
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold_key = self.in_list = False

    def start(self) -> None:
        """Watch the field that has the keyboard, whichever it is."""
        QApplication.instance().focusChanged.connect(self._focus_changed)
        self._focus_changed(None, QApplication.focusWidget())

    def stop(self) -> None:
        """Watch no other field."""
        QApplication.instance().focusChanged.disconnect(self._focus_changed)

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """A field hears of a key, before what it lies in."""
        if event.type() == QEvent.Type.KeyPress:
            self.hold_key, self.in_list = True, isinstance(field, QComboBox)
            QTimer.singleShot(0, self._let_go)  # once all have heard of it
        return False

    def _let_go(self) -> None:
        self.hold_key = False

    def _focus_changed(self, _old: Any, new: QWidget | None) -> None:
        if new is not None and _is_field(new):
            new.installEventFilter(self)  # which counts once however often it is done


def leave_keys_to_canvas(dock: QWidget) -> None:
    """Have the lists of a dock take the keyboard by Tab only.

    A choice by mouse would keep it, and letters that are keys of ours would choose again.
    """
    for combo in dock.findChildren(QComboBox):
        combo.setFocusPolicy(Qt.FocusPolicy.TabFocus)


def _is_field(widget: QWidget | None) -> bool:
    return isinstance(widget, _FIELDS) and _LAYER_LIST not in [kind.__name__ for kind in type(widget).__mro__]
