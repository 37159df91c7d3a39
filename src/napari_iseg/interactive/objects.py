"""What a session consists of: open objects (drafts), committed objects (parts), events that change them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from napari_iseg.labels.checks import checked_label
from napari_iseg.labels.regions import Region
from napari_iseg.prompts import Box, Click, Prompts, Window

Plane = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A click and what the viewer showed when it was made (None: no viewer)."""

    click: Click
    view: Window | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """The open object of a plane: its prompts, and the label it will get (None: the next free one).

    ``mask`` stands in place of the network's answer to the prompts: painted, or refined. The next prompt
    drops it.
    """

    marks: tuple[Placed, ...] = ()
    box: Box | None = None
    box_view: Window | None = None
    label: int | None = None
    mask: Region | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a prompt nor a mask."""
        return not self.marks and self.box is None and self.mask is None

    @property
    def prompts(self) -> Prompts:
        """The prompts without the views."""
        return Prompts(tuple(placed.click for placed in self.marks), self.box)

    def first(self, count: int) -> Draft:
        """Its first ``count`` clicks and the box: what a prediction depends on, without the label."""
        return Draft(self.marks[:count], self.box, self.box_view)


@dataclass(frozen=True, slots=True)
class Part:
    """One committed piece of an object: a plane, the pixels it was given, and its prompts."""

    plane: Plane
    region: Region
    draft: Draft


@dataclass(frozen=True, slots=True)
class Paint:
    """Pixels of a label in a plane, to be set or cleared."""

    label: int
    plane: Plane
    region: Region


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the user did; which fields are used depends on ``kind``.

    ======== ================================================================
    click    click, view
    box      box (None takes it away), view
    move     index, click (new position, same sign)
    remove   index
    reset    drops the prompts of the open object, which keeps its label
    label    label (None: the next free one) for the open object
    mask     region (pixels of the open object, in place of the network's answer)
    commit   label, region (pixels given), taken (pixels other objects lose)
    delete   label
    reopen   label, index (which part; its plane is ``plane``)
    ======== ================================================================

    ``before`` is the plane the session was in, ``plane`` the one the event belongs to.
    """

    kind: str
    plane: Plane
    before: Plane
    click: Click | None = None
    view: Window | None = None
    box: Box | None = None
    index: int | None = None
    label: int | None = None
    region: Region | None = None
    taken: tuple[tuple[int, Region], ...] = ()

    def to_record(self) -> dict[str, Any]:
        """The event as JSON values; floats keep all their digits. Numbers may come from numpy."""
        record: dict[str, Any] = {"kind": self.kind, "plane": [int(i) for i in self.plane]}
        if self.before != self.plane:
            record["before"] = [int(i) for i in self.before]
        if self.click is not None:
            record["click"] = [self.click.row, self.click.col, int(self.click.positive)]
        if self.view is not None:
            view = self.view
            record["view"] = [int(v) for v in (view.top, view.left, view.bottom, view.right)]
        if self.box is not None:
            record["box"] = [self.box.row0, self.box.col0, self.box.row1, self.box.col1]
        if self.index is not None:
            record["index"] = int(self.index)
        if self.label is not None:
            record["label"] = int(self.label)
        if self.region is not None:
            record["region"] = self.region.to_record()
        if self.taken:
            record["taken"] = [[int(label), region.to_record()] for label, region in self.taken]
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Event:
        """The event that ``to_record`` wrote."""
        click, label = record.get("click"), record.get("label")
        return cls(
            record["kind"],
            tuple(record["plane"]),
            tuple(record.get("before", record["plane"])),
            Click(click[0], click[1], bool(click[2])) if click else None,
            Window(*record["view"]) if "view" in record else None,
            Box(*record["box"]) if "box" in record else None,
            record.get("index"),
            None if label is None else checked_label(label),
            Region.from_record(record["region"]) if "region" in record else None,
            tuple((checked_label(lost), Region.from_record(rest)) for lost, rest in record.get("taken", ())),
        )


def moved(draft: Draft, index: int, click: Click) -> Draft:
    """The draft with one click elsewhere."""
    marks = list(draft.marks)
    marks[index] = replace(marks[index], click=click)
    return replace(draft, marks=tuple(marks), mask=None)
