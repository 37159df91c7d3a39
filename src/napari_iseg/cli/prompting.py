"""Prompts of the command line: read from options, given to a session object by object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from time import perf_counter
from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import numbers, progress
from napari_iseg.errors import InputError
from napari_iseg.prompts import Box, Click, Prompts

if TYPE_CHECKING:
    from napari_iseg.interactive.edge_job import EdgeJob
    from napari_iseg.interactive.edges import Refiner
    from napari_iseg.interactive.session import Session


def read_objects(
    clicks: Sequence[str], background: Sequence[str], boxes: Sequence[str], *, each: bool
) -> list[Prompts]:
    """Prompts of every object from what was typed, clicks on it first.

    Raises
    ------
    InputError
        Without a prompt, or where it is open which object a prompt belongs to.
    """
    on = [_click(text, "--click", "120,88", positive=True) for text in clicks]
    off = [_click(text, "--background", "30,40", positive=False) for text in background]
    if not on and not boxes:
        raise InputError("Say where the object is: add --click ROW,COL or --box R0,C0,R1,C1.")
    if boxes and each:
        raise InputError("--each is for clicks: every box is an object of its own anyway; leave one out.")
    if len(boxes) > 1 and on:
        raise InputError("To which of several boxes a click belongs is not known; give one --box with it.")
    if boxes:
        corners = [Box(*numbers(text, "--box", "20,30,60,90", 4)) for text in boxes]
        return [Prompts((*on, *off), box) for box in corners]
    return [Prompts((click, *off)) for click in on] if each else [Prompts((*on, *off))]


def run_prompts(
    session: Session,
    objects: Sequence[Prompts],
    *,
    overwrite: bool = False,
    refiner: Refiner | None = None,
) -> list[dict[str, Any]]:
    """Box, click and commit one object after the other; what is known of each, ready for JSON.

    Where objects meet, pixels stay with the one that came first, or with ``overwrite`` go to the later one.
    ``refiner`` makes each mask exact along its edges before it is committed.

    Raises
    ------
    InputError
        For a prompt outside the image, a box for a model without boxes, or prompts that select nothing.
    """
    found = []
    total = sum(len(prompts.clicks) + (prompts.box is not None) for prompts in objects)
    with progress("segmenting", total) as advance:
        for prompts in objects:
            start = perf_counter()
            if prompts.box is not None:
                session.append_box(prompts.box)
                _answer(session)
                advance(1)
            for click in prompts.clicks:
                session.append_click((click.row, click.col), click.positive)
                _answer(session)
                advance(1)
            here = _place(prompts)
            if session.patch is None or not session.patch.mask.any():
                raise InputError(
                    f"The prompts of the object at {here} select nothing; move them or add another --click."
                )
            if refiner is not None:
                session.finish_edges(_edge_job(session, refiner).run())
            label = _commit(session, here, overwrite)
            placed = [(c.row, c.col, c.positive) for c in prompts.clicks]
            record = {"label": label, **_extent(session, label), "clicks": placed}
            if prompts.box is not None:
                record["prompt_box"] = astuple(prompts.box)
            found.append(record | {"seconds": round(perf_counter() - start, 3)})
    return found


def _answer(session: Session) -> None:
    """Compute the mask: not by Session.click, whose answer on a large scene is a whole plane."""
    job = session.job()
    if job is not None:
        session.finish(job.run())


def _edge_job(session: Session, refiner: Refiner) -> EdgeJob:
    return session.edge_job(lambda: refiner)


def _place(prompts: Prompts) -> str:
    """Where an object is, in words: its first click, or its box."""
    if prompts.clicks:
        return f"{prompts.clicks[0].row:g},{prompts.clicks[0].col:g}"
    assert prompts.box is not None
    return ",".join(f"{value:g}" for value in astuple(prompts.box))


def _commit(session: Session, where: str, overwrite: bool) -> int:
    """Commit the open object, and say it in the command line's words when nothing of it is left."""
    try:
        return session.commit(overwrite=overwrite)
    except InputError as error:
        raise InputError(f"The object at {where} lies on objects before it; give it first.") from error


def _extent(session: Session, label: int) -> dict[str, Any]:
    """Pixels of a committed object, and its box as [top, left, bottom, right], half-open."""
    from napari_iseg.labels.regions import tight, tiles_of

    area, box = 0, None
    for trace in session.labels.traces_of(label):
        for tile in tiles_of(trace.window):
            mask = session.labels.read(trace.plane, tile) == label
            area += int(mask.sum())
            found = tight(tile, mask)
            box = found if box is None or found is None else box.union(found)
    return {"area": area, "box": [box.top, box.left, box.bottom, box.right] if box is not None else None}


def _click(text: str, option: str, example: str, *, positive: bool) -> Click:
    row, col = numbers(text, option, example, 2)
    return Click(row, col, positive)
