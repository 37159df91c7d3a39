"""What a run is scored on: never pictures that it trains on, and never nothing without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Final

from napari_iseg.backends.cards import read_card
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.left_out import ENTRY
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


def not_comparable(recipe: Recipe, was: Mapping[str, Any], known: bool, step: int) -> str:
    """Why scores taken before cannot be compared with later ones, for people; empty where they can be.

    Parameters
    ----------
    was : what they were `scored_by`, as far as that is known
    known : whether it is known on which pictures
    step : how many are taken; after the last one nothing is left to choose from
    """
    now = scored_by(recipe)
    changed = [f"{name} was {was[name]!r} and is {now[name]!r}" for name in was if was[name] != now[name]]
    if not known:
        why = "It is not known on which pictures the scores so far were taken"
    elif changed:
        why = f"The scores so far were taken by other settings ({', '.join(changed)})"
    else:
        return ""
    if step < recipe.optim.steps:
        return f"{why}, so the best checkpoint is chosen anew among those from here on."
    return f"{why}; as no step is left, the best checkpoint stays as it was chosen by them."


def check_split(folder: Path, recipe: Recipe, was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Refuse to go on where other pictures are held out than before, some of which were trained on.

    Parameters
    ----------
    folder : of the run; where an older checkpoint does not know, the card exported there may
    was, now : the tables of `evaluation.left_out.left_out_table`

    Returns
    -------
    Whether it is known what was held out.

    Raises
    ------
    InputError
        The sentence names a picture and the ways out.
    """
    try:
        before = _images(was or read_card(folder / recipe.name).training[ENTRY])
    except (CheckpointError, KeyError, TypeError, AttributeError):  # no card, or one that does not tell
        return not now
    for name, image in sorted(before ^ _images(now)):
        then, here = ("", "it no longer is") if (name, image) in before else ("not ", "it now is")
        raise InputError(
            f"The run in {folder} was begun with {image} of the set {name!r} {then}held out, which {here}, "
            "so scores would be of pictures that were trained on; give the data of then, or another --out."
        )
    return True


def _images(table: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Set and name of each picture that is held out."""
    return {(entry["set"], image) for entry in table.get("sets", ()) for image in entry["images"]}


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
