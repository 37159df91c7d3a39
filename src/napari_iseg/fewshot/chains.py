"""Sequential mode: which neighbour's answer each unit is given, from both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_iseg.errors import InputError
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.jobs import Unit
from napari_iseg.fewshot.support_store import SupportRef

Step = tuple[Unit, str, tuple[str, ...], tuple[float, ...]]


def chained(
    frame: Frame, grid: Grid, supports: Sequence[SupportRef], planes: Sequence[Plane]
) -> Iterator[Step]:
    """Units with stage, parents and their weights, parents first.

    From every annotated slice two chains run outward along the slicing axis, each step given the answer of
    the step before. Between two annotated slices ``a`` and ``b`` the final answer is
    ``(d_b Q_a + d_a Q_b) / (d_a + d_b)``. Lines of planes (time points, say) without an annotated slice are
    independent.

    Raises
    ------
    InputError
        For a scene, which has no neighbouring slices.
    """
    if frame.slicing is None:
        raise InputError("A scene has no neighbouring slices; use the independent mode.")
    place = frame.place
    lines: dict[Plane, list[int]] = {}
    for plane in planes:
        lines.setdefault(_line(plane, place), []).append(plane[place])
    for line, wanted in lines.items():
        ends = sorted({ref.plane[place] for ref in supports if _line(ref.plane, place) == line})
        for tile in grid.tiles():
            yield from _line_steps(line, place, ends, sorted(wanted), tile)


def _line_steps(
    line: Plane, place: int, ends: list[int], wanted: list[int], tile: tuple[int, int]
) -> Iterator[Step]:
    """All steps of one tile of one line."""

    def unit(at: int) -> Unit:
        return Unit((*line[:place], at, *line[place:]), *tile)

    if not ends:
        yield from ((unit(at), "final", (), ()) for at in wanted)
        return
    needed = _ends_needed(ends, wanted)
    yield from ((unit(at), "final", (), ()) for at in sorted(needed | {at for at in wanted if at in ends}))
    reached: dict[tuple[str, int], str] = {}
    for stage, step in (("up", 1), ("down", -1)):
        for end in ends:
            before = unit(end).name
            for at in _chain(end, step, ends, wanted):
                yield unit(at), stage, (before,), (1.0,)
                before = reached[stage, at] = f"{unit(at).name}-{stage}"
    for at in wanted:
        if at in ends:
            continue
        below, above = reached.get(("up", at)), reached.get(("down", at))
        if below is not None and above is not None:
            under, over = max(e for e in ends if e < at), min(e for e in ends if e > at)
            share = (over - at) / (over - under)
            yield unit(at), "final", (below, above), (share, 1 - share)
        else:
            alone = below if below is not None else above
            assert alone is not None
            yield unit(at), "final", (alone,), (1.0,)


def _chain(end: int, step: int, ends: list[int], wanted: list[int]) -> list[int]:
    """Slices that a chain from ``end`` goes through: to the farthest wanted one before the next end."""
    beyond = [at for at in wanted if (at - end) * step > 0]
    stops = [other for other in ends if (other - end) * step > 0]
    if stops:
        border = min(stops, key=lambda other: abs(other - end))
        beyond = [at for at in beyond if (border - at) * step > 0]
    if not beyond:
        return []
    last = max(beyond, key=lambda at: abs(at - end))
    return list(range(end + step, last + step, step))


def _ends_needed(ends: list[int], wanted: list[int]) -> set[int]:
    """The annotated slices that a chain starts from."""
    return {end for end in ends for step in (1, -1) if _chain(end, step, ends, wanted)}


def _line(plane: Plane, place: int) -> Plane:
    """A plane's index without the slicing axis."""
    return (*plane[:place], *plane[place + 1 :])
