"""What the dock does with files: labels out, sessions out and back in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.errors import CheckpointError, DeviceError, InputError, IsegError, ModelNotFoundError
from napari_iseg.widgets import scene
from napari_iseg.widgets.model_loader import ModelKey
from napari_iseg.widgets.options import Options
from napari_iseg.widgets.origin import Origin
from napari_iseg.widgets.sessions import SessionPlan, face

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_iseg.interactive.session import Session
    from napari_iseg.widgets.click_controller import ClickController
    from napari_iseg.widgets.editor import Editor

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
    """Exports labels, opens and saves sessions for a controller."""

    def __init__(self, controller: ClickController) -> None:
        self._controller = controller

    def export(self, editor: Editor) -> None:
        """Ask where to, and write the committed labels."""
        image = editor.layers.image
        file = image.source.path if image.source is not None else None
        shape = scene.image_shape(image)

        def write(session: Session, path: Path) -> str:
            from napari_iseg.widgets.map_place import export_beside

            return f"Saved {path}.{export_beside(session.labels, path, file, shape)}"

        def save(path: Path) -> None:
            editor.run_on_session(
                f"Saving {path.name}",
                lambda session: write(session, path),
                self._controller.say,
            )

        self._controller.view.ask_for_file(f"{image.name}_labels", save)

    def ask_and_open(self) -> None:
        """Ask for a session's folder, and open it."""
        start = self._controller.autosave
        self._controller.view.ask_for_folder("Open session", str(start or ""), self.open)

    def ask_and_save(self, editor: Editor) -> None:
        """Ask for a new folder; the session goes on there, and stays as it is where it was."""
        suggestion = f"{editor.layers.image.name}{SUFFIX}"
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
            return Opened.open(copy_session(session.folder, folder), session.source, session.model)

        def go_on(session: Session) -> None:
            editor.take(session)
            self._controller.say(f"Saved; this session is recorded in {folder} from now on.")

        editor.run_on_session(f"Saving {folder.name}", move, go_on)

    def open(self, folder: Path) -> None:
        """Bring a session back: its image, clicks, objects, history and model; what fails is notified."""
        try:
            self._open(folder)
        except IsegError as error:
            self._controller.fail(error)

    def _open(self, folder: Path) -> None:
        from napari_iseg.interactive.session_folder import read_info

        controller = self._controller
        for editor in controller.editors:
            if editor.session is not None and _is_at(editor.session, folder) and not editor.session.outdated:
                controller.choose_image(editor.layers.image)
                controller.view.show_images()
                controller.say("That session is open already.")
                return
        origin = Origin.of_session(read_info(folder), folder)
        if origin.channels:
            raise InputError(
                f"The session in {folder} was made on chosen channels of its image, which a viewer's layer "
                "does not have; open it in Python with Session.open(folder, image)."
            )
        image = self._image(origin)
        axes = origin.axes_in(image)
        assert axes is not None, "an image that fits was found"
        controller.choose_image(image)
        controller.view.show_images()
        scene.show_axes(controller.viewer, image, axes)
        plan = SessionPlan.of(image, axes, None)
        controller.loading = "Opening the session"
        # A dock that was opened for this session has no layer of clicks to show it in yet.
        controller.ready.prepare_points(lambda: self._reopen_in(image, plan, folder))
        controller.say("")

    def _reopen_in(self, image: Image, plan: SessionPlan, folder: Path) -> None:
        key = self._controller.choice.key
        self._controller.worker.submit_task(
            lambda _cancelled: self._reopen(plan, folder, key),
            lambda found: self._show(image, found),
            self._not_opened,
        )

    def _not_opened(self, error: Exception) -> None:
        self._controller.loading = ""
        self._controller.fail(error)
        self._controller.say(str(error))

    def _image(self, origin: Origin) -> Image:
        """The recorded image, in the viewer or opened now; where it is gone, the chosen layer if it fits."""
        controller = self._controller
        images = scene.pictures(controller.viewer)
        for image in images:
            if origin.is_that_of(image):
                return image
        try:
            return origin.open_in(controller.viewer)
        except InputError:
            if controller.image is not None and origin.axes_in(controller.image) is not None:
                return controller.image
            raise

    def _reopen(self, plan: SessionPlan, folder: Path, key: ModelKey | None) -> Reopened:
        """The session with its own model where that is here; in the worker."""
        from napari_iseg.interactive.session import Session as Opened

        axes = (plan.axes.rows, plan.axes.cols)
        session = Opened.open(folder, plan.data, rgb=plan.rgb, plane_axes=axes)
        face(session, plan.space["scale"])
        name, inference = session.recorded_model
        if not name:
            return Reopened(session, None, None, session.note)
        wanted = replace(key, name=name) if key is not None else ModelKey(name)
        try:
            model = self._controller.loader.load(wanted).with_inference(**inference)
        except (ModelNotFoundError, CheckpointError, DeviceError, InputError):
            note = f"{session.note} The session's model {name} is not here; the chosen one answers.".strip()
            return Reopened(session, None, None, note)
        session.model = model
        options = replace(Options.of_model(model), threshold=session.threshold)
        return Reopened(session, wanted, options, session.note)

    def _show(self, image: Image, found: Reopened) -> None:
        """Put a reopened session in front of the user."""
        controller, session = self._controller, found.session
        controller.loading = ""
        editor = controller.editor
        if editor is None or editor.layers.image is not image:  # gone, or another was chosen meanwhile
            session.close()
            controller.say("Another image was chosen meanwhile; open the session again.")
            return
        others = [other for other in controller.editors if other is not editor]
        editor.take(session)
        if found.key is not None and found.options is not None:
            controller.choice.take(found.key, found.options)
            controller.view.set_model(found.key.name, found.key.device)
            controller.view.set_options(found.options)
        elif controller.choice.key is not None:
            others.append(editor)
        for other in others:
            other.use_model(controller.choice.load, "Loading the model")
        scene.go_to(controller.viewer, image, editor.layers.axes, session.plane)
        editor.layers.take_clicks()  # napari made the image active when it was opened
        count = len(session.objects)
        controller.say(
            f"{found.note} Opened: {count} object{'s' if count != 1 else ''}, undo included.".strip()
        )


def _is_at(session: Session, folder: Path) -> bool:
    return session.folder is not None and session.folder.resolve() == folder.resolve()
