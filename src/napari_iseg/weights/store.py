"""Where models live: those that ship with the package and the user's own; loaded by name or path."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import platformdirs

from napari_iseg import backends
from napari_iseg.backends.cards import CARD_FILE, ModelCard, card_in, read_card
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError, SaveError
from napari_iseg.files import sweep

if TYPE_CHECKING:
    from napari_iseg.backends.base import PublishedNet
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.backends.model import Model
    from napari_iseg.backends.small_model import SmallModel
    from napari_iseg.backends.thin_model import ThinModel

HOME_VARIABLE = "NAPARI_ISEG_HOME"
SUFFIXES = (".safetensors", ".pth", ".pt")  # of weights


class Store:
    """The models of this machine.

    Parameters
    ----------
    home
        The user's folder; default ``$NAPARI_ISEG_HOME``, else the system's place for a program's data. Models
        are in its ``models``, one folder each.
    shipped
        The folder of models that come with the package; default: found beside the package.
    """

    def __init__(self, home: str | Path | None = None, shipped: Path | None = None) -> None:
        self._home = _folder_of(home)
        self.shipped = shipped or _shipped_folder()

    @property
    def home(self) -> Path:
        """The user's folder; SaveError where the account has none, as in some containers."""
        if self._home is None:
            raise SaveError(
                "This account has no home folder, so there is no place for models of your own; set "
                f"{HOME_VARIABLE} to a folder."
            )
        return self._home

    @property
    def user_folder(self) -> Path:
        """Where fetched and imported models go; SaveError as `home`."""
        return self.home / "models"

    def list_models(self) -> list[ModelCard]:
        """All cards, shipped ones first.

        A published model that ships as a card alone is shown with the user's copy of its weights once there
        is one. Any other card of the user with a shipped name is listed as ``name@user``: none hides another.
        Damaged cards are left out here; see `problems`.
        """
        cards = {card.name: card for card in _read_all(self.shipped)[0]}
        for card in self._read_own()[0]:
            present = cards.get(card.name)
            if present is None or _is_copy(card, present):
                cards[card.name] = card
            else:
                renamed = f"{card.name}@user"
                cards[renamed] = replace(card, name=renamed)
        return list(cards.values())

    def problems(self) -> dict[str, str]:
        """Of every card that cannot be used, the name of its folder and one sentence."""
        return _read_all(self.shipped)[1] | self._read_own()[1]

    def find(self, name: str) -> ModelCard:
        """The card of a model.

        Raises
        ------
        ModelNotFoundError
            No such model; the sentence gives the nearest names.
        CheckpointError
            Its card cannot be used; the sentence says why.
        InputError
            What is no name.
        """
        if not isinstance(name, str):
            raise InputError(f"A model is found by its name, got a {type(name).__name__}.")
        cards = {card.name: card for card in self.list_models()}
        if name in cards:
            return cards[name]
        problems = self.problems()
        if name in problems:
            raise CheckpointError(problems[name])
        near = get_close_matches(name.lower(), cards, n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(near)}?" if near else "none has a name like it."
        raise ModelNotFoundError(f"There is no model {name!r}; {meant} `napari-iseg models list` shows all.")

    def weights_of(self, card: ModelCard) -> Path:
        """The weights file of a card.

        Raises
        ------
        ModelNotFoundError
            It is not on this machine; the sentence says how to get it.
        """
        path = card.weights_path
        if path is not None and path.is_file():
            return path
        # The command line looks in the usual folder, unless told otherwise.
        there = "" if self._home == Store()._home else f", with {HOME_VARIABLE}={self._home} set"
        raise ModelNotFoundError(
            f"The weights of {card.name} are not on this machine; {how_to_get(card)}{there}."
        )

    def _read_own(self) -> tuple[list[ModelCard], dict[str, str]]:
        """As `_read_all`, of the user's folder; nothing where there can be none."""
        return _read_all(self.user_folder) if self._home is not None else ([], {})


