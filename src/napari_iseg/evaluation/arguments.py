"""Arguments of evaluation of another kind than they must be, refused before any work."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from napari_iseg.errors import InputError

KINDS = ("instances", "semantic", "binary")


def check_whole(name: str, value: Any, least: int = 1, *, or_none: bool = False) -> None:
    """Refuse what is no whole number of at least ``least``, unless it is None and may be that."""
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        also = ", or None for all" if or_none else ""
        raise InputError(f"{name} must be a whole number of at least {least}{also}, got {value!r}.")


def check_kind(kind: Any) -> None:
    """Refuse a kind of labels that there is not."""
    if kind is not None and kind not in KINDS:
        raise InputError(f"Labels are of the kind {', '.join(map(repr, KINDS))} or None, got {kind!r}.")


def check_ignore(ignore: Any) -> None:
    """Refuse what is no label value that could be ignored."""
    if ignore is not None and (isinstance(ignore, bool) or not isinstance(ignore, Integral)):
        raise InputError(f"ignore must be a label's whole number, or None for none, got {ignore!r}.")
