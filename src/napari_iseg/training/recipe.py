"""Recipes: everything a training run depends on, in one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from napari_iseg.errors import InputError
from napari_iseg.training.checks import check, check_lengths

T = TypeVar("T")
# Part of an entry's annotation (a string here) -> what it may be in TOML, and in words.
_PLAIN: Final[Mapping[str, tuple[tuple[type, ...], str]]] = MappingProxyType(
    {
        "bool": ((bool,), "true or false"),
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "str": ((str,), "text"),
        "tuple[str, ...]": ((list, tuple), "a list of texts"),
        "dict[str, float]": ((dict,), "a table of numbers"),
        "dict[str, Any]": ((dict,), "a table"),
    }
)
# Annotation of what stands in a list or table -> its types.
_PARTS: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {"tuple[str, ...]": (str,), "dict[str, float]": (int, float)}
)


@dataclass(frozen=True)
class DataRecipe:
    """One training set: ``path`` under the data folder (zip, folder, or a volume's image file), its share
    of samples.
    """

    path: str
    weight: float = 1.0
    kind: str | None = None  # "instances", "semantic" or "binary"; None: by the dtype of the labels
    axis: int = 0
    step: int = 1  # of a volume, every step-th slice
    components: bool | None = None  # False keeps a volume's ids, for episodes that follow one body
    ignore: int | None = None  # label of pixels that do not count; training takes them for background
    licence: str = ""  # goes onto the model's card


@dataclass(frozen=True)
class SceneRecipe:
    """Made scenes of textured shapes, generated once at the start from the recipe's seed."""

    count: int = 0
    size: int = 288
    weight: float = 0.15
    kind: str = "objects"  # or "thin": thin, branched and holed shapes; "mixed": both in turn


@dataclass(frozen=True)
class OptimRecipe:
    """AdamW with warm-up, a constant rate, and a cosine fall from step ``decay_from`` to ``steps``.

    The rate before ``decay_from`` does not depend on the later numbers, so a run may be made longer when it
    is resumed.
    """

    steps: int = 4000
    batch: int = 16
    rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200
    decay_from: int | None = None  # default: 70 % of the steps
    clip: float = 1.0
    average: float = (
        0.998  # of the exponential moving average of weights, which is what is validated and exported
    )
    start_share: float = 0.0  # of the start's weights in those exported (WiSE-FT, arXiv 2109.01903)
    only: tuple[str, ...] = ()  # names of the network's parts that learn, as "support"; default: all

    @property
    def falls_from(self) -> int:
        """The step from which the rate falls."""
        return self.decay_from if self.decay_from is not None else int(0.7 * self.steps)


@dataclass(frozen=True)
class LossRecipe:
    """Normalised focal loss, the iterations of ICL, and the weights of a method's own terms."""

    alpha: float = 0.5
    gamma: float = 2.0
    icl: bool = True
    max_forwards: int = 3
    free_forwards: int = 4  # at most so many clicks are made without gradient first ...
    free_share: float = 0.3  # ... in this share of batches
    dice: float = 0.0  # weight of a soft Dice term, ours: it keeps noisy outlines from ruling the loss
    quality: float = 0.1  # weight of the quality head's loss, for networks that have one
    terms: dict[str, float] = field(default_factory=dict)  # weights of terms by name; 0 switches one off
    guide: str | None = None  # a model whose features the network is held to (IS5Net: a GT encoder)
    published: bool = False  # keep the slips of the authors' training code, see docs/methods.md

    def weights(self, defaults: Mapping[str, float]) -> dict[str, float]:
        """The weight of each of a method's terms: its default, or what ``terms`` says.

        Raises
        ------
        InputError
            When ``terms`` names one that the method does not have.
        """
        unknown = sorted(set(self.terms) - set(defaults))
        if unknown:
            raise InputError(
                f"The recipe's [loss.terms] has an unknown term {unknown[0]!r}; valid are "
                f"{', '.join(defaults)}."
            )
        return {**defaults, **self.terms}


@dataclass(frozen=True)
class ValidationRecipe:
    """NoC during training, on pictures that are never trained on."""

    every: int = 500
    share: float = 0.2  # 0: nothing is held out, and nothing is scored
    seed: int = 0
    objects: int = 12  # per set
    max_clicks: int = 10
    sets: tuple[str, ...] = ()  # default: all


@dataclass(frozen=True)
class Recipe:
    """A training run."""

    name: str
    backend: str = "cfr-icl"
    variant: str | dict[str, Any] = "starter"
    start: str | None = None  # a model to start from: card name or file
    support_start: str | None = None  # IFSENet: a click model whose network the support path gets
    title: str = ""
    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"  # or "cpu", "cuda"; by "auto" more than one device are GPUs
    devices: int | str = 1
    workers: int = 2
    keep_every: int = 200  # steps between checkpoints
    data: tuple[DataRecipe, ...] = ()
    scenes: SceneRecipe = field(default_factory=SceneRecipe)
    # ours: "windows", see samples.py, or "first-click", see first_click.py; published: "cocolvis", "sbd" and
    # "mst", see published.py
    sampling: str = "windows"
    samples: dict[str, Any] = field(default_factory=dict)  # options of that
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    inference: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)


def _from_table(kind: type[T], table: Any, where: str) -> T:
    if not isinstance(table, dict):
        raise InputError(f"The recipe's {where} must be a table, got {table!r}.")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - known)
    if unknown:
        valid = ", ".join(sorted(known))
        raise InputError(f"The recipe has an unknown entry {unknown[0]!r} in {where}; valid are {valid}.")
    for f in fields(kind):  # type: ignore[arg-type]
        if f.name in table:
            _check_type(str(f.type), table[f.name], f.name, where)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"The recipe lacks the entry {f.name!r} in {where}; add it.")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def _check_type(annotation: str, value: Any, name: str, where: str) -> None:
    known = [part for part in annotation.split(" | ") if part in _PLAIN]
    if known and not any(_fits(value, part) for part in known):
        words = " or ".join(_PLAIN[part][1] for part in known)
        raise InputError(f"The recipe's {name} in {where} must be {words}, got {value!r}.")


def _fits(value: Any, annotation: str) -> bool:
    if type(value) not in _PLAIN[annotation][0]:
        return False
    parts = _PARTS.get(annotation)
    inner = value.values() if isinstance(value, dict) else value
    return parts is None or all(type(part) in parts for part in inner)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe; every entry is checked by name, and a wrong one is refused with the list of valid ones.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or has unknown, missing or wrong entries.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"There is no recipe at {path}; recipes/ in the repository has some to copy."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read as TOML: {error}.") from None
    if not table.get("data"):
        raise InputError(
            f"The recipe {path} names no training data; add at least one [[data]] table with a path."
        )
    if not isinstance(table["data"], list):
        raise InputError(f"The recipe's data must be [[data]] tables with a path, got {table['data']!r}.")
    parts = {
        "scenes": SceneRecipe,
        "optim": OptimRecipe,
        "loss": LossRecipe,
        "validation": ValidationRecipe,
    }
    values = {key: value for key, value in table.items() if key not in parts and key != "data"}
    for key, kind in parts.items():
        if key in table:
            values[key] = _from_table(kind, table[key], f"[{key}]")
    values["data"] = tuple(_from_table(DataRecipe, entry, "[[data]]") for entry in table["data"])
    recipe = _from_table(Recipe, values, "top level")
    check(recipe)
    check_lengths(recipe, table.get("optim", {}))
    return recipe
