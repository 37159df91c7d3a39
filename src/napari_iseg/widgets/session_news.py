"""What a session tells while a task runs, kept until the GUI thread asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_iseg.interactive.session import Session


class SessionNews:
    """Hears one session at a time, in whichever thread it speaks."""

    def __init__(self) -> None:
        self._labels = False
        self._commit: tuple[int, int] | None = None
        self._reset: int | None = None

    def hear(self, session: Session) -> None:
        """Listen to a session; labels that it has already are news."""
        self._labels = session.labels.next_label() > 1
        session.events.labels_changed.connect(self._labels_changed)
        session.events.committed.connect(self._committed)

    def take_labels(self) -> bool:
        """Whether labels were written since the last time this was asked."""
        changed, self._labels = self._labels, False
        return changed

    def take_commit(self) -> tuple[int, int] | None:
        """The last commit, once: its label, and how many pixels stayed with other objects."""
        commit, self._commit = self._commit, None
        return commit

    def reset(self, session: Session) -> None:
        """Drop the prompts of the open object, which is news of a reopened one: it is nowhere then."""
        label = session.reopened.get(session.plane)
        session.reset()
        self._reset = label

    def take_reset(self) -> int | None:
        """The label of a reopened object that was reset, once."""
        label, self._reset = self._reset, None
        return label

    def _labels_changed(self, *_where: Any) -> None:
        self._labels = True

    def _committed(self, label: int, kept: int) -> None:
        self._commit = (label, kept)
