"""Networks of one method that differ in their sizes alone, and how a state dict tells whose it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import shape_differences

S = TypeVar("S")


@dataclass(frozen=True)
class Family(Generic[S]):
    """All networks of one method.

    Parameters
    ----------
    variants : the published ones by name
    read : checks a variant's mapping; InputError for sizes that describe no network
    guess : the sizes that keys and shapes, and hints, point to, unproved; None where there are none
    shapes : key -> shape of everything that a network uses
    unused : keys that published files have besides
    words : what people call a network, from its sizes and its name (None where it has none)
    """

    variants: Mapping[str, Variant]
    read: Callable[[Variant], S]
    guess: Callable[[Shapes, Mapping[str, Any]], S | None]
    shapes: Callable[[S], Shapes]
    unused: re.Pattern[str]
    words: Callable[[S, str | None], str]

    def name(self, sizes: S) -> str | None:
        """The published name of these sizes, if they have one."""
        return next((name for name, variant in self.variants.items() if self.read(variant) == sizes), None)

    def label(self, sizes: S) -> str:
        """What people call a network of these sizes."""
        return self.words(sizes, self.name(sizes))

    def wrong(self, shapes: Shapes, sizes: S) -> list[str]:
        """What keeps a state dict from being that of a network of these sizes, see `shape_differences`."""
        return shape_differences(shapes, self.shapes(sizes), self.unused)

    def recognised(self, shapes: Shapes, hints: Mapping[str, Any]) -> S | None:
        """The sizes of the network whose state dict has these keys and shapes, or None."""
        sizes = self.guess(shapes, hints)
        return None if sizes is None or self.wrong(shapes, sizes) else sizes

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest network's label and what differs from it, see `napari_iseg.backends.differences`."""
        read = self.guess(shapes, {})
        candidates = [read] if read is not None else [self.read(v) for v in self.variants.values()]
        found = [(self.label(sizes), self.wrong(shapes, sizes)) for sizes in candidates]
        return min(found, key=lambda pair: len(pair[1]))
