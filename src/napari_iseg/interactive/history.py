"""History: the state of a session as a fold over its events, with unlimited and exact undo.

``plan`` is pure: from the present state and an event it says what will differ (a ``Step``, with the old and
the new value of everything that changes). Doing, undoing and redoing put the new or the old values in place,
so undo cannot drift from do, and a journal replayed gives the same state as the session that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from napari_iseg.errors import InputError
from napari_iseg.interactive.objects import Draft, Event, Paint, Part, Placed, Plane, moved
from napari_iseg.labels.regions import Region

Parts = tuple[Part, ...]
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True)
class Snapshot:
    """Present values. ``drafts`` and ``objects`` hold no empty entries."""

    plane: Plane
    next_label: int
    drafts: dict[Plane, Draft] = field(default_factory=dict)
    objects: dict[int, Parts] = field(default_factory=dict)

    def draft(self, plane: Plane) -> Draft:
        """The open object of a plane; an empty one when there is none."""
        return self.drafts.get(plane, Draft())


@dataclass(frozen=True, slots=True)
class Step:
    """What an event changes: pairs of (before, after), and the pixels that go and come (in this order)."""

    event: Event
    draft: tuple[Draft, Draft]
    parts: Mapping[int, tuple[Parts, Parts]] = field(default_factory=dict)
    next_label: tuple[int, int] = (1, 1)
    gone: tuple[Paint, ...] = ()
    come: tuple[Paint, ...] = ()


class History:
    """Steps done and undone, and the state they lead to.

    Parameters
    ----------
    plane : tuple of int
        The plane the session starts in.
    next_label : int
        The first free label.
    """

    def __init__(self, plane: Plane, next_label: int) -> None:
        self.now = Snapshot(plane, next_label)
        self.highest = next_label  # that next_label ever was, whatever was undone since
        self._done: list[Step] = []
        self._undone: list[Step] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return bool(self._undone)

    @property
    def reopened(self) -> dict[Plane, int]:
        """Committed objects that are open again, by plane: taken out of the labels, not yet put back."""
        found: dict[Plane, int] = {}
        for step in self._done:
            if step.event.kind == "reopen" and step.event.label is not None:
                found[step.event.plane] = step.event.label
            elif step.event.kind in ("commit", "reset"):  # without its prompts it is still open
                found.pop(step.event.plane, None)
        return found

    def plan(self, event: Event) -> Step:
        """What ``event`` would change; raises InputError when it cannot be done."""
        draft = self.now.draft(event.plane)
        if event.kind in _DRAFT_RULES:
            after = _DRAFT_RULES[event.kind](draft, event)
            return Step(event, (draft, after), next_label=(self.now.next_label,) * 2)
        return _OBJECT_RULES[event.kind](self.now, draft, event)

    def do(self, step: Step) -> None:
        """Make a planned step; what was undone before is gone."""
        self._put(step, 1)
        self.highest = max(self.highest, self.now.next_label)
        self._done.append(step)
        self._undone.clear()

    def undo(self) -> Step:
        """Take back the last step and return it."""
        step = self._done.pop()
        self._put(step, 0)
        self._undone.append(step)
        return step

    def redo(self) -> Step:
        """Make the last undone step again and return it."""
        step = self._undone.pop()
        self._put(step, 1)
        self._done.append(step)
        return step

    def _put(self, step: Step, side: int) -> None:
        """Put the values before (0) or after (1) a step in place."""
        now = self.now
        now.plane = step.event.plane if side else step.event.before
        now.next_label = step.next_label[side]
        _assign(now.drafts, step.event.plane, step.draft[side], Draft())
        for label, values in step.parts.items():
            _assign(now.objects, label, values[side], ())


def _assign(table: dict[_K, _V], key: _K, value: _V, empty: _V) -> None:
    if value == empty:
        table.pop(key, None)
    else:
        table[key] = value


def _index(draft: Draft, event: Event) -> int:
    index = event.index
    if index is None or not 0 <= index < len(draft.marks):
        raise InputError(
            f"There is no click number {index}; the object has {len(draft.marks)} clicks, counted from 0."
        )
    return index


def _clicked(draft: Draft, event: Event) -> Draft:
    assert event.click is not None
    return replace(draft, marks=(*draft.marks, Placed(event.click, event.view)), mask=None)


def _boxed(draft: Draft, event: Event) -> Draft:
    return replace(draft, box=event.box, box_view=event.view, mask=None)


def _moved(draft: Draft, event: Event) -> Draft:
    assert event.click is not None
    return moved(draft, _index(draft, event), event.click)


def _removed(draft: Draft, event: Event) -> Draft:
    index = _index(draft, event)
    return replace(draft, marks=draft.marks[:index] + draft.marks[index + 1 :], mask=None)


def _reset(draft: Draft, event: Event) -> Draft:  # noqa: ARG001 - all rules take the same
    return Draft(label=draft.label)


def _labelled(draft: Draft, event: Event) -> Draft:
    return replace(draft, label=event.label)


def _masked(draft: Draft, event: Event) -> Draft:
    return replace(draft, mask=event.region)


def _committed(now: Snapshot, draft: Draft, event: Event) -> Step:
    label, region = event.label, event.region
    assert label is not None
    assert region is not None
    old = now.objects.get(label, ())
    parts = {label: (old, (*old, Part(event.plane, region, replace(draft, label=None))))}
    for other, pixels in event.taken:
        if other in now.objects:
            parts[other] = (now.objects[other], _less(now.objects[other], event.plane, pixels))
    # A number that has an object on this plane already is a class: it stays for the next one.
    again = draft.label == label and any(part.plane == event.plane for part in old)
    return Step(
        event,
        (draft, Draft(label=label if again else None)),
        parts,
        (now.next_label, max(now.next_label, label + 1)),
        gone=tuple(Paint(other, event.plane, pixels) for other, pixels in event.taken),
        come=(Paint(label, event.plane, region),),
    )


def _less(parts: Parts, plane: Plane, pixels: Region) -> Parts:
    """Parts of an object without pixels that another one took; a part without pixels keeps its clicks."""
    return tuple(replace(p, region=p.region.without(pixels)) if p.plane == plane else p for p in parts)


def _known(now: Snapshot, label: int | None) -> Parts:
    if label is None or label not in now.objects:
        names = ", ".join(str(name) for name in sorted(now.objects)[:20]) or "none yet"
        raise InputError(f"There is no committed object {label} in this session; there are: {names}.")
    return now.objects[label]


def _deleted(now: Snapshot, draft: Draft, event: Event) -> Step:
    parts = _known(now, event.label)
    assert event.label is not None
    gone = tuple(Paint(event.label, part.plane, part.region) for part in parts)
    return Step(event, (draft, draft), {event.label: (parts, ())}, (now.next_label,) * 2, gone=gone)


def _reopened(now: Snapshot, draft: Draft, event: Event) -> Step:
    parts = _known(now, event.label)
    assert event.label is not None
    assert event.index is not None
    if not draft.is_empty:
        raise InputError(
            "Another object is open in this plane; commit or reset it before reopening this one."
        )
    part = parts[event.index]
    rest = parts[: event.index] + parts[event.index + 1 :]
    return Step(
        event,
        (draft, replace(part.draft, label=event.label)),
        {event.label: (parts, rest)},
        (now.next_label,) * 2,
        gone=(Paint(event.label, part.plane, part.region),),
    )


_DRAFT_RULES: Mapping[str, Callable[[Draft, Event], Draft]] = {
    "click": _clicked,
    "box": _boxed,
    "move": _moved,
    "remove": _removed,
    "reset": _reset,
    "label": _labelled,
    "mask": _masked,
}
_OBJECT_RULES: Mapping[str, Callable[[Snapshot, Draft, Event], Step]] = {
    "commit": _committed,
    "delete": _deleted,
    "reopen": _reopened,
}
