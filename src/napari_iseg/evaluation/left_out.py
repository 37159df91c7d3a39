"""Which images a training leaves out to validate with: kept on the model's card, and found again from it."""

from __future__ import annotations

from collections.abc import Iterable
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
        if len(dataset) == 1:  # it was cut
            return dataset.split(self.share, self.seed)[1].as_part(part)
        names = set(self.images)
        return dataset.subset([i for i, item in enumerate(dataset) if item.name in names]).as_part(part)


def left_out_table(share: float, seed: int, parts: Iterable[tuple[int, Dataset]]) -> dict[str, Any]:
    """What a card keeps of a split; ``parts`` are the axis and the held-out part of each training set."""
    sets = [{"set": part.name, "axis": axis, "images": [item.name for item in part]} for axis, part in parts]
    return {"share": share, "seed": seed, "sets": sets}


def left_out(card: ModelCard | None, dataset: Dataset) -> LeftOut | None:
    """What the card's training left out of the data set; None where the card does not know.

    A set of that name without one of those images is another set.

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
        found = [entry for entry in table["sets"] if entry["set"] == dataset.name]
        images = tuple(str(name) for entry in found for name in entry["images"])
        axis = int(found[0]["axis"]) if found else 0
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(
            f"The card of {card.name} has a damaged entry [training.{ENTRY}]; restore the card, or remove it."
        ) from None
    known = not images or len(dataset) == 1 or not {item.name for item in dataset}.isdisjoint(images)
    return LeftOut(share, seed, axis, images) if found and known else None
