"""Connects the viewer, the dock and the objects of the chosen image; knows no Qt widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_iseg.errors import DeviceError, InputError, IsegError
from napari_iseg.interactive.predictor import NoBoxesError
from napari_iseg.prompts import Click
from napari_iseg.widgets import answering, guidance, scene
from napari_iseg.widgets.box_control import BoxControl
from napari_iseg.widgets.commands import Commands
from napari_iseg.widgets.edge_choice import EdgeChoice
from napari_iseg.widgets.editor import Editor
from napari_iseg.widgets.editors import Editors
from napari_iseg.widgets.getting_ready import GettingReady
from napari_iseg.widgets.hands import Hands
from napari_iseg.widgets.image_watch import ImageWatch
from napari_iseg.widgets.model_choice import ModelChoice
from napari_iseg.widgets.model_loader import ModelKey, ModelLoader, short_of_memory
from napari_iseg.widgets.options import Options
from napari_iseg.widgets.reports import in_the_dock, report, warn
from napari_iseg.widgets.session_files import SessionFiles
from napari_iseg.widgets.view import DockView
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer


class ClickController:
    """Clicks and commands in, layers and words out.

    Parameters
    ----------
    viewer, view : the napari viewer, and the dock (or a stand-in)
    loader : lists and loads models
    modifier : the key of background clicks
    autosave : the folder of the journals; None for none
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        view: DockView,
        loader: ModelLoader,
        *,
        modifier: str = "Control",
        autosave: Path | None = None,
    ) -> None:
        self.viewer, self.view, self.loader = viewer, view, loader
        self.worker = Worker()
        self.image: Image | None = None
        self.editor: Editor | None = None
        self.positive = True
        self.choice = ModelChoice(loader)
        self.edges = EdgeChoice(loader)
        self.commands = Commands(self)
        self._with_probability = False
        self._news = ""  # what the last command has to say; shown until the next one
        self._plane: tuple[int, ...] = ()  # that is shown
        self._watch = ImageWatch(
            self._follow_image, lambda: self._editors.place(), self._data_replaced, self._follow_name
        )
        self.autosave = autosave
        self.boxes = BoxControl(self)
        self.hands = Hands(self.click_world, self.perform, self.say, self.boxes.take, modifier)
        self.ready = GettingReady(
            self.worker,
            self.choice,
            changed=self._update,
            points_ready=self._follow_dims,
            model_ready=self._model_ready,
        )
        self.files = SessionFiles(self)
        begin, left, quiet = self.files.begin, self.files.left, self.hands.quiet
        self._editors = Editors(viewer, self.worker, begin, left, autosave, quiet, self._update, self.fail)
        self.closed = self._switching = False
        for event in self._display_events():
            event.connect(self._follow_dims)
        viewer.dims.events.point.connect(self._follow_plane)
        viewer.layers.events.removed.connect(self._layer_removed)
        viewer.layers.selection.events.active.connect(self._active_changed)

    # -- what the dock calls --

    def choose_image(self, image: Image | None) -> None:
        """Work on another image; the objects of the one before are kept."""
        if image is self.image:
            self.ensure_points()
            return
        self.image = image
        self._watch.follow(image)
        self._follow_dims()

    def choose_model(self, key: ModelKey, options: Options, prompts: Sequence[str] = ("click",)) -> None:
        """Answer with another model, started with ``options`` and offering ``prompts`` (its card's)."""
        if self.choice.choose(key, options, prompts):
            self.view.set_options(self.choice.options)
            self._renew_model(f"Loading the model {key.name}")

    def choose_options(self, options: Options) -> None:
        """Run the model differently; the current object is computed anew."""
        before = self.choice.options
        if options == before:
            return
        self.choice.choose_options(options)
        if replace(before, threshold=options.threshold) != options:
            self._renew_model("Computing")
        for editor in self._editors:
            editor.use_threshold(options.threshold)

    def choose_label(self, label: int) -> None:
        """Commit the current object under this label."""
        if self.editor is not None and self.editor.session is not None:
            self.editor.choose_label(label)

    def choose_sign(self, positive: bool) -> None:
        """What plain clicks mean."""
        self.positive = positive
        self.view.set_positive(positive)

    def perform(self, name: str) -> None:
        """Carry out an action of the table; pick and delete act on what is clicked next."""
        self._news = ""
        self.commands.perform(name)

    def show_probability(self, shown: bool) -> None:
        """Show or hide the probability layer."""
        self._with_probability = shown
        if self.editor is not None:
            self.editor.with_probability = shown
            self.editor.show()

    def stop(self) -> None:
        """Give up the running prediction."""
        if self.editor is not None:
            self.editor.stop()

    def _model_ready(self) -> None:
        if self.editor is not None and self.editor.layers.are_shown:
            self.editor.layers.add_current()
        self._update()

    @property
    def editors(self) -> tuple[Editor, ...]:
        """Those of all images that were worked on."""
        return tuple(self._editors)

    def close(self) -> None:
        """Stop the worker, let go of the viewer, take the working layers away; committed labels stay."""
        if not self.closed:
            self.files.tell_of_all_open()
            self._disconnect()
            self._leave()
            self._end()

    def abandon(self, _dock: object = None) -> None:
        """The same when the window was closed over the dock: no widget and no layer is touched any more."""
        if not self.closed:
            self._disconnect()
            self._end()

    def _disconnect(self) -> None:
        """Hear nothing more from the viewer."""
        self.closed = True
        for event in self._display_events():
            event.disconnect(self._follow_dims)
        self.viewer.dims.events.point.disconnect(self._follow_plane)
        self.viewer.layers.events.removed.disconnect(self._layer_removed)
        self.viewer.layers.selection.events.active.disconnect(self._active_changed)
        self._watch.close()

    def _display_events(self) -> tuple[Any, ...]:
        """Those that tell of other axes, of 3D and of a grid."""
        dims, grid = self.viewer.dims.events, scene.grid_of(self.viewer).events
        return dims.order, dims.ndisplay, dims.ndim, grid.enabled

    def _end(self) -> None:
        """Close what is open and stop the worker."""
        self._editors.close()
        self.loader.forget()
        self.worker.close()
        self.image = self.editor = None

    # -- clicks --

    def click_world(self, position: Sequence[float], plain: bool) -> None:
        """A click in the canvas at a world position; ``plain``: left button and no modifier."""
        self._news = ""
        if self.commands.take_click(position):
            return
        editor = self.editor
        if editor is None or self.choice.key is None:
            warn(self.hint)
            return
        where = scene.locate(self.viewer, editor.layers.image, editor.layers.axes, position)
        if where is None:
            self.say("That was outside the image; click on it.")
            return
        plane, row, col = where
        view = scene.visible_window(editor.layers.image, editor.layers.axes, self.viewer)
        editor.click(plane, Click(row, col, self.positive == plain), view)

    # -- keeping up with the viewer --

    def _follow_dims(self, _event: Any = None) -> None:
        """Take the editor of the present image and displayed axes, or none."""
        if self._switching or self.closed or self.image not in (None, *self.viewer.layers):
            return
        self._switching = True
        try:
            try:
                axes = None if self.image is None else scene.shown_axes(self.viewer, self.image)
            except InputError:
                axes = None  # `hint` says why
            there = self.image if self.ready.for_points else None
            wanted = None if axes is None or there is None else self._editors.of(there, axes)
            if wanted is not self.editor:  # layers that the user deleted are not brought back here
                self._news = ""  # was said of what is no longer shown
                self._leave()
                self._enter(wanted)
        finally:
            self._switching = False
        self._update()

    def _follow_plane(self, _event: Any = None) -> None:
        """Let the open object of the plane that is shown be the current one."""
        editor = self.editor
        if editor is not None and self.image in self.viewer.layers:
            plane = scene.shown_plane(self.viewer, editor.layers.image, editor.layers.axes)
            if plane is not None:
                before, self._plane = self._plane, plane
                editor.look_at(plane)
                if self._news and plane != before:
                    self.say("")  # what was said was of another plane

    def _active_changed(self, _event: Any = None) -> None:
        if not self._switching:  # later, as napari may be removing layers one by one
            QTimer.singleShot(0, self._follow_active)

    def _follow_active(self) -> None:
        if self.editor is not None and guidance.unheard(self.editor):
            self._news = ""  # may ask for a click
        self._update()

    def _enter(self, editor: Editor | None) -> None:
        self.editor, self.commands.armed = editor, ""
        if editor is not None:
            editor.layers.add_points()
            self.hands.attach(editor)
            editor.with_probability = self._with_probability
            editor.resume()
            self._follow_plane()  # the sliders were moved while it was not there
            answering.follow_choice(self, editor)

    def _leave(self) -> None:
        editor, self.editor = self.editor, None
        if editor is not None:
            self.hands.detach()
            editor.suspend()

    def ensure_points(self) -> None:
        """Bring the layers of clicks and objects back if the user deleted them."""
        editor = self.editor
        if editor is not None and not editor.layers.are_shown:
            self._leave()
            self._enter(editor)
        elif editor is not None and editor.layers.lack_objects:
            editor.show()

    def _layer_removed(self, event: Any) -> None:
        """Let go of an image once napari has finished: it may be removing our layers next."""
        QTimer.singleShot(0, partial(self._let_go, event.value))

    def _let_go(self, layer: Layer) -> None:
        if not self.closed and layer not in self.viewer.layers:
            self._watch.forget(layer)
            self.files.tell_of_open(layer, "Bring the session back with Open session…")
            self._forget(layer)
            if self.editor is not None and self.editor.layers.has_lost(layer):
                self._news = ""  # the status says how it comes back
            if layer is self.image:
                self.choose_image(None)
            elif self.editor is not None and self.editor.layers.miss(layer):
                self.editor.show()  # or Enter would commit what nobody sees
            self._update()

    def _forget(self, layer: Layer) -> bool:
        """Close what was worked on in an image, whether there was something; committed labels stay."""
        editors = self._editors.take_out(layer)
        for editor in editors:
            if editor is self.editor:
                self._leave()
            editor.close()
        return bool(editors)

    def _data_replaced(self, event: Any) -> None:
        """An image shows other pixels: what was found in the old ones must not be taken further."""
        way_back = "Bring the session back with Open session… on the image of before"
        self.files.tell_of_open(event.source, way_back)
        sentence = guidance.after_new_pixels([e for e in self._editors if e.layers.image is event.source])
        if not self.closed and self._forget(event.source) and event.source is self.image:
            self._follow_dims()
            self.say(sentence)

    def _follow_name(self, event: Any) -> None:
        for editor in self._editors:
            if editor.layers.image is event.source:
                editor.layers.follow_name()
        self._update()  # which may name a layer

    def _follow_image(self, _event: Any = None) -> None:
        if self.image is not None:
            self._editors.follow(self.image)
        self._follow_dims()  # it may lie out of its planes now, or in them again
        self._follow_plane()
        if self.editor is not None:
            self.editor.show()

    # -- the rest --

    def _renew_model(self, text: str) -> None:
        self._news = ""  # was said of the model before
        for editor in self._editors:
            editor.use_model(self.choice.load, text)
        self._update()

    def say(self, sentence: str) -> None:
        """Show a sentence in the status line until the next command."""
        self._news = sentence
        self._update()

    def fail(self, error: Exception) -> None:
        """Tell the user what went wrong; a model that cannot be had is replaced by the one before."""
        sentence = short_of_memory(error)
        told = DeviceError(sentence) if sentence else error
        report(told)
        if isinstance(error, NoBoxesError) and self.boxes.hint:
            self._news = ""  # the hint knows that a box is drawn
        else:
            self._news = in_the_dock(told) if isinstance(told, IsegError) else f"That failed: {told}"
        answering.fall_back(self, error)

    @property
    def hint(self) -> str:
        """What to do where there is no editor."""
        if self.choice.key is None:
            return guidance.NO_MODEL
        if self.image is None:
            return "Open an image (File > Open Sample > napari-iseg has some), then choose it above."
        try:
            scene.shown_axes(self.viewer, self.image)
        except InputError as error:
            return str(error)
        return "Choose an image above." if self.ready.for_points else "One moment."

    def _update(self) -> None:
        """Tell the dock what is so."""
        if self.closed:
            return
        self.boxes.update()
        self.hands.bind_keys()
        editor = self.editor
        session = None if editor is None else editor.session
        activity = "" if editor is None else editor.activity
        if editor is not None:
            self._news = guidance.news(editor) or self._news
        self.view.set_activity(activity or self.files.activity or self.ready.activity)
        if session is not None and editor is not None and not editor.busy_with_task:
            if session.model is not None and self.choice.adopt(session.model, session.threshold):
                self.view.set_options(self.choice.options)
            self.view.set_label(session.object_id)
        self.view.set_possible(guidance.possible(editor))
        if editor is None:
            self.view.set_status(self.hint)
        else:
            self.view.set_status(self._words(editor))

    def _words(self, editor: Editor) -> str:
        """For the status line: where clicks do not arrive, that is said whatever news there is."""
        if unheard := guidance.unheard(editor):
            return f"{self._news} {unheard}".strip()
        hint = "" if self.commands.armed else self.boxes.hint
        return self._news or hint or guidance.next_step(editor, self.commands.armed)
