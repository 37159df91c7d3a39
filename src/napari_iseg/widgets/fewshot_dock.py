"""The dock "Few-shot": layout and signals; what happens is in the controller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QLabel,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from napari_iseg.fewshot.collect import Clicks
from napari_iseg.widgets import scene
from napari_iseg.widgets.asking import ask_where
from napari_iseg.widgets.dock import Dock
from napari_iseg.widgets.dock_parts import LabelBox, ScrolledColumn, SmallLabel
from napari_iseg.widgets.fewshot_annotations import fitting
from napari_iseg.widgets.fewshot_clicks import are_of
from napari_iseg.widgets.fewshot_controller import FewShotController
from napari_iseg.widgets.fewshot_models import Loader, LoadModel, known_models
from napari_iseg.widgets.fewshot_own_clicks import OwnClicks
from napari_iseg.widgets.fewshot_parts import LayerCombo, ShapesCombo, button, combo, row_of, tile_box
from napari_iseg.widgets.fewshot_request import frame_of, plane_axes
from napari_iseg.widgets.fewshot_results import is_result, lock_copy
from napari_iseg.widgets.fewshot_run import SupportRow
from napari_iseg.widgets.fewshot_saving import suggestion
from napari_iseg.widgets.fewshot_slices import AxisCombo, SliceRange
from napari_iseg.widgets.fewshot_supports import SupportList
from napari_iseg.widgets.fewshot_view import HOW, FewShotSettings
from napari_iseg.widgets.fewshot_watch import LabelsWatch
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.preferences import Preferences
from napari_iseg.widgets.tabs import share_side
from napari_iseg.widgets.trust_strip import TrustStrip

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

REGIONS = ("whole", "visible", "range")


class FewShotDock(Dock):
    """A few annotated slices or tiles become all.

    Parameters
    ----------
    napari_viewer : the viewer the dock works in; napari passes it
    models : names of few-shot models with a line on each; default: those of this machine
    load : loads one; default: by name
    preferences : default: the user's, of which the key of background clicks is followed
    """

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        *,
        models: dict[str, str] | None = None,
        load: LoadModel | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__(napari_viewer)
        self._preferences = preferences or Preferences.read()
        self._modifier = lambda: (preferences or Preferences.read()).background_modifier  # as it is by then
        self._listening = True
        self._no_labels = False  # chosen by the user
        self._watch = LabelsWatch(self._viewer, self._list_annotated)
        self._make_widgets(models if models is not None else known_models(self._preferences))
        self._lay_out()
        self.controller = FewShotController(
            self._viewer,
            self,
            load or Loader(self._preferences),
            self._preferences.fewshot_folder,
        )
        self.destroyed.connect(self.controller.close)
        self._connect()
        self._list_layers()
        self.set_status(HOW)
        QTimer.singleShot(0, self._once_docked)

    def _once_docked(self) -> None:
        share_side(self)

    @property
    def settings(self) -> FewShotSettings:
        """What is set now."""
        return FewShotSettings(
            model=self.model.currentData() or self.model.currentText(),
            device=self.device.currentText(),
            axis=self.axis.currentData(),
            tile=self.tile.value(),
            region=REGIONS[self.region.currentIndex()] if self.region.layer is None else "whole",
            area=self.region.layer,
            first=int(self.range.value()[0]),
            last=int(self.range.value()[1]),
            sequential=self.sequential.isChecked(),
            partial=self.unlabelled.currentIndex() == 1,
            complete_in=self.unlabelled.layer,
        )

    # -- what the controller calls (FewShotView) --

    def set_status(self, text: str) -> None:
        """Show the line that says what to do next."""
        self.status.setText(text)

    def replace_status(self, before: str, text: str) -> None:
        """Show another line, unless something else than ``before`` stands there by now."""
        if self.status.text() == before:
            self.set_status(text)

    def set_running(self, running: bool, paused: bool) -> None:
        """Show whether something runs, or waits."""
        self.run_button.setText("Run" if not running else "Run anew")
        self.pause_button.setEnabled(running)
        self.pause_button.setText("Go on" if paused else "Pause")
        self.cancel_button.setEnabled(running)
        if not running:
            self.left.setText("")

    def set_progress(self, done: int, total: int, left: str) -> None:
        """Show how far it is."""
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(done if total else 1)
        self.left.setText(left)

    def show_supports(self, rows: list[SupportRow]) -> None:
        """Show the annotated slices and tiles."""
        self.supports.show_rows(rows)

    def list_axes(self) -> None:
        """List the axes and slices of the image anew."""
        self.axis.offer(self.controller.image)
        self._axis_chosen()

    def offer_clicks(self, path: Path, clicks: Clicks) -> None:
        """Bring back the clicks of a result, unless those of a result are chosen already."""
        if self.controller.image is not None:
            self._own_clicks.offer(self.controller.image, self._axes_of_planes, path, clicks)
            self._annotations_chosen()

    def leave_clicks(self) -> None:
        """Choose no clicks; their layer stays in the viewer."""
        self.clicks.choose(None)

    def show_trust(self, values: npt.NDArray[np.float64], current: tuple[int, int]) -> None:
        """Show the trust of every slice or tile."""
        self.strip.set_values(values, current)

    def set_possible(self, accept: bool, reject: bool, suggestion: bool, save: bool) -> None:
        """Enable the buttons that make sense now."""
        self.save_button.setEnabled(save)
        self.accept_button.setEnabled(accept)
        self.reject_button.setEnabled(reject)
        self.next_button.setEnabled(suggestion)

    # -- Qt --

    def sizeHint(self) -> QSize:
        """Narrow, so that the picture keeps the room."""
        return QSize(330, 680)

    def shut_down(self) -> None:
        """Stop everything and disconnect from the viewer; calling it again does nothing."""
        if self._listening:
            self._listening = False
            self._watch.follow(None)
            for event in self._layer_events():
                event.disconnect(self._list_layers)
            self.controller.close()

    # -- building --

    def _make_widgets(self, models: dict[str, str]) -> None:
        self.image = LayerCombo("The image layer: a stack, a time series, or a large scene.", optional=False)
        self.labels = LayerCombo(
            "Labels of a few slices: any labels layer of the image's shape, also the committed objects of "
            "the click dock. It is only read."
        )
        self.clicks = LayerCombo(
            "Points that correct or annotate. Choose 'new layer…' for a layer to click in: left on an "
            "object, right (or with the modifier) on background. Of other points, those of symbol x are "
            "background; the feature 'label' says of which label.",
            more="new layer…",
        )
        self.click_label = LabelBox()
        self.click_label.setToolTip("The label that the next click belongs to.")
        self.click_label.setMinimumWidth(72)  # it would take the room of the highest label
        label = lambda: int(self.click_label.value())  # noqa: E731 - asked at each click
        self._own_clicks = OwnClicks(self._viewer, self.clicks, label, self._modifier)
        self.axis = AxisCombo("The axis that is sliced; the other two are the plane that was annotated in.")
        self.model = combo("What carries the annotation to the other slices.")
        for name, line in models.items():
            self.model.addItem(name, name)
            self.model.setItemData(self.model.count() - 1, line, Qt.ItemDataRole.ToolTipRole)
        self.device = combo("Where the model runs; auto takes a GPU when there is one.")
        self.device.addItems(["auto", "cpu", "mps" if sys.platform == "darwin" else "cuda"])
        self.device.setCurrentText(self._preferences.device)
        self.tile = tile_box()
        self.region = ShapesCombo(
            "What is done: everything, what is in view, a range of slices, or the polygons of a Shapes "
            "layer. What the result holds elsewhere stays.",
            ["whole image", "what is in view", "range of slices"],
            "inside",
        )
        self.range = SliceRange()
        self.sequential = QCheckBox("from slice to slice")
        self.sequential.setToolTip("Give each slice its neighbour's answer, from both sides, while trusted.")
        self.unlabelled = ShapesCombo(
            "What the unlabelled pixels of an annotated slice or tile are. Where you annotated some objects "
            "of many, draw around what is complete in a Shapes layer and choose it here.",
            ["are background", "are unknown"],
            "background in",
        )
        self.run_button = button("Run", "Segment the rest; after a change only what depends on it.")
        self.pause_button = button("Pause", "Begin nothing new until you go on.")
        self.cancel_button = button("Cancel", "Stop; what is finished stays.")
        self.accept_button = button(
            "Accept", "The slice in view is right: it becomes an annotation, and the rest follows."
        )
        self.reject_button = button("Reject", "The slice in view is wrong: empty it, or take Accept back.")
        self.next_button = button("Next", "Go to the slice whose annotation helps most.")
        lying = "Write OME-Zarr, TIFF or (scenes) polygons, lying where the image lies."
        self.save_button = button("Save as…", lying)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1)
        self.progress.setToolTip("How much of the run is done.")
        self.left = QLabel()
        self.left.setToolTip("Time left, estimated from the slices so far.")
        self.supports = SupportList()
        self.strip = TrustStrip()
        self.status = SmallLabel()
        self.status.setToolTip("What to do next.")
        self._name_widgets()
        self.set_running(False, False)
        self.set_possible(False, False, False, False)

    def _name_widgets(self) -> None:
        """For who hears the dock: those that no label beside them is tied to."""
        names = {
            "Clicks": self.clicks,
            "Label of the next click": self.click_label,
            "Range of slices": self.range,
            "Progress of the run": self.progress,
            "Trust": self.strip,
        }
        for name, widget in names.items():
            widget.setAccessibleName(name)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        rows = (
            ("Image", self.image),
            ("Labels", self.labels),
            ("Clicks", row_of(self.clicks, self.click_label)),
            ("Slices along", self.axis),
            ("Model", self.model),
            ("Device", self.device),
            ("Tile", self.tile),
            ("Unlabelled", self.unlabelled),
            ("Region", self.region),
        )
        for name, widget in rows:
            form.addRow(name, widget)
        for widget in (self.range, self.sequential):
            form.addRow("", widget)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addLayout(form)
        column.addLayout(row_of(self.run_button, self.pause_button, self.cancel_button))
        column.addLayout(row_of(self.progress, self.left))
        column.addWidget(QLabel("Trust"))
        column.addWidget(self.strip)
        column.addLayout(row_of(self.accept_button, self.reject_button, self.next_button))
        column.addWidget(self.save_button)
        column.addWidget(self.status)
        column.addWidget(QLabel("Annotated"))
        column.addWidget(self.supports, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(ScrolledColumn(inner))

    def _connect(self) -> None:
        controller = self.controller
        self.image.activated.connect(lambda _index: self._image_chosen())
        self.labels.activated.connect(self._labels_chosen)
        self.clicks.activated.connect(self._clicks_chosen)
        self.axis.activated.connect(lambda _index: self._axis_chosen())
        self.axis.activated.connect(lambda _index: self._annotations_chosen())
        for changed in (self.axis.activated, self.tile.valueChanged):
            changed.connect(lambda _value: controller.before.look_for_earlier())
        self.click_label.chosen.connect(self._label_chosen)
        ranged = REGIONS.index("range")
        self.region.currentIndexChanged.connect(lambda index: self.range.setVisible(index == ranged))
        self.run_button.clicked.connect(controller.run)
        self.pause_button.clicked.connect(controller.pause)
        self.cancel_button.clicked.connect(controller.cancel)
        self.accept_button.clicked.connect(controller.accept)
        self.reject_button.clicked.connect(controller.reject)
        self.next_button.clicked.connect(controller.ways.go_next)
        self.save_button.clicked.connect(
            lambda: ask_where(self, "Save the result", *suggestion(self.image.layer), controller.save)
        )
        self.strip.chosen.connect(controller.ways.go_to_cell)
        self.supports.chosen.connect(controller.ways.go_to)
        for event in self._layer_events():
            event.connect(self._list_layers)

    # -- lists --

    def _layer_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def _list_layers(self, event: Any = None) -> None:
        """Keep the lists of layers; a new choice is made only when the chosen one is gone."""
        from napari.layers import Image, Labels, Points, Shapes

        if self.controller.closed:
            return
        if event is not None and event.type == "inserted":
            lock_copy(event.value)
        found = [x for x in self._viewer.layers if is_result(x) or scene.OUTPUT in x.metadata]
        layers = [x for x in self._viewer.layers[::-1] if x not in found]  # results are no annotations
        self.image.offer([x for x in layers if isinstance(x, Image)])
        self.clicks.offer([x for x in layers if isinstance(x, Points)])
        kept = self.labels.offer([x for x in layers if isinstance(x, Labels)])
        if not kept and not self._no_labels:
            self.labels.setCurrentIndex(fitting(self.labels.layers, self.image.layer))
        shapes = [x for x in self._viewer.layers if isinstance(x, Shapes) and x not in found]
        for choice in (self.region, self.unlabelled):
            choice.offer(shapes)
        self._image_chosen()
        self._annotations_chosen()

    def _labels_chosen(self, index: int) -> None:
        self._no_labels = index == 0
        self._annotations_chosen()

    def _clicks_chosen(self, index: int) -> None:
        """Points to read, or a new layer of them."""
        if index == len(self.clicks.layers):
            self.clicks.setCurrentIndex(0)
            if self.controller.image is None:
                return
            shown = self.controller.belonging.whose.shown
            self._own_clicks.add(self.controller.image, self._axes_of_planes, {}, shown)
        self._annotations_chosen()

    @property
    def _axes_of_planes(self) -> PlaneAxes:
        return plane_axes(frame_of(self.image.layer, self.settings.axis))

    def _label_chosen(self, label: int) -> None:
        if are_of(self.clicks.layer, self.controller.image):  # also for what napari's own tool adds
            self.clicks.layer.feature_defaults = {"label": [label]}

    def _image_chosen(self) -> None:
        image: Image | None = self.image.layer
        changed = image is not self.controller.image
        self.controller.choose_image(image)
        if not changed:
            return
        self.list_axes()
        if image is not None:
            self._own_clicks.begin(image)
        self._annotations_chosen()
        self.controller.before.look_for_earlier()

    def _axis_chosen(self) -> None:
        image = self.controller.image
        sliced = image is None or self.axis.currentData() is not None
        for choice in (self.accept_button, self.reject_button):
            choice.setVisible(sliced)  # a scene is corrected tile by tile
        self.region.enable(REGIONS.index("range"), sliced)
        self.range.offer(image, self.axis.currentData())

    def _annotations_chosen(self) -> None:
        labels = self.labels.layer
        self._watch.follow(labels)
        self.controller.choose_annotations(labels, self.clicks.layer)
        self._list_annotated()

    def _list_annotated(self, _event: Any = None) -> None:
        self.controller.before.list_annotated()