def how_to_get(card: ModelCard) -> str:
    """What to do for the weights of a card, in words."""
    if card.files:
        return f"run `napari-iseg models fetch {card.name}`"
    if card.manual_url:
        stem = card.published_stem
        if not stem:
            return (
                f"look in {card.manual_url} for its file, whose exact name is not known to us, download it "
                f"by hand and run `napari-iseg models import FILE --name {card.name}`, with its name as FILE"
            )
        return (
            f"download {stem}.pth by hand from {card.manual_url} and run "
            f"`napari-iseg models import {stem}.pth --name {card.name}`"
        )
    return f"put {card.weights} into {card.folder} or import the model again"


def path_of(name_or_path: str | Path) -> Path:
    """What a model is asked for by, as a path, ``~`` replaced; InputError for the home of nobody."""
    try:
        return Path(name_or_path).expanduser()
    except RuntimeError:
        raise InputError(f"There is no home folder for {str(name_or_path)!r}; give the whole path.") from None


def list_models(store: Store | None = None) -> list[ModelCard]:
    """Cards of all models, shipped and the user's; loads no torch."""
    return (store or Store()).list_models()


def load_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", store: Store | None = None
) -> Model | Any:
    """A network ready to answer: a `Model`, or by its role an `EdgeModel`, `ThinModel` or `SmallModel`.

    A type checker takes it for a `Model`; `load_edge_model` and `load_thin_model` give the others' types.

    Parameters
    ----------
    name_or_path
        Name of a card, folder with a card, or a checkpoint file (.safetensors, .pth, .pt), which is
        recognised by its keys and shapes and read safely; nothing is written.
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    precision
        "auto", or as `napari_iseg.backends.model.Model` takes it.
    store
        Where names are looked up; None: the models of this machine.

    Raises
    ------
    ModelNotFoundError
        Unknown name, or weights that are not on this machine; so for the model for thin structures that a
        click model names.
    CheckpointError
        A damaged or foreign file.
    InputError
        What is neither a name nor a path, and a folder without a card.
    DeviceError
        A device that is not there.
    """
    from napari_iseg.backends.model import Model
    from napari_iseg.weights.loading import ready

    card, net = load_net(name_or_path, store)
    model = ready(card, net, device, precision)
    if isinstance(model, Model):
        load_helpers(model, store)  # now, as a later click would have to wait for them
    return model


def load_net(name_or_path: str | Path, store: Store | None = None) -> tuple[ModelCard, PublishedNet]:
    """A model's card and its network alone, float32 on the CPU, for whatever role; errors as `load_model`."""
    from napari_iseg.weights.loading import net_from_card, net_from_file

    if not isinstance(name_or_path, str | os.PathLike):
        kind = type(name_or_path).__name__
        raise InputError(f"A model is loaded by its name or the path of its file, got a {kind}.")
    store = store or Store()
    path = path_of(name_or_path)
    named = isinstance(name_or_path, str) and any(card.name == name_or_path for card in store.list_models())
    named = named or not str(name_or_path)
    if not named and os.path.isdir(path):  # noqa: PTH112 - Path.is_dir fails on names that no file can have
        card = card_in(path)
    elif not named and (os.path.isfile(path) or path.suffix.lower() in SUFFIXES):  # noqa: PTH113 - as above
        return net_from_file(path)
    else:
        card = store.find(str(name_or_path))
    return card, net_from_card(card, store.weights_of(card))


def load_click_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", store: Store | None = None
) -> Model:
    """As `load_model`, for a model that answers clicks or boxes; InputError for any other."""
    return as_click_model(load_model(name_or_path, device=device, precision=precision, store=store))


def as_click_model(model: Any) -> Model:
    """What `load_model` gave, if it answers clicks or boxes; InputError otherwise."""
    if backends.role(model.card.backend) != "click":
        backends.get_click(model.card.backend)  # says why not
    return cast("Model", model)


