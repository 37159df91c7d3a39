"""What the dock does with files: labels out, sessions out and back in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.errors import CheckpointError, DeviceError, InputError, IsegError, ModelNotFoundError
from napari_iseg.widgets import answering, guidance, open_sessions, scene
from napari_iseg.widgets.asking import as_file_name
from napari_iseg.widgets.model_loader import ModelKey
from napari_iseg.widgets.options import Options
from napari_iseg.widgets.origin import Origin
from napari_iseg.widgets.reports import warn
from napari_iseg.widgets.sessions import SessionPlan

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_iseg.backends.model import Model
    from napari_iseg.interactive.session import Session
    from napari_iseg.widgets.click_controller import ClickController
    from napari_iseg.widgets.editor import Editor
    from napari_iseg.widgets.editor_state import SessionStart
    from napari_iseg.widgets.layers import ClickLayers
    from napari_iseg.widgets.placement import PlaneAxes

SUFFIX = ".iseg"  # of session folders


@dataclass(frozen=True)
class Reopened:
    """A session as it was, the model that answers in it, and what the user should know.

    ``key`` and ``options`` are None when the session's own model is not here: the dock's present one answers.
    """

    session: Session
    key: ModelKey | None
    options: Options | None
    note: str


class SessionFiles:
    """Exports labels, opens and saves sessions for a controller.

    Attributes
    ----------
    opening : the folders of the sessions that the user opens
    """

    def __init__(self, controller: ClickController) -> None:
        self._controller = controller
        self.opening: set[Path] = set()

    @property
    def activity(self) -> str:
        """What is read in the background, in words; empty when nothing is."""
        return "Opening the session" if self.opening else ""

    def left(self, layers: ClickLayers) -> Path | None:
        """The folder of the session that an earlier dock has left beside an image, to go on with by itself.

        None where that is open elsewhere, or is being opened.
        """
        left = layers.left_session
        if left is None or open_sessions.at_work(left, but=layers) or open_sessions.opening(left) is not None:
            return None
        return left

    def begin(self, plan: SessionPlan) -> SessionStart:
        """How the session of an image begins.

        One that an earlier dock has left goes on with its own model and options, unless some were chosen in
        this dock, also while it was opened, or answer for another image already.
        """
        controller, found = self._controller, list[Reopened]()
        choice, key = controller.choice, controller.choice.key
        others = any(editor.session is not None for editor in controller.editors)

        def is_free() -> bool:
            return choice.key == key and not (choice.chosen or choice.options_chosen)

        own = is_free() and not others

        def make() -> Session:
            if plan.left is not None:
                with suppress(InputError):  # moved away or damaged, which `open` says
                    reopened = self._reopen(plan, plan.left, own=own)
                    found.append(self._answered(reopened))
                    return reopened.session
            return plan.open(controller.ready.load())

        def begun(editor: Editor) -> None:
            for left in found:
                if is_free() and editor is controller.editor:
                    self._take_model(left)
                else:
                    answering.follow_choice(controller, editor)
                if left.note:
                    controller.say(left.note)

        return make, begun

    def _answered(self, found: Reopened) -> Reopened:
        """A reopened session with the dock's model where it has not its own; in the worker."""
        if found.key is not None:
            return found
        session, (before, _) = found.session, found.session.recorded_model
        try:
            session.model = model = self._controller.ready.load()
        except IsegError:
            session.close()
            raise
        if found.note or before in ("", model.card.name):
            return found
        return replace(found, note=f"The model {model.card.name} answers here now; {before} did before.")

    def export(self, editor: Editor) -> None:
        """Ask where to, and write the committed labels."""
        image = editor.layers.image
        file = image.source.path if image.source is not None else None
        shape = scene.image_shape(image)

        def write(session: Session, path: Path) -> str:
            from napari_iseg.widgets.map_place import export_beside

            beside = export_beside(session.labels, path, file, shape)
            return f"Saved {path}.{beside}{guidance.not_saved(session)}"

        def save(path: Path) -> None:
            editor.run_on_session(
                f"Saving {path.name}",
                lambda session: write(session, path),
                self._controller.say,
            )

        self._controller.view.ask_for_file(f"{image.name}_labels", save)

    def tell_of_open(self, image: Image, way_back: str) -> None:
        """Say which reopened objects of an image are missing in the labels that stay once it is let go of."""
        _tell_of_open([e for e in self._controller.editors if e.layers.image is image], way_back)

    def tell_of_all_open(self) -> None:
        """The same of all images when the dock is closed; another goes on from labels that are there."""
        editors = self._controller.editors
        beside = [editor for editor in editors if not editor.layers.lack_objects]
        alone = [editor for editor in editors if editor.layers.lack_objects]
        _tell_of_open(beside, "Open the dock again beside them")
        _tell_of_open(alone, "Open the dock again, bring the session back with Open session…")

    def ask_and_open(self) -> None:
        """Ask for a session's folder, and open it."""
        start = self._controller.autosave
        self._controller.view.ask_for_folder("Open session", str(start or ""), self.open)

    def ask_and_save(self, editor: Editor) -> None:
        """Ask for a new folder; the session goes on there, and stays as it is where it was."""
        suggestion = f"{as_file_name(editor.layers.image.name)}{SUFFIX}"
        self._controller.view.ask_for_new_folder(
            "Save session as", suggestion, lambda to: self.save(editor, to)
        )

    def save(self, editor: Editor, folder: Path) -> None:
        """Copy the session to a new folder and go on there."""

        def move(session: Session) -> Session:
            from napari_iseg.interactive.session import Session as Opened
            from napari_iseg.interactive.session_copy import copy_session

            if session.folder is None:
                raise InputError("This session is not recorded; set an autosave folder in the preferences.")
            copied = copy_session(session.folder, folder)
            try:
                copy = Opened.open(copied, session.source, session.model)
            except BaseException:
                shutil.rmtree(copied, ignore_errors=True)  # its name stays free for another try
                raise
            copy.plane = session.plane
            return copy

        def go_on(session: Session) -> None:
            editor.exchange(session)
            self._controller.say(f"Saved; this session is recorded in {folder} from now on.")

        editor.run_on_session(f"Saving {folder.name}", move, go_on)

    def open(self, folder: Path) -> None:
        """Bring a session back: its image, clicks, objects, history and model; what fails is notified."""
        try:
            self._open(folder)
        except IsegError as error:
            self._controller.fail(error)
            self._controller.say(str(error))

    def _open(self, folder: Path) -> None:
        from napari_iseg.interactive.session_folder import read_info

        controller = self._controller
        editor, opening = open_sessions.at_work(folder), open_sessions.opening(folder)
        if editor is not None and editor in controller.editors:
            self._work_on(editor.layers.image, editor.layers.axes)
            controller.say("That session is open already.")
            return
        if opening is controller:
            controller.say("That session is being opened already.")
            return
        if editor is not None or opening is not None:
            raise InputError(
                f"The session in {folder} is open in another dock; go on there, or close that dock and open "
                "the session again."
            )
        origin = Origin.of_session(read_info(folder), folder)
        if origin.channels:
            raise InputError(
                f"The session in {folder} was made on chosen channels of its image, which a viewer's layer "
                "does not have; open it in Python with Session.open(folder, image)."
            )
        image, where = self._image(origin, folder)
        axes = origin.axes_in(image)
        assert axes is not None, "an image that fits was found"
        plan = SessionPlan.of(image, axes, None)
        self.opening.add(folder.resolve())
        self._work_on(image, axes)
        # A dock that was opened for this session has no layer of clicks to show it in yet.
        controller.ready.prepare_points(lambda: self._reopen_in(image, plan, folder, where))
        controller.say("")

    def _work_on(self, image: Image, axes: PlaneAxes) -> None:
        """Work on an image along these axes."""
        self._controller.choose_image(image)
        self._controller.view.show_images()
        scene.show_axes(self._controller.viewer, image, axes)

    def _reopen_in(self, image: Image, plan: SessionPlan, folder: Path, where: str) -> None:
        def shown(found: Reopened) -> None:
            self._show(image, plan.axes, found, where, lambda: self.opening.discard(folder.resolve()))

        def not_opened(error: Exception) -> None:
            self.opening.discard(folder.resolve())
            self._controller.fail(error)
            self._controller.say(str(error))

        self._controller.worker.submit_task(lambda _cancelled: self._reopen(plan, folder), shown, not_opened)

    def _image(self, origin: Origin, folder: Path) -> tuple[Image, str]:
        """The session's image, in the viewer or opened now, and "".

        Where it is gone, the chosen layer if it fits, and words that say so.
        """
        controller = self._controller
        images = [image for image in scene.pictures(controller.viewer) if origin.axes_in(image) is not None]
        known = [image for image in open_sessions.images_of(controller, folder) if image in images]
        known += [image for image in images if origin.is_that_of(image)]
        if known:
            return known[0], ""
        try:
            return origin.open_in(controller.viewer), ""
        except InputError:
            if controller.image not in images:
                raise
            return controller.image, f" on “{controller.image.name}”, which may be another picture"

    def _reopen(self, plan: SessionPlan, folder: Path, *, own: bool = True) -> Reopened:
        """The session with its ``own`` model where that is here; in the worker."""
        session = plan.reopen(folder)
        name, inference = session.recorded_model
        if not name or not own:
            return Reopened(session, None, None, session.note)
        try:
            wanted, model = self._load_named(name)
            model = model.with_inference(**inference)
        except (ModelNotFoundError, CheckpointError, DeviceError, InputError):
            note = f"{session.note} The session's model {name} is not here; the chosen one answers.".strip()
            return Reopened(session, None, None, note)
        session.model = model
        options = replace(Options.of_model(model), threshold=session.threshold)
        return Reopened(session, wanted, options, session.note)

    def _load_named(self, name: str) -> tuple[ModelKey, Model]:
        """The model of a name; where there is none, that of a chosen file with this stem."""
        file = self._controller.choice.key_named(name)
        exact = replace(file, name=name)
        try:
            return exact, self._controller.loader.load(exact)
        except ModelNotFoundError:
            if file == exact:
                raise
        return file, self._controller.loader.load(file)

    def _show(
        self, image: Image, axes: PlaneAxes, found: Reopened, where: str, over: Callable[[], None]
    ) -> None:
        """Put a reopened session in front of the user once it has its turn, or was given up: ``over``.

        ``where``: on another image than its own
        """
        controller, session = self._controller, found.session
        if controller.image is image and image in controller.viewer.layers:
            scene.show_axes(controller.viewer, image, axes)  # the user may have gone to 3D, or turned it
        editor = controller.editor
        if editor is None or (editor.layers.image, editor.layers.axes) != (image, axes):
            session.close()
            over()
            controller.fail(InputError(self._why_hidden(image)))
            return

        def taken(there: bool) -> None:
            over()
            if there:
                self._present(editor, found, where)
            elif not controller.closed:
                controller.fail(InputError(self._why_hidden(image)))

        editor.take(session, taken)

    def _present(self, editor: Editor, found: Reopened, where: str) -> None:
        """The dock follows a session that has just been gone on with, where its image is chosen yet."""
        controller, session, image = self._controller, found.session, editor.layers.image
        lacking = [editor] if found.key is None and controller.choice.key is not None else []
        if editor is controller.editor:
            self._take_model(found)
            lacking += [other for other in controller.editors if other is not editor]
            scene.go_to(controller.viewer, image, editor.layers.axes, session.plane)
            editor.layers.take_clicks()  # napari made the image active when it was opened
        else:
            where = where or f" on “{image.name}”"
        for other in lacking:
            other.use_model(controller.choice.load, "Loading the model")
        count = len(session.objects)
        objects = f"{count} object{'s' if count != 1 else ''}"
        controller.say(f"{found.note} Opened{where}: {objects}, undo included.".strip())

    def _why_hidden(self, image: Image) -> str:
        """Why there is no editor to show a session of an image in that was chosen for it."""
        if image not in self._controller.viewer.layers:
            return "The image was removed meanwhile; open the session again."
        if image is not self._controller.image:
            return "Another image was chosen meanwhile; open the session again."
        return f"{self._controller.hint} Then open the session again."

    def _take_model(self, found: Reopened) -> None:
        """Have the dock answer with a reopened session's own model."""
        controller = self._controller
        if found.key is not None and found.options is not None:
            controller.choice.take(found.key, found.options)
            controller.view.set_model(found.key.name, found.key.device)
            controller.view.set_options(found.options)


def _tell_of_open(editors: Sequence[Editor], way_back: str) -> None:
    sentence = guidance.not_left(editors, way_back)
    if sentence:
        warn(sentence)
