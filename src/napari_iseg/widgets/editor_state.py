"""What every editor has, and what can be read off it; `Editor` adds what the user does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_iseg.prompts import Box, Click, Window
from napari_iseg.widgets.layers import ClickLayers
from napari_iseg.widgets.session_news import SessionNews

if TYPE_CHECKING:
    from napari_iseg.interactive.session import Session
    from napari_iseg.widgets.editor import Editor

Plane = tuple[int, ...]
# What makes the session, with a model, in the worker; what to do once an editor has it, in the GUI thread.
SessionStart = tuple[Callable[[], "Session"], Callable[["Editor"], None]]


class EditorState:
    """The readable side of `Editor`.

    Parameters
    ----------
    layers : the layers to show things in

    Attributes
    ----------
    session : the objects; None until there is a first command
    pending : clicks whose turn has not come
    seconds : that the last answer took
    with_probability : whether its layer is shown
    """

    changed = Signal()
    failed = Signal(Exception)
    moved = Signal(object)  # the plane that undo or redo went to, for the viewer to show it

    def __init__(self, layers: ClickLayers) -> None:
        self.layers = layers
        self.session: Session | None = None
        self.news = SessionNews()
        self.pending: list[tuple[Plane, Click]] = []
        self.seconds: float | None = None
        self.with_probability = False
        self._pending_box: tuple[Plane, Box | None] | None = None
        # Commands that wait for their turn, and whether they also wait for the answer to the last click.
        self._later: deque[tuple[Callable[[], None], bool]] = deque()
        self._task = ""  # what the worker does before the next command, in words
        self._lent = False  # the session, to the worker for that: it must not be touched meanwhile
        self._open_again: list[int] = []  # what `reopened` was when it was lent
        self._predicting = False
        self._seen: Plane | None = None  # the plane that the viewer showed last
        # Sessions to go on with, and whom to tell whether they are gone on with.
        self._coming: deque[tuple[Session, Callable[[bool], None]]] = deque()

    @property
    def activity(self) -> str:
        """What is going on, in words; empty when nothing is."""
        return self._task or ("Computing" if self._predicting else "")

    @property
    def clicks(self) -> list[tuple[Plane, Click]]:
        """All clicks of the current object with their plane, those that still wait at the end."""
        done = [] if self.session is None else [(self._plane(), click) for click in self.session.clicks]
        return done + self.pending

    @property
    def has_object(self) -> bool:
        """Whether something is open that a command could work on."""
        known = None if self.session is None or self._lent else self.session.patch
        return self.has_prompts or known is not None

    @property
    def box(self) -> tuple[Plane, Box] | None:
        """The box of the current object with its plane, also one that still waits."""
        if self._pending_box is not None:
            plane, box = self._pending_box
            return None if box is None else (plane, box)
        box = None if self.session is None else self.session.current_box
        return None if box is None else (self._plane(), box)

    @property
    def has_prompts(self) -> bool:
        """Whether the current object has clicks or a box."""
        return bool(self.clicks) or self.box is not None

    @property
    def reopened(self) -> list[int]:
        """Labels of objects that are open again, and not in the labels; during a task those before it."""
        if self.session is None:
            return []
        return self._open_again if self._lent else sorted(self.session.reopened.values())

    @property
    def folder(self) -> Path | None:
        """Of the session, or of the one that is being gone on with; None where nothing is recorded."""
        if self.session is not None:
            return self.session.folder
        return self.layers.left_session if self.is_begun else None

    @property
    def is_begun(self) -> bool:
        """Whether the session is open, or being opened."""
        return self.session is not None or bool(self._later)

    @property
    def busy_with_task(self) -> bool:
        """Whether the worker does something that the next command waits for."""
        return bool(self._task)

    @property
    def settled(self) -> bool:
        """Whether all commands were carried out and the last click was answered."""
        return not (self._later or self._task or self._predicting)

    @property
    def _session(self) -> Session:
        assert self.session is not None, "commands run once the session is open"
        return self.session

    def _plane(self) -> Plane:
        return tuple(self._session.plane or ())

    def _label_at(self, plane: Plane, row: float, col: float) -> int:
        """The committed label at a position; 0 where there is none."""
        top, left = round(row), round(col)
        return int(self._session.labels.read(plane, Window(top, left, top + 1, left + 1))[0, 0])
