"""Troubles as napari notifications."""

from __future__ import annotations

import re

from napari_iseg.errors import InputError, IsegError

_DEVICE_IN_PYTHON = re.compile(r"use device='\w+'( or '\w+')*")
_OVERWRITE_IN_PYTHON = ", or commit with overwrite=True"


def warn(sentence: str) -> None:
    """Show a hint."""
    from napari.utils.notifications import show_warning

    show_warning(sentence)


def in_the_dock(error: Exception) -> str:
    """The sentence of an error with what to do in a dock, where it says what to do in Python."""
    words = str(error).replace(_OVERWRITE_IN_PYTHON, "")
    return _DEVICE_IN_PYTHON.sub("choose another in the list Device", words)


def report(error: Exception) -> None:
    """Show an error: our own by their sentence, others with napari's traceback view."""
    from napari.utils.notifications import notification_manager, show_error

    if isinstance(error, InputError):
        warn(in_the_dock(error))
    elif isinstance(error, IsegError):
        show_error(in_the_dock(error))
    elif isinstance(error, MemoryError):
        show_error(
            "There is not enough memory for this; close other images or programs, or take a smaller model."
        )
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
