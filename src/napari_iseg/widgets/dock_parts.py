"""Building blocks of the dock: small widgets with a fixed place and a tooltip each."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider
from superqt.utils import qdebounced

from napari_iseg.widgets.actions import ACTIONS, action
from napari_iseg.widgets.options import Options

BUTTONS = (
    ("box",),
    ("undo", "redo"),
    ("commit", "reset"),
    ("next_label", "pick"),
    ("probability", "delete"),
    ("refine_edges", "save"),
    ("open_session", "save_session"),
)

HIGHEST_LABEL = 2**32 - 1  # as in labels.checks, which is slow to import


class SmallLabel(QLabel):
    """A label for longer text that wraps instead of widening the dock.

    The text is shown as it is, names of layers and all, unless it is said to be ``rich``: HTML.

    Qt lays the text out anew whenever a layout asks for its height, which is 150 times while the dock opens
    (0.15 s) and 40 times at a click (0.03 s). The heights are kept instead.
    """

    def __init__(self, text: str = "", *, rich: bool = False) -> None:
        super().__init__(text)
        self._heights: dict[int, int] = {}
        self.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.setOpenExternalLinks(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def setText(self, text: str) -> None:
        """Show another text."""
        self._heights.clear()
        super().setText(text)

    def changeEvent(self, event: QEvent) -> None:
        """A new font or style has other heights."""
        self._heights.clear()
        super().changeEvent(event)

    def heightForWidth(self, width: int) -> int:
        """The height of the text in lines of ``width`` pixels."""
        if width not in self._heights:
            self._heights[width] = super().heightForWidth(width)
        return self._heights[width]


class ScrolledColumn(QScrollArea):
    """Scrolls up and down only, so it is never narrower than what it holds beside its scroll bar."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.setWidget(widget)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # no stop of Tab's: there is nothing to do on it

    def minimumSizeHint(self) -> QSize:
        """As wide as that."""
        bar, frame = self.verticalScrollBar().sizeHint().width(), 2 * self.frameWidth()
        width = self.widget().minimumSizeHint().width() + bar + frame
        return QSize(width, super().minimumSizeHint().height())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """A button that is clicked leaves the keyboard here: all keys, arrows too, go on to napari."""
        event.ignore()

    def showEvent(self, event: QShowEvent) -> None:
        """What it holds gets its style now, and with it another width, which Qt does not pass on."""
        super().showEvent(event)
        self.updateGeometry()

    def changeEvent(self, event: QEvent) -> None:
        """So it does with a new font or style."""
        super().changeEvent(event)
        self.updateGeometry()


