"""Troubles as napari notifications."""

from __future__ import annotations

from napari_iseg.errors import InputError, IsegError


def warn(sentence: str) -> None:
    """Show a hint."""
    from napari.utils.notifications import show_warning

    show_warning(sentence)


def report(error: Exception) -> None:
    """Show an error: our own by their sentence, others with napari's traceback view."""
    from napari.utils.notifications import notification_manager, show_error

    if isinstance(error, InputError):
        warn(str(error))
    elif isinstance(error, IsegError):
        show_error(str(error))
    elif isinstance(error, MemoryError):
        show_error(
            "There is not enough memory for this; close other images or programs, or take a smaller model."
        )
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
