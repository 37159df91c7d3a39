"""What all protocols of ``napari-iseg evaluate`` do with several data sets: name them, keep what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.evaluation.datasets import Dataset

T = TypeVar("T")
Write = Callable[[bool], list[Path]]  # what is there, with plots or without -> the files
Show = Callable[[list[Path]], None]  # prints what is there and where it was written


def open_sets(
    paths: Sequence[Path], split: str, *, seed: int, axis: int, min_area: int = 50, whole: bool = False
) -> list[Dataset]:
    """The data sets of a command, or their validation parts, each under a name of its own.

    Parameters
    ----------
    split : "all" or "validation"
    whole : bodies of a volume keep their ids in its slices, see ``open_dataset(components=False)``

    Raises
    ------
    InputError
        For another split, what is no data set, or a single image whose validation part holds no object.
    """
    from napari_iseg.evaluation.datasets import open_dataset, unique_names

    if split not in ("all", "validation"):
        raise InputError(f"Unknown split {split!r}; use 'all' or 'validation'.")
    opened = []
    for path in paths:
        dataset = open_dataset(path, axis=axis, min_area=min_area, components=False if whole else None)
        opened.append(dataset if split == "all" else _held_out(dataset, path, seed))
    return unique_names(opened)


def _held_out(dataset: Dataset, path: Path, seed: int) -> Dataset:
    held_out = dataset.split(seed=seed)[1]
    if len(dataset) == 1 and not any(held_out.objects()):
        raise InputError(
            f"{path} has a single image, and its right part, which would validate, holds no object of "
            f"{dataset.min_area} pixels; add images or leave --split out."
        )
    return held_out


@contextmanager
def set_by_set(parts: Sequence[T], results: Sized, write: Write, show: Show) -> Iterator[Iterator[T]]:
    """The parts one after the other; what is in ``results`` is written after each and shown at the end.

    It is shown also after an error or Ctrl-C, and where it cannot be written: hours of work may be in it.
    """
    try:
        yield _written_after_each(parts, write)
    finally:
        if len(results):
            files: list[Path] = []
            try:
                files = write(True)
            finally:
                show(files)


def _written_after_each(parts: Sequence[T], write: Write) -> Iterator[T]:
    for number, part in enumerate(parts, 1):
        yield part
        if number < len(parts):  # the last is written with its plots, when all is shown
            write(False)
