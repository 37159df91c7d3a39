"""The dock "Click segmentation": layout and signals; what happens is in the controller."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_iseg.widgets import scene
from napari_iseg.widgets.actions import help_table
from napari_iseg.widgets.asking import OME_ZARR, TIFF, ask_where, with_outlines
from napari_iseg.widgets.click_controller import ClickController
from napari_iseg.widgets.dock import Dock
from napari_iseg.widgets.dock_parts import ActionButtons, LabelBox, OptionsBox, ScrolledColumn, SmallLabel
from napari_iseg.widgets.model_box import ModelBox
from napari_iseg.widgets.model_loader import ModelKey, ModelLoader
from napari_iseg.widgets.options import Options
from napari_iseg.widgets.preferences import Preferences, follow_preferences
from napari_iseg.widgets.session_files import SUFFIX
from napari_iseg.widgets.tabs import share_side

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

MARGINS = 9, 0, 9, 6  # of what is always seen: in line with what scrolls
PRELOAD_AFTER = 400  # milliseconds: the window, with the layer of clicks, shall be drawn first


class ClickDock(Dock):
    """Click an object, get its mask.

    Parameters
    ----------
    napari_viewer : the viewer the dock works in; napari passes it
    loader : lists and loads models; default: the models of this machine
    preferences : default: the user's, of which the key of background clicks is followed
    """

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        *,
        loader: ModelLoader | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__(napari_viewer)
        self._preferences = preferences or Preferences.read()
        self._images: list[Image] = []
        self._make_widgets()
        self._lay_out()
        self.controller = ClickController(
            self._viewer,
            self,
            loader or ModelLoader(self._preferences.cache_folder),
            modifier=self._preferences.background_modifier,
            autosave=self._preferences.journal_folder,
        )
        self.destroyed.connect(self.controller.abandon)
        self.controller.loader.embedding_bytes = self._preferences.embedding_bytes
        self._connect()
        follow = preferences is None
        self._unfollow = follow_preferences(self._preference_changed) if follow else lambda: None
        self._list_models()
        self._list_images()
        self._preload_timer = QTimer(self)
        self._preload_timer.setSingleShot(True)
        self._preload_timer.setInterval(PRELOAD_AFTER)
        self._preload_timer.timeout.connect(self.controller.ready.preload)
        QTimer.singleShot(0, self._once_drawn)

    def _once_drawn(self) -> None:
        """Have the layer of clicks, and once that is drawn too, the model."""
        share_side(self)
        self.controller.ready.prepare_points(self._preload_soon)

    def _preload_soon(self) -> None:
        if self._preferences.preload and not self.controller.closed:
            self._preload_timer.start()

    # -- what the controller calls (DockView) --

    def set_status(self, text: str) -> None:
        """Show the line that says what to do next."""
        self.status.setText(text)

    def set_activity(self, text: str) -> None:
        """Show what is going on; empty when nothing is."""
        self.activity.setText(f"{text}…" if text else "")
        self.progress.setRange(0, 0 if text else 1)
        self.stop_button.setEnabled(text == "Computing")

    def set_positive(self, positive: bool) -> None:
        """Show whether plain clicks are foreground clicks."""
        self.actions.set_positive(positive)

    def set_possible(self, possible: dict[str, bool]) -> None:
        """Enable the buttons that make sense now."""
        self.actions.set_possible(possible)

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Offer what the model takes."""
        self.actions.set_prompts(prompts)

    def set_label(self, label: int) -> None:
        """Show the label that the next commit writes."""
        self.label.show_label(label)

    def set_options(self, options: Options) -> None:
        """Show the options in use."""
        self.options.set_options(options)

    def set_model(self, name: str, device: str) -> None:
        """Show the model in use."""
        self.models.set_chosen(name)
        self.device.setCurrentText(device)

    def ask_for_file(self, suggestion: str, then: Callable[[Path], None]) -> None:
        """Ask where to save; the window stays usable."""
        kinds = with_outlines([TIFF, OME_ZARR], self.controller.image)
        ask_where(self, "Save labels", suggestion, kinds, then)

    def show_images(self) -> None:
        """Bring the list of images up to date."""
        self._list_images()

    @staticmethod
    def _ask(dialog: QFileDialog, then: Callable[[Path], None]) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda chosen: then(Path(chosen)))
        dialog.open()

    def ask_for_folder(self, title: str, start: str, then: Callable[[Path], None]) -> None:
        """Ask for a folder that is there; the window stays usable."""
        dialog = QFileDialog(self, title, start)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        self._ask(dialog, then)

    def ask_for_new_folder(self, title: str, suggestion: str, then: Callable[[Path], None]) -> None:
        """Ask for the name of a folder to make; the window stays usable."""
        dialog = QFileDialog(self, title, suggestion, f"Session (*{SUFFIX})")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(SUFFIX.removeprefix("."))
        self._ask(dialog, then)

    # -- Qt --

    def use_model(self, name: str | None, device: str | None = None) -> bool:
        """Choose a model by name or checkpoint file; None: the present one. Whether it is here."""
        known = [card.name for card in self.models.local_cards]
        if name is not None and name not in known and Path(name).is_file():
            self.models.add_file(Path(name))
        elif name is not None and name not in known:
            return False
        if name is not None:
            self.models.set_chosen(str(Path(name)) if name not in known else name)
        if device is not None:
            if self.device.findText(device) < 0:
                self.device.addItem(device)
            self.device.setCurrentText(device)
        self._choose_model()
        return self.models.card is not None

    def sizeHint(self) -> QSize:
        """Narrow, so that the picture keeps the room."""
        return QSize(330, 640)

    def shut_down(self) -> None:
        """Stop everything and disconnect from the viewer; calling it again does nothing."""
        self._preload_timer.stop()
        self._unfollow()
        self.options.close_timers()
        events = self._viewer.layers.events
        for event in (events.inserted, events.renamed):
            event.disconnect(self._list_images)
        events.removed.disconnect(self._list_images_soon)
        for editor in self.controller.editors:
            editor.layers.leave_committed()
        self.controller.close()

    # -- building --

    def _make_widgets(self) -> None:
        self.image_combo = QComboBox()
        self.image_combo.setToolTip("The image layer whose objects are clicked.")
        self.image_combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.image_combo.setMinimumContentsLength(14)
        self.models = ModelBox()
        self.edge_models = QComboBox()
        self.edge_models.setToolTip("The model that Refine edges asks.")
        self.edge_models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.device = QComboBox()
        self.device.setToolTip("Where the model runs; auto takes a GPU when there is one.")
        self.device.addItems(["auto", "cpu", "mps" if sys.platform == "darwin" else "cuda"])
        self.device.setCurrentText(self._preferences.device)
        self.options = OptionsBox()
        self.actions = ActionButtons(self._preferences.background_modifier)
        self.label = LabelBox()
        self.label.setAccessibleName("Label")
        self.activity = QLabel()
        self.activity.setTextFormat(Qt.TextFormat.PlainText)  # it may name a file
        self.activity.setToolTip("What is being computed in the background.")
        self.progress = QProgressBar()
        self.progress.setRange(0, 1)
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(8)
        self.progress.setToolTip(
            "Moves while something is computed in the background; the window stays usable."
        )
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Give up the running computation; the click stays and can be undone.")
        self.stop_button.setEnabled(False)
        self.stop_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.status = SmallLabel()
        self.status.setToolTip("What to do next.")
        self.help = SmallLabel(help_table(self._preferences.background_modifier), rich=True)
        self.help.setToolTip("All clicks and keys of this dock.")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Image", self.image_combo)
        form.addRow("Model", self.models)
        form.addRow("Edges", self.edge_models)
        form.addRow("Device", self.device)
        form.addRow(self.options)
        label = QHBoxLayout()
        label.addWidget(QLabel("Label"))
        label.addWidget(self.label, 1)
        busy = QHBoxLayout()
        busy.addWidget(self.activity, 1)
        busy.addWidget(self.stop_button)
        keys = QCollapsible("Mouse and keys")
        keys.addWidget(self.help)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addLayout(form)
        column.addWidget(self.actions)
        column.addLayout(label)
        column.addWidget(keys)
        column.addStretch(1)
        always_seen = QVBoxLayout()
        always_seen.setContentsMargins(*MARGINS)
        always_seen.addWidget(self.progress)
        always_seen.addLayout(busy)
        always_seen.addWidget(self.status)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(ScrolledColumn(inner), 1)
        outer.addLayout(always_seen)

    def _connect(self) -> None:
        self.image_combo.activated.connect(self._image_activated)
        for chosen in (self.models.chosen, self.device.activated, self.edge_models.activated):
            chosen.connect(self._choose_model)
        self.options.changed.connect(self.controller.choose_options)
        self.actions.triggered.connect(self.label.interpretText)  # a button leaves the keyboard where it is
        self.actions.triggered.connect(self.controller.perform)
        self.actions.sign_chosen.connect(self.controller.choose_sign)
        self.label.chosen.connect(self.controller.choose_label)
        self.stop_button.clicked.connect(self.controller.stop)
        events = self._viewer.layers.events
        for event in (events.inserted, events.renamed):
            event.connect(self._list_images)
        events.removed.connect(self._list_images_soon)

    def _preference_changed(self, _event: Any) -> None:
        """Another key for background clicks counts at once; the rest when a dock is opened again."""
        modifier = Preferences.read().background_modifier
        if modifier != self.controller.hands.modifier:
            self.controller.hands.modifier = modifier
            self.actions.set_modifier(modifier)
            self.help.setText(help_table(modifier))

    # -- lists --

    def _list_models(self) -> None:
        from napari_iseg.weights.store import how_to_get

        cards = self.controller.loader.cards()
        self.models.set_cards(cards, [how_to_get(card) for card in cards])
        edge_cards = self.controller.loader.edge_cards()
        self.edge_models.addItems([card.name for card in edge_cards] or ["none on this machine"])
        self.edge_models.setEnabled(bool(edge_cards))
        self._choose_model()

    def _choose_model(self, _chosen: Any = None) -> None:
        edges = self.edge_models.currentText() if self.edge_models.isEnabled() else None
        device, precision = self.device.currentText(), self._preferences.precision
        self.controller.edges.key = ModelKey(edges, device, precision) if edges else None
        card = self.models.card
        if card is None:
            return
        key = ModelKey(card.name, self.device.currentText(), self._preferences.precision)
        self.controller.choose_model(key, Options.of(card.inference), card.prompts)

    def _list_images_soon(self, _event: Any) -> None:
        """Once napari has finished: it may be removing layers of ours next."""
        QTimer.singleShot(0, self._list_images)

    def _list_images(self, event: Any = None) -> None:
        """Keep the list of images; a new choice is made only when the chosen one is gone."""
        gone = self.controller.image is not None and self.controller.image not in self._viewer.layers
        if self.controller.closed or (event is not None and gone):
            return  # what follows a removal is done soon: ``event`` may be about a layer of ours coming in
        self._images = scene.pictures(self._viewer)[::-1]
        self.image_combo.clear()
        for image in self._images:
            self.image_combo.addItem(image.name)
        chosen = self.controller.image
        if chosen not in self._images:
            active = self._viewer.layers.selection.active
            chosen = active if active in self._images else (self._images[0] if self._images else None)
            self.controller.choose_image(chosen)
            editor = self.controller.editor
            if editor is not None and chosen is getattr(event, "value", None):
                editor.layers.take_clicks_once_added()
        self.image_combo.setCurrentIndex(self._images.index(chosen) if chosen is not None else -1)

    def _image_activated(self, index: int) -> None:
        self.controller.choose_image(self._images[index])
