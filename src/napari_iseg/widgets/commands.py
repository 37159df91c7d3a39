"""Carries out the actions of the table; some wait for a click in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_iseg.widgets import scene

if TYPE_CHECKING:
    from napari_iseg.widgets.click_controller import ClickController
    from napari_iseg.widgets.editor import Editor


class Commands:
    """What the controller does when a button or key of the dock is pressed.

    Parameters
    ----------
    controller : whose editor, files and view are meant

    Attributes
    ----------
    armed : "pick" or "delete" when the next click in the image means that, else ""
    """

    def __init__(self, controller: ClickController) -> None:
        self._controller = controller
        self.armed = ""

    def perform(self, name: str) -> None:
        """Carry out an action; pick and delete act on what is clicked next."""
        controller = self._controller
        armed, self.armed = self.armed, ""
        if name == "reset" and (armed or controller.boxes.stop_drawing()):  # Esc calls that off first
            controller.say("")
        elif name == "toggle_sign":
            controller.choose_sign(not controller.positive)
            controller.say("")
        elif name == "open_session":
            controller.files.ask_and_open()
        elif controller.editor is None:
            controller.say("")  # the status says what is missing
        else:
            controller.ensure_points()
            self._on_editor(name, controller.editor, armed)

    def _on_editor(self, name: str, editor: Editor, armed: str) -> None:
        controller = self._controller
        if name in ("pick", "delete"):
            self._arm(name, editor, armed)
        elif name == "probability":
            controller.show_probability(not editor.with_probability)
        elif name == "next_label":
            editor.choose_label(None)
        elif name == "commit":
            controller.hands.expect_click()
            if editor.has_prompts:
                editor.commit()
            else:
                controller.say("There is nothing to commit; click on an object first.")
        elif name == "refine_edges":
            controller.edges.refine(editor, controller.say)
        elif name == "box":
            controller.boxes.draw()
        elif name == "save":
            controller.files.export(editor)
        elif name == "save_session":
            controller.files.ask_and_save(editor)
        elif name in ("undo", "redo", "reset"):
            getattr(editor, name)()

    def _arm(self, name: str, editor: Editor, armed: str) -> None:
        if editor.layers.committed is None:
            self._controller.say("Nothing is committed yet.")
            return
        self.armed = "" if armed == name else name
        self._controller.hands.expect_click()
        self._controller.say("")

    def take_click(self, position: Sequence[float]) -> bool:
        """Give a click at a world position to the action that waits for one; whether there was one."""
        name, self.armed = self.armed, ""
        editor = self._controller.editor
        if name and editor is not None:
            where = scene.locate(editor.layers.viewer, editor.layers.image, editor.layers.axes, position)
            if where is None:
                self._missed()
            else:
                editor.act_on(name, *where, self._missed)
        return bool(name)

    def _missed(self) -> None:
        self._controller.say(
            "No object of this session lies there. Open session… takes an earlier session up again."
        )
