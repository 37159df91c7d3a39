"""Which images a training leaves out to validate with: kept on the model's card, and found again from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from napari_iseg.backends.cards import ModelCard
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.evaluation.datasets import Dataset

ENTRY: Final = "held_out"  # in [training] of a card
SHARE: Final = 0.2  # what recipes hold out unless they say otherwise,
SEED: Final = 0  # and the seed of that choice


@dataclass(frozen=True)
class LeftOut:
    """What the training of a model left out of one data set.

    Attributes
    ----------
    share, seed : by which the set was split
    axis : along which a volume was sliced
    images : names of the images, or of the part of a single one
    """

    share: float
    seed: int
    axis: int
    images: tuple[str, ...]

    def of(self, dataset: Dataset, model: str) -> Dataset:
        """That part of the data set, for the model's name.

        Raises
        ------
        InputError
            When nothing was left out.
        """
        if not self.images:
            raise InputError(
                f"The training of {model} left no image of {dataset.name} out, so there is nothing of it to "
                "validate with; leave --split out, or take other data."
            )
        part = f"validation, the images that the training of {model} left out"
        names = set(self.images)
        if not names.issubset(item.name for item in dataset):  # the only image was cut
            return dataset.split(self.share, self.seed)[1].as_part(part)
        return dataset.subset([i for i, item in enumerate(dataset) if item.name in names]).as_part(part)


def left_out_table(share: float, seed: int, parts: Iterable[tuple[int, Dataset]]) -> dict[str, Any]:
    """What a card keeps of a split; ``parts`` are the axis and the held-out part of each training set."""
    sets = [{"set": part.name, "axis": axis, "images": [item.name for item in part]} for axis, part in parts]
    return {"share": share, "seed": seed, "sets": sets}


def left_out(
    card: ModelCard | None, name: str, along: Callable[[int], Dataset]
) -> tuple[LeftOut, Dataset] | None:
    """What the card's training left out of a data set, and the set as it was read then.

    Parameters
    ----------
    name : of the data set
    along : opens it, a volume in slices along an axis

    Returns
    -------
    None where the card does not know: a set of that name without one of those images is another set, and of
    two sets that it may be nobody can say which.

    Raises
    ------
    CheckpointError
        When the card's entry is none of ours.
    """
    table = card.training.get(ENTRY) if card is not None else None
    if card is None or table is None:
        return None
    try:
        share, seed = float(table["share"]), int(table["seed"])
        known = [
            LeftOut(share, seed, int(entry["axis"]), tuple(str(image) for image in entry["images"]))
            for entry in table["sets"]
            if entry["set"] == name
        ]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(
            f"The card of {card.name} has a damaged entry [training.{ENTRY}]; restore the card, or remove it."
        ) from None
    found = [(entry, along(entry.axis)) for entry in known]
    fitting = [(entry, dataset) for entry, dataset in found if _is_of(entry, dataset)]
    return fitting[0] if len(fitting) == 1 else None


def _is_of(entry: LeftOut, dataset: Dataset) -> bool:
    """Whether the images left out are of that set: some of its own, or the part cut off its only one."""
    if {item.name for item in dataset}.issuperset(entry.images):
        return True
    if len(dataset) != 1 or not entry.share:
        return False
    return tuple(item.name for item in dataset.split(entry.share, entry.seed)[1]) == entry.images