class LabelBox(QDoubleSpinBox):
    """A label; what is typed counts once it is whole (Return, or the keyboard goes elsewhere).

    A QSpinBox holds only half of the labels there can be.

    Signals
    -------
    chosen(object)
        int, chosen by the user.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(0)
        self.setRange(1, HIGHEST_LABEL)
        self.setKeyboardTracking(False)
        self.setToolTip("The label that the next commit writes: the next free one unless you change it.")
        self.valueChanged.connect(lambda value: self.chosen.emit(int(value)))

    def show_label(self, label: int) -> None:
        """Show another label without a signal; what is being typed stays where it is the same."""
        if label != self.value():
            self.blockSignals(True)
            self.setValue(label)
            self.blockSignals(False)


class OptionsBox(QWidget):
    """How the model is run.

    Signals
    -------
    changed(object)
        Options, changed by the user.
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.steps = QSpinBox()
        self.steps.setRange(0, 4)
        self.steps.setToolTip(
            "Cascade-forward refinement: extra passes that polish the answer to a click. 0 is fastest."
        )
        self.adaptive = QCheckBox("stop early")
        self.adaptive.setToolTip("Stop refining as soon as the mask hardly changes any more.")
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0.05, 0.95)
        self.threshold.setSingleStep(0.01)
        self.threshold.setDecimals(2)
        self.threshold.setToolTip(
            "How sure the model must be that a pixel belongs to the object. Lower gives larger objects."
        )
        self.flip = QCheckBox("average with mirrored image")
        self.flip.setToolTip(
            "Ask the model twice, once mirrored: a little better, half as fast. "
            "The click starters do so by themselves from the second click on."
        )
        self.steps.setAccessibleName("Refinement")
        for part in self.threshold.findChildren(QWidget):  # it is made of a slider and a field
            part.setAccessibleName("Threshold")
        row = QHBoxLayout()
        row.addWidget(self.steps)
        row.addWidget(self.adaptive, 1)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Refinement", row)
        form.addRow("Threshold", self.threshold)
        form.addRow("", self.flip)
        self._quiet = False
        self._later = qdebounced(self._emit, timeout=150)  # a slider is dragged; one answer is enough
        self.steps.valueChanged.connect(self._touched)
        self.adaptive.toggled.connect(self._touched)
        self.threshold.valueChanged.connect(self._touched)
        self.flip.toggled.connect(self._touched)

    @property
    def options(self) -> Options:
        """What is set now."""
        return Options(
            round(self.threshold.value(), 2),
            self.steps.value(),
            self.adaptive.isChecked(),
            self.flip.isChecked(),
        )

    def set_options(self, options: Options) -> None:
        """Show options without a signal."""
        self._quiet = True
        self.steps.setValue(options.refine_steps)
        self.adaptive.setChecked(options.refine_adaptive)
        self.adaptive.setEnabled(options.refine_steps > 0)
        self.threshold.setValue(options.threshold)
        self.flip.setChecked(options.flip)
        self._quiet = False

    def close_timers(self) -> None:
        """Forget a change that was not reported yet."""
        self._later.cancel()

    def _touched(self) -> None:
        self.adaptive.setEnabled(self.steps.value() > 0)
        if not self._quiet:
            self._later()

    def _emit(self) -> None:
        self.changed.emit(self.options)


class ActionButtons(QWidget):
    """Sign of clicks, and one button per action with its key on it.

    Signals
    -------
    triggered(str)
        The action's name.
    sign_chosen(bool)
        True for foreground.
    """

    triggered = Signal(str)
    sign_chosen = Signal(bool)

    def __init__(self, modifier: str) -> None:
        super().__init__()
        self.foreground = QRadioButton("● Foreground")
        self.background = QRadioButton("━ Background")
        self.opposite = SmallLabel()
        self.set_modifier(modifier)
        self.foreground.setChecked(True)
        self._signs = QButtonGroup(self)
        signs = QHBoxLayout()
        for button in (self.foreground, self.background):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self._signs.addButton(button)
            signs.addWidget(button)
        signs.addWidget(QLabel("(X)"))
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for row, names in enumerate(BUTTONS):
            for column, name in enumerate(names):
                grid.addWidget(self._button(name), row, column, 1, 1 if len(names) > 1 else 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(signs)
        layout.addWidget(self.opposite)
        layout.addLayout(grid)
        self.foreground.toggled.connect(self.sign_chosen)

    def set_modifier(self, modifier: str) -> None:
        """Name the key of background clicks."""
        key = modifier.replace("Control", "Ctrl")
        also = f"Key: X. {key}+click or a right click: the opposite."
        self.foreground.setToolTip(f"A click says: this belongs to the object. {also}")
        self.background.setToolTip(f"A click says: this does not belong. {also}")
        self.opposite.setText(f"{key}+click or right click: the opposite")

    def set_positive(self, positive: bool) -> None:
        """Show which sign plain clicks have."""
        (self.foreground if positive else self.background).setChecked(True)

    def set_possible(self, possible: dict[str, bool]) -> None:
        """Enable what can be done now."""
        for name, button in self.buttons.items():
            button.setEnabled(possible.get(name, True))

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Show the buttons of what the model takes."""
        self.buttons["box"].setVisible("box" in prompts)

    def _button(self, name: str) -> QPushButton:
        entry = action(name)
        button = QPushButton(entry.label)
        button.setToolTip(entry.tooltip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keyboard with the canvas
        button.setObjectName(name)
        button.clicked.connect(self._clicked)
        self.buttons[name] = button
        return button

    def _clicked(self, _checked: bool = False) -> None:
        self.triggered.emit(self.sender().objectName())


assert {name for row in BUTTONS for name in row} == {entry.name for entry in ACTIONS} - {"toggle_sign"}
