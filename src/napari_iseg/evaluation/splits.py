"""Splitting annotated images into training and validation parts without near-duplicates across the border."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from numbers import Real
from typing import Any

from napari_iseg.errors import InputError

Key = tuple[str, str, int | None]  # name, group, position along a volume's axis
_NUMBER = re.compile(r"\d+$")
_MIN_GROUPS = 4


def split_items(items: Sequence[Key], validation: float = 0.2, seed: int = 0) -> tuple[list[int], list[int]]:
    """Indices of the training and of the validation images.

    * Images go as a whole. Names that differ only in their last number are one group and stay together; where
      that would leave fewer than four groups, only directly following numbers do (a01, a02 but not a01, a05).
      Groups are ordered by a hash of seed and name, so adding an image does not reshuffle the others, and
      are taken until the share is reached.
    * Slices of a volume (with a position) are split in one block: a run of slices at a place given by the
      hash of seed and volume, and a gap of a twentieth of the slices (at least one) on either side that
      belongs to neither.
    * Images that are all one run of numbers are treated like the slices of one volume.

    Parameters
    ----------
    items : (name, group, position) of each image
    validation : share of the images held out, above 0 and below 1
    seed : another seed gives another split
    """
    check_share(validation)
    single = [i for i, (_, _, position) in enumerate(items) if position is None]
    volumes: dict[str, list[int]] = defaultdict(list)
    for i, (_, group, position) in enumerate(items):
        if position is not None:
            volumes[group].append(i)
    groups = image_groups([items[i][0] for i in single])
    if len(groups) == 1 and len(single) > 1:
        volumes[_NUMBER.sub("", items[single[0]][0])] = sorted(single, key=lambda i: _number(items[i][0]))
        groups = []
    held_out = [single[k] for k in _take(groups, [items[i][0] for i in single], validation, seed)]
    dropped: set[int] = set()
    for name, members in volumes.items():
        block, gap = _block(name, members, validation, seed)
        held_out += block
        dropped.update(gap)
    out = set(held_out)
    return [i for i in range(len(items)) if i not in out and i not in dropped], sorted(out)


def check_share(validation: Any) -> None:
    """Refuse what is no share of the images to hold out."""
    if not isinstance(validation, Real) or not 0 < float(validation) < 1:
        raise InputError(f"The validation share must lie between 0 and 1, got {validation!r}.")


def image_groups(names: Sequence[str]) -> list[list[int]]:
    """Indices of names that may show the same thing, by their trailing numbers (see `split_items`)."""
    by_stem: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        by_stem[_NUMBER.sub("", name) or "#"].append(i)
    if len(by_stem) >= _MIN_GROUPS:
        # a name that is nothing but a number shares no stem with anybody
        alone = [[i] for i in by_stem.pop("#", [])]
        return [*by_stem.values(), *alone]
    groups: list[list[int]] = []
    for members in by_stem.values():
        before = None
        for i in sorted(members, key=lambda i: _number(names[i])):
            if before is not None and _number(names[i]) - before <= 1:
                groups[-1].append(i)
            else:
                groups.append([i])
            before = _number(names[i])
    return groups


def _number(name: str) -> int:
    found = _NUMBER.search(name)
    return int(found.group()) if found else -1


def _take(groups: list[list[int]], names: Sequence[str], share: float, seed: int) -> list[int]:
    """Whole groups in hash order while they bring the share nearer; at least one, never all."""
    wanted, taken = share * len(names), list[int]()
    ordered = sorted(groups, key=lambda group: _hash(seed, min(names[i] for i in group)))
    for group in ordered[: max(0, len(ordered) - 1)]:
        if not taken or abs(len(taken) + len(group) - wanted) < abs(len(taken) - wanted):
            taken += group
    return taken


def _block(name: str, members: list[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    count = len(members)
    size = max(1, round(share * count)) if count > 1 else 0
    gap = max(1, count // 20)
    start = _hash(seed, name) % (count - size + 1)
    block = members[start : start + size]
    beside = members[max(0, start - gap) : start] + members[start + size : start + size + gap]
    return block, beside


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
