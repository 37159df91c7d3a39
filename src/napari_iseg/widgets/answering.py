"""What answers is what the dock shows, also after a model or option was refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_iseg.errors import SaveError
from napari_iseg.widgets.options import Options

if TYPE_CHECKING:
    from napari_iseg.widgets.click_controller import ClickController
    from napari_iseg.widgets.editor import Editor


def follow_choice(controller: ClickController, editor: Editor) -> None:
    """Have the session of an image that is chosen again answer with what the dock shows."""
    choice, session = controller.choice, editor.session
    model = None if session is None else session.model
    if model is not None and not choice.is_that_of(model):  # which it could not take then
        editor.use_model(choice.load, "Loading the model")
    follow_threshold(controller, editor)


def follow_threshold(controller: ClickController, editor: Editor) -> None:
    """Have a session that was opened with another threshold follow one that was chosen."""
    if controller.choice.options_chosen:
        editor.use_threshold(controller.choice.options.threshold)


def fall_back(controller: ClickController, error: Exception) -> None:
    """After ``error``: show the model and options that still answer, where others could not be taken."""
    usable = controller.choice.fall_back(error)
    if usable is not None:
        _show(controller)
        for editor in controller.editors:
            follow_threshold(controller, editor)
            editor.try_again()
    elif isinstance(error, SaveError):
        _keep_own(controller)


def _keep_own(controller: ClickController) -> None:
    """The chosen image's session could not record another model or threshold: it has its own still."""
    choice, editor = controller.choice, controller.editor
    session = None if editor is None else editor.session
    model = None if session is None else session.model
    key = None if model is None else choice.key_of(model)
    if session is None or model is None or key is None:
        return
    options = replace(Options.of_model(model), threshold=session.threshold)
    if (key, options) != (choice.key, choice.options):
        choice.take(key, options)
        _show(controller)
        for other in controller.editors:
            if other is not editor:
                other.use_model(choice.load, "Loading the model")


def _show(controller: ClickController) -> None:
    if controller.choice.key is not None:
        controller.view.set_model(controller.choice.key.name, controller.choice.key.device)
        controller.view.set_options(controller.choice.options)
