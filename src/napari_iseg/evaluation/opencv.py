"""OpenCV, where it is needed: contours, fast morphology. It comes with the extra ``train``."""

from __future__ import annotations

from typing import Any

from napari_iseg.errors import InputError


def opencv() -> Any:
    """The module cv2.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        raise InputError('This needs OpenCV; install it with pip install "napari-iseg[train]".') from None
    return cv2
