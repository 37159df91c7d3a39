"""From the data sets a recipe names to pictures in memory, validation pictures held back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import label

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item, open_dataset
from napari_iseg.training.bank import Bank, Picture, picture
from napari_iseg.training.recipe import DataRecipe, Recipe, SceneRecipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.synthetic_shapes import OUTLINES
from napari_iseg.training.synthetic_thin import OUTLINES as THIN_OUTLINES

Sets = list[tuple[DataRecipe, Dataset, Dataset]]  # entry of the recipe, training part, validation part
OnSet = Callable[[str, int], object]  # told the name and number of pictures of a loaded set
Tell = Callable[[str], object]  # told a sentence for people


def open_sets(recipe: Recipe, data: Path | None, tell: Tell | None = None) -> Sets:
    """Each set of the recipe with its training and validation part.

    Parameters
    ----------
    data : the folder the recipe's paths are relative to; default: $NAPARI_ISEG_DATA, or "."
    tell : told of pictures that are in neither part

    Raises
    ------
    InputError
        When a set is missing, the message names it and the folder; when nothing of one is left to train on;
        when [validation] names one that is none, or a volume would be trained on along one axis and held out
        along another.
    """
    _check_axes(recipe)
    root = data or Path(os.environ.get("NAPARI_ISEG_DATA", "."))
    sets = []
    for entry in recipe.data:
        path = root / entry.path
        if not path.exists():
            raise InputError(
                f"The recipe's data set {entry.path!r} is not in {root}; give its folder with --data."
            )
        kind: Any = entry.kind or None
        whole = open_dataset(
            path, axis=entry.axis, kind=kind, components=entry.components, ignore=entry.ignore
        )
        share = recipe.validation.share
        parts = whole.split(share, recipe.validation.seed) if share else (whole, whole.subset(()))
        _check_parts(whole, *parts, tell)
        sets.append((entry, *parts))
    known = [held_out.name for _, _, held_out in sets]
    for name in recipe.validation.sets:
        if name not in known:
            raise InputError(
                f"The recipe's sets in [validation] name {name!r}, which is none of its data; they are "
                f"{', '.join(known)}."
            )
    return sets


def _check_axes(recipe: Recipe) -> None:
    """Slices across those that are held out show what is held out."""
    axes: dict[str, set[int]] = {}
    for entry in recipe.data:
        axes.setdefault(entry.path, set()).add(entry.axis)
    for path, found in axes.items():
        if len(found) > 1 and recipe.validation.share:
            named = ", ".join(map(str, sorted(found)))
            raise InputError(
                f"The recipe takes {path!r} along axes {named}, and one's held-out slices are trained on "
                "along another; keep one axis, or set share in [validation] to 0 and score on another volume."
            )


def _check_parts(whole: Dataset, train: Dataset, held_out: Dataset, tell: Tell | None) -> None:
    """Say how many pictures are in neither part, and refuse a set that is all held out or left out."""
    between = len(whole) - len(train) - len(held_out)
    left_out = (
        f"{between} of {len(whole)} pictures are left out, as they lie in a series beside the "
        f"{len(held_out)} held out and may show the same"
    )
    if not len(train):
        why = left_out if between > 0 else "all its pictures are held out"
        raise InputError(
            f"Nothing of the training set {whole.name!r} is left to train on: {why}; add pictures, or set "
            "share in [validation] to 0 to train without scores."
        )
    if between > 0 and tell is not None:
        tell(f"In the set {whole.name}, {left_out}.")


def load_bank(recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> Bank:
    """The training parts, and the recipe's made scenes, as pictures in memory."""
    bank = Bank()
    for entry, train, _ in sets:
        made = [_pictures(item) for item in train.items[:: entry.step]]
        bank.add(train.name, chain.from_iterable(made), entry.weight)
        if on_set is not None:
            on_set(train.name, sum(map(bool, made)))
    if recipe.scenes.count:
        bank.add("made scenes", _scenes(recipe.scenes, recipe.seed), recipe.scenes.weight)
        if on_set is not None:
            on_set("made scenes", recipe.scenes.count)
    return bank


def _scenes(scenes: SceneRecipe, seed: int) -> Iterator[Picture | None]:
    kinds = {"objects": (OUTLINES,), "thin": (THIN_OUTLINES,), "mixed": (OUTLINES, THIN_OUTLINES)}
    if scenes.kind not in kinds:
        raise InputError(f"The kind of [scenes] must be one of {', '.join(kinds)}, got {scenes.kind!r}.")
    outlines = kinds[scenes.kind]
    for index in range(scenes.count):
        rng = np.random.default_rng((seed, 1, index))
        yield picture(*random_scene(rng, scenes.size, outlines[index % len(outlines)]), min_area=60)


def _pictures(item: Item) -> list[Picture]:
    """What is trained on of one image; nothing where it holds no object."""
    image, labels = item.image(), item.targets()
    made = [picture(image, labels, name=item.name)]
    if item.kind == "semantic":
        # A class is one object in the evaluation; a person who clicks may as well mean one
        # connected part of it.
        made.append(picture(image, label(labels, background=0, connectivity=2), min_area=120))
    return [one for one in made if one is not None]
