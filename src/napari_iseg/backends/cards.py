"""Model cards: what a model is, where its weights come from, how it scored; one ``card.toml`` per model."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli_w

from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.files import write_text

CARD_FILE = "card.toml"
WEIGHTS = "model.safetensors"  # beside a card, unless it is of a published file whose name is known


@dataclass(frozen=True, slots=True)
class CardFile:
    """One file to download.

    Attributes
    ----------
    url : where it lies
    sha256 : its checksum in hex, "" when the authors give none
    size : bytes, 0 when unknown
    archive : "" for the weights themselves, "7z" for a part of a 7z volume set (parts in the card's order)
    """

    url: str
    sha256: str = ""
    size: int = 0
    archive: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model without opening its weights.

    Attributes
    ----------
    name
        How the model is asked for; also the name of its folder.
    backend
        What builds the network.
    variant
        Of the backend: its name, or the variant's mapping.
    title
        For people.
    prompts
        Of "click", "box", "mask" what a person gives the network (the mask before, which click models take
        too, comes from the session); none for what only stands by another model.
    licence
        Of the weights.
    licence_url
        Where it can be read.
    source
        Where the weights were published.
    description
        For people.
    good_at
        For people: one line for the model list.
    files
        What ``fetch`` downloads; empty when nothing can be fetched.
    manual_url
        Where a person downloads the file when a program cannot.
    weights
        Name of the safetensors file beside the card. Of published weights that are not here it is the name of
        the published file, or the default one where that is not known.
    sha256
        Of the file ``weights``.
    size_bytes
        Of the file ``weights``.
    names
        "own" when that file has our key names, "published" when it has the authors'.
    inference
        Fields of `napari_iseg.backends.base.Inference` that differ from the backend's own.
    training
        A free table.
    scores
        A free table.
    folder
        Where the card was read from; not written.
    """

    name: str
    backend: str
    variant: str | Mapping[str, Any]
    title: str = ""
    prompts: tuple[str, ...] = ("click",)
    licence: str = ""
    licence_url: str = ""
    source: str = ""
    description: str = ""
    good_at: str = ""
    files: tuple[CardFile, ...] = ()
    manual_url: str = ""
    weights: str = WEIGHTS
    sha256: str = ""
    size_bytes: int = 0
    names: str = "own"
    inference: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def weights_path(self) -> Path | None:
        """Where the weights lie or will lie; None for a card that has no folder yet."""
        return None if self.folder is None else self.folder / self.weights

    @property
    def size(self) -> int:
        """Bytes of the weights file; 0 where it is neither here nor known."""
        return self.size_bytes

    @property
    def published_stem(self) -> str:
        """Name of the published file without its ending; "" where it is not known."""
        return "" if self.weights == WEIGHTS else Path(self.weights).stem

    @property
    def is_local(self) -> bool:
        """Whether the weights are on this machine."""
        path = self.weights_path
        return path is not None and path.is_file()


def card_in(folder: Path) -> ModelCard:
    """The card of a model's folder; InputError for a folder without, else errors as `read_card`."""
    if not (folder / CARD_FILE).is_file():
        raise InputError(f"The folder {folder} has no {CARD_FILE}; give the weights file in it.")
    return read_card(folder)


def read_card(path: Path) -> ModelCard:
    """Read ``card.toml``, or the one in a folder.

    Raises
    ------
    CheckpointError
        When the file cannot be read, is no TOML, lacks a needed entry or has an unknown one.
    """
    file = path / CARD_FILE if path.is_dir() else path
    try:
        return card_from_table(tomllib.loads(file.read_text(encoding="utf-8")), file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CheckpointError(
            f"The model card {file} cannot be read ({error}); restore it or import the model again."
        ) from None


def card_from_table(table: Mapping[str, Any], file: Path) -> ModelCard:
    """The card of a parsed TOML table; ``file`` names it in refusals and gives the folder."""
    known = {f.name: f.type for f in fields(ModelCard) if f.name != "folder"}
    unknown = sorted(set(table) - set(known))
    missing = [name for name in ("name", "backend", "variant") if name not in table]
    if unknown:
        raise CheckpointError(
            f"The model card {file} has an unknown entry {unknown[0]!r}; known are {', '.join(known)}."
        )
    if missing:
        raise CheckpointError(
            f"The model card {file} lacks {', '.join(missing)}; add what it says of the network."
        )
    values = dict(table)
    for name, kind in known.items():
        _check_kind(name, kind, values.get(name), file)
    if values.get("names", "own") not in ("own", "published"):
        raise CheckpointError(
            f"The model card {file} gives names = {values['names']!r}; it must be 'own' or 'published'."
        )
    values["prompts"] = tuple(values.get("prompts", ("click",)))
    try:
        values["files"] = tuple(CardFile(**entry) for entry in values.get("files", ()))
    except TypeError as error:
        raise CheckpointError(f"The model card {file} has a bad [[files]] entry ({error}).") from None
    return ModelCard(**values, folder=file.parent)


def _check_kind(name: str, kind: Any, value: Any, file: Path) -> None:
    """Refuse a TOML value of the wrong kind; annotations are strings here, so their first word decides."""
    first = str(kind).split("[")[0].split(" ")[0]
    expected: tuple[type, ...] = {"str": (str,), "int": (int,), "tuple": (list, tuple), "Mapping": (dict,)}[
        first
    ]
    if name == "variant":
        expected = (str, dict)
    if value is not None and not isinstance(value, expected):
        wanted = " or ".join(t.__name__ for t in expected)
        raise CheckpointError(f"The model card {file} gives {name} = {value!r}; it must be of type {wanted}.")


def card_table(card: ModelCard) -> dict[str, Any]:
    """The card as a table for TOML or JSON; empty entries are left out, except that it takes no prompts."""
    table: dict[str, Any] = {}
    for f in fields(ModelCard):
        value = getattr(card, f.name)
        if f.name == "folder" or not (value or f.name == "prompts"):
            continue
        if f.name == "files":
            value = [
                {k: v for k in ("url", "sha256", "size", "archive") if (v := getattr(part, k))}
                for part in value
            ]
        table[f.name] = _plain(value)
    return table


def write_card(card: ModelCard, folder: Path) -> Path:
    """Write ``card.toml`` into ``folder`` (made if needed), whole or not at all.

    Raises
    ------
    SaveError
        When it cannot be written; a card that was there before is untouched.
    """
    target = folder / CARD_FILE
    write_text(target, tomli_w.dumps(card_table(card), multiline_strings=True))
    return target


def _plain(value: Any) -> Any:
    """Tuples to lists and mappings to dicts, None dropped: what TOML can hold."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
