"""Whether the models that a recipe starts from are there."""

from __future__ import annotations

from napari_iseg.errors import InputError
from napari_iseg.training.recipe import Recipe
from napari_iseg.weights.store import path_of


def check_starts(recipe: Recipe) -> None:
    """Refuse a start, support start or guide whose file or folder is missing.

    Raises
    ------
    InputError
        Where it is another stage's run, the sentence names the recipe to run first.
    """
    named = {
        "start": recipe.start,
        "support_start": recipe.support_start,
        "guide in [loss]": recipe.loss.guide,
    }
    for entry, model in named.items():
        path = path_of(model or "")
        if not model or len(path.parts) < 2 or path.exists():  # names of installed models are one part
            continue
        if path.parts[0] == "runs":
            raise InputError(
                f"The recipe's {entry} {model!r} is not there: it is made by another recipe; run "
                f"`napari-iseg train recipes/{path.name}.toml --out {path.parent}` in this folder first."
            )
        raise InputError(f"The recipe's {entry} {model!r} is not there; give a model's name, file or folder.")
