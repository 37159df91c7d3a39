"""What all protocols of ``napari-iseg evaluate`` do with data sets: take the part that is asked for, name
them, keep what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_iseg.cli.common import errors
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.evaluation.left_out import LeftOut

T = TypeVar("T")
Write = Callable[[bool], list[Path]]  # what is there, with plots or without -> the files
Show = Callable[[list[Path]], None]  # prints what is there and where it was written


@dataclass(frozen=True)
class Asked:
    """How a command wants its data sets read, and which part of them.

    Attributes
    ----------
    split : "all" or "validation"
    split_share, split_seed : of a validation part that the model's card does not know; None: as in recipes
    axis : along which volumes are sliced; None: as the model was trained, else 0
    min_area, ignore, kind : as of ``open_dataset``
    whole : bodies of a volume keep their ids in its slices, see ``open_dataset(components=False)``
    """

    split: str = "all"
    split_share: float | None = None
    split_seed: int | None = None
    axis: int | None = None
    min_area: int = 50
    ignore: int | None = None
    kind: str | None = None
    whole: bool = False

    @property
    def own_split(self) -> bool:
        """Whether a split of one's own was asked for."""
        return self.split_share is not None or self.split_seed is not None


def open_sets(paths: Sequence[Path], asked: Asked, model: str, card: ModelCard | None) -> list[Dataset]:
    """The data sets of a command, or their validation parts, each under a name of its own.

    Where the card of the model knows what its training left out of a set, that is the validation part, and
    the volume is sliced as it was then. Which part it is goes to standard error.

    Raises
    ------
    InputError
        For another split, what is no data set, what training left nothing of, another axis or split than
        that of the training, or a single image whose validation part holds no object.
    """
    from napari_iseg.evaluation.datasets import unique_names

    if asked.split not in ("all", "validation"):
        raise InputError(f"Unknown split {asked.split!r}; use 'all' or 'validation'.")
    if asked.split == "all" and asked.own_split:
        raise InputError("--split-share and --split-seed need --split validation: they choose its images.")
    opened = [_part(path, asked, model, card) for path in paths]
    return unique_names(opened)


def _part(path: Path, asked: Asked, model: str, card: ModelCard | None) -> Dataset:
    from napari_iseg.evaluation.left_out import SEED, SHARE, left_out

    dataset = _opened(path, asked, asked.axis or 0)
    found = left_out(card, dataset.name, lambda axis: _opened(path, asked, axis))
    known = None if found is None else found[0]
    if found is not None and asked.axis is None:
        dataset = found[1]
    if asked.split == "all":
        return dataset
    if known is not None:
        _check_as_trained(asked, known, dataset, model)
        part = known.of(dataset, model)
    else:
        share = SHARE if asked.split_share is None else asked.split_share
        part = dataset.split(share, SEED if asked.split_seed is None else asked.split_seed)[1]
    if len(dataset) == 1 and not any(part.objects()):
        raise InputError(
            f"{path} has a single image, and its right part, which would validate, holds no object of "
            f"{dataset.min_area} pixels; add images or leave --split out."
        )
    unknown = "" if known is not None else f"; what the training of {model} left out of it is not known"
    errors.print(f"{dataset.name}: {len(part)} of {len(dataset)} images: {part.part}{unknown}.")
    return part


def _opened(path: Path, asked: Asked, axis: int) -> Dataset:
    from napari_iseg.evaluation.datasets import open_dataset

    return open_dataset(
        path,
        axis=axis,
        min_area=asked.min_area,
        kind=asked.kind,  # type: ignore[arg-type]  # refused there if it is none
        components=False if asked.whole else None,
        ignore=asked.ignore,
    )


def _check_as_trained(asked: Asked, known: LeftOut, dataset: Dataset, model: str) -> None:
    """Other images, or slices along another axis, would show what the model was trained on."""
    if asked.own_split:
        raise InputError(
            f"The card of {model} says which images of {dataset.name} its training left out; leave "
            "--split-share and --split-seed out."
        )
    if asked.axis is not None and asked.axis != known.axis:
        raise InputError(
            f"{model} was trained on slices of {dataset.name} along axis {known.axis}, which slices along "
            f"axis {asked.axis} cross; leave --axis out."
        )


def card_of(model: str) -> ModelCard | None:
    """The card of a named model, of a folder or beside a file; None where there is none.

    Raises
    ------
    InputError
        For the folder of a training run: the sentence says where its model lies.
    """
    from napari_iseg.backends.cards import CARD_FILE, read_card
    from napari_iseg.weights.store import list_models, path_of

    name = model.partition(":no-")[0]  # of an ablation
    for card in list_models():
        if card.name == name:
            return card  # a name counts before a folder
    place = path_of(name)
    inside = sorted(card.parent for card in place.glob(f"*/{CARD_FILE}"))
    if inside and not (place / CARD_FILE).is_file():
        raise InputError(f"{model} is a folder with models in it, no model; give {inside[0]} instead.")
    folder = place if place.is_dir() else place.parent
    found = read_card(folder) if place.exists() and (folder / CARD_FILE).is_file() else None
    return found if found is None or place.is_dir() or found.weights == place.name else None


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