def load_edge_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", store: Store | None = None
) -> EdgeModel:
    """As `load_model`, for a model that refines the edges of a mask; InputError for any other."""
    model = load_model(name_or_path, device=device, precision=precision, store=store)
    if backends.role(model.card.backend) != "edges":
        raise InputError(
            f"The model {model.card.name!r} does not refine edges; `napari-iseg models list` shows which do."
        )
    return cast("EdgeModel", model)


def load_thin_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", store: Store | None = None
) -> ThinModel:
    """As `load_model`, for a model that answers on thin structures; InputError for any other."""
    model = load_model(name_or_path, device=device, precision=precision, store=store)
    if backends.role(model.card.backend) != "thin":
        raise InputError(
            f"The model {model.card.name!r} is not for thin structures; the setting 'thin' of a click model "
            "takes one that is, as 'thin-starter', or '' for none."
        )
    return cast("ThinModel", model)


def load_small_model(
    name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", store: Store | None = None
) -> SmallModel:
    """As `load_model`, for a model that finishes small objects; InputError for any other."""
    model = load_model(name_or_path, device=device, precision=precision, store=store)
    if backends.role(model.card.backend) != "small":
        raise InputError(
            f"The model {model.card.name!r} is not for small objects; the setting 'small' of a click model "
            "takes one that is, or '' for none."
        )
    return cast("SmallModel", model)


def thin_model_of(model: Model, store: Store | None = None) -> ThinModel:
    """The model for thin structures that ``model.inference.thin`` names, loaded once, on the same device.

    Raises
    ------
    InputError
        When what it names is no such model.
    ModelNotFoundError
        When there is none of that name.
    """
    return cast("ThinModel", _helper(model, model.inference.thin, load_thin_model, store))


def small_model_of(model: Model, store: Store | None = None) -> SmallModel:
    """The model for small objects that ``model.inference.small`` names; as `thin_model_of`."""
    return cast("SmallModel", _helper(model, model.inference.small, load_small_model, store))


def load_helpers(model: Model, store: Store | None = None) -> None:
    """Load what a click model's settings name; errors as `thin_model_of`."""
    if model.inference.thin:
        thin_model_of(model, store)
    if model.inference.small:
        small_model_of(model, store)


def _helper(model: Model, name: str, load: Callable[..., Any], store: Store | None) -> Any:
    if name not in model.helpers:
        device, precision = str(model.device), model.precision
        model.helpers[name] = load(name, device=device, precision=precision, store=store)
    return model.helpers[name]


def _read_all(folder: Path) -> tuple[list[ModelCard], dict[str, str]]:
    """The cards in a folder of models, and by folder what is wrong with the others."""
    cards, problems = [], {}
    sweep(folder)  # an import that was killed in mid-swap: the model of before is put back
    for file in sorted(folder.glob(f"[!.]*/{CARD_FILE}")):
        try:
            card = read_card(file)
        except CheckpointError as error:
            problems[file.parent.name] = str(error)
            continue
        if card.name == file.parent.name:
            cards.append(card)
        else:
            problems[file.parent.name] = (
                f"The model card {file} is named {card.name!r}; a card's name must be that of its folder."
            )
    return cards, problems


def _is_copy(mine: ModelCard, shipped: ModelCard) -> bool:
    """Whether a user's card is the shipped card's model with weights."""
    return not shipped.is_local and (mine.backend, mine.variant) == (shipped.backend, shipped.variant)


def _folder_of(home: str | Path | None) -> Path | None:
    """The user's folder for a program's data; None for an account without a home, as it depends on that."""
    try:
        chosen = home or os.environ.get(HOME_VARIABLE)
        return Path(chosen or platformdirs.user_data_dir("napari-iseg", appauthor=False)).expanduser()
    except RuntimeError:  # of platformdirs and of ``expanduser``
        return None


def _shipped_folder() -> Path:
    """``_assets/models`` of an installed wheel, else ``models`` of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_assets" / "models"
    return installed if installed.is_dir() else package.parents[1] / "models"
