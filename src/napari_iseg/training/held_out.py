"""What a run is scored on: never pictures that it trains on, and never nothing without a word."""

from __future__ import annotations

import json
from collections.abc import Sequence, Sized
from typing import Any, Final

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.protocol import choose_objects
from napari_iseg.training.recipe import Recipe

UNSCORED: Final = "none: nothing is held out, so these are the last step's weights"


def holds_out(recipe: Recipe) -> bool:
    """Whether anything is to be held out: made scenes are not, nor data with a share of 0."""
    return bool(recipe.data) and recipe.validation.share > 0


def scored_by(recipe: Recipe) -> dict[str, Any]:
    """The settings that scores depend on, as JSON: those of others cannot be compared with them."""
    asked = recipe.validation
    settings = {
        "objects": asked.objects,
        "max_clicks": asked.max_clicks,
        "sets": asked.sets,
        "inference": recipe.inference,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def scored_sets(recipe: Recipe, sets: Sequence[Dataset]) -> list[Dataset]:
    """The held-out parts that have an object, of the sets that the recipe scores.

    Raises
    ------
    InputError
        When there is none, or a picture has another size than its labels, which a validation would find late.
    """
    wanted = recipe.validation.sets
    chosen = [data for data in sets if not wanted or data.name in wanted]
    found = [data for data in chosen if choose_objects(data)]
    check_scored(recipe, found)
    return found


def check_scored(recipe: Recipe, found: Sized) -> None:
    """Refuse to train where a score would be that of nothing; ``found`` is what would be scored.

    Raises
    ------
    InputError
        The sentence names the sets, the share and the ways out.
    """
    if len(found):
        return
    names = ", ".join(recipe.validation.sets or [entry.path for entry in recipe.data])
    raise InputError(
        f"There is nothing to validate with: the share of {recipe.validation.share:g} that is held out of "
        f"{names} has no object; add pictures, raise share in [validation], or set it to 0 to train without "
        "scores."
    )
