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
      are taken as long as each brings the share nearer; one that is too large is passed over. Where all are,
      the one that fits best is taken.
    * Slices of a volume (with a position) are split in one block: a run of slices at a place given by the
      hash of seed and volume, and a gap of a twentieth of the slices (at least one) on either side that
      belongs to neither.
    * Images that are all one run of numbers are treated like the slices of one volume; so is each of a few
      runs where every one of them is too large for the share.

    Parameters
    ----------
    items : (name, group, position) of each image
    validation : share of the images held out, above 0 and below 1
    seed : another seed gives another split
    """
    check_share(validation)
    single = [i for i, (_, _, position) in enumerate(items) if position is None]
    volumes: dict[str, list[int]] = defaultdict(list)
    for i, (_, volume, position) in enumerate(items):
        if position is not None:
            volumes[volume].append(i)
    names = [items[i][0] for i in single]
    groups, runs = image_groups(names), list(volumes.items())
    if _like_volumes(groups, validation):
        for group in groups:
            members = [single[k] for k in sorted(group, key=lambda k: _number(names[k]))]
            runs.append((_NUMBER.sub("", names[group[0]]), members))
        groups = []
    held_out = [single[k] for k in _take(groups, names, validation, seed)]
    dropped: set[int] = set()
    for name, slices in runs:
        block, gap = _block(name, slices, validation, seed)
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


def _like_volumes(groups: list[list[int]], share: float) -> bool:
    """Whether runs of images are cut: one alone, or a few of which none may be held out as a whole."""
    if len(groups) == 1:
        return len(groups[0]) > 1
    wanted = share * sum(map(len, groups))
    return all(len(group) >= 2 * wanted and _leaves_some(len(group), share) for group in groups)


def _take(groups: list[list[int]], names: Sequence[str], share: float, seed: int) -> list[int]:
    """Whole groups in hash order, each that brings the share nearer; at least one, never all."""
    if len(groups) < 2:
        return []
    wanted, taken = share * len(names), list[int]()
    ordered = sorted(groups, key=lambda group: _hash(seed, min(names[i] for i in group)))
    for group in ordered:
        count = len(taken) + len(group)
        if count < len(names) and abs(count - wanted) < abs(len(taken) - wanted):
            taken += group
    return taken or min(ordered, key=lambda group: abs(len(group) - wanted))


def _block(name: str, members: list[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    count = len(members)
    size, gap = _block_sizes(count, share)
    start = _hash(seed, name) % (count - size + 1)
    block = members[start : start + size]
    beside = members[max(0, start - gap) : start] + members[start + size : start + size + gap]
    return block, beside


def _block_sizes(count: int, share: float) -> tuple[int, int]:
    """How many of ``count`` slices a block has, and how many lie in the gap on either side of it."""
    return max(1, round(share * count)) if count > 1 else 0, max(1, count // 20)


def _leaves_some(count: int, share: float) -> bool:
    size, gap = _block_sizes(count, share)
    return size + 2 * gap < count


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
