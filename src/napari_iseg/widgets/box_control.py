"""Boxes in the dock: offered where the model takes them, drawn, edited, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_iseg.widgets import scene
from napari_iseg.widgets.box_layer import Placed

if TYPE_CHECKING:
    from napari_iseg.widgets.click_controller import ClickController


class BoxControl:
    """What the controller does about boxes.

    Parameters
    ----------
    controller : whose editor, model and view are meant
    """

    def __init__(self, controller: ClickController) -> None:
        self._controller = controller

    def draw(self) -> None:
        """Let the next drag draw the object's box, if the model takes boxes."""
        controller = self._controller
        if controller.editor is None or not controller.choice.takes_boxes:
            controller.say("This model takes no boxes; click on the object, or choose one that takes them.")
            return
        controller.editor.layers.draw_box()
        controller.say("")  # the status says how

    def stop_drawing(self) -> bool:
        """Have clicks again where the next drag would draw a box; whether it would have."""
        editor = self._controller.editor
        if editor is None or not editor.layers.drawing:
            return False
        editor.layers.end_drawing()
        return True

    @property
    def hint(self) -> str:
        """What to do about a box that the model in use cannot answer; empty where there is none."""
        controller, editor = self._controller, self._controller.editor
        if editor is None or editor.box is None or controller.choice.takes_boxes:
            return ""
        if editor.session is not None and editor.session.has_mask:
            return ""  # which stands, and may be committed
        return (
            "This model does not take boxes: remove the box (Esc, its clicks go too) and click on the "
            "object, or choose a model that takes them."
        )

    def take(self, placed: Placed | None) -> None:
        """A box was drawn or edited in its layer, or deleted."""
        controller, editor = self._controller, self._controller.editor
        if editor is None:
            return
        controller.say("")
        view = scene.visible_window(editor.layers.image, editor.layers.axes, controller.viewer)
        if placed is not None:
            editor.give_box(*placed, view)
        elif editor.box is not None:
            editor.give_box(editor.box[0], None, view)

    def update(self) -> None:
        """Show what the model in use takes, and the layer of boxes where it takes them.

        An object that has a box keeps the layer under a model without boxes, so that it can be deleted.
        """
        controller, editor = self._controller, self._controller.editor
        if editor is not None and editor.session is not None and not editor.busy_with_task:
            model = editor.session.model
            controller.choice.prompts = controller.choice.prompts if model is None else model.card.prompts
        controller.view.set_prompts(controller.choice.prompts)
        if editor is not None and editor.layers.are_shown:
            editor.layers.offer_boxes(controller.choice.takes_boxes or editor.box is not None)
