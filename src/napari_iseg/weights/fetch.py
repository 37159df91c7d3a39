"""Brings a published model's weights here: licence, download, unpacking, import."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from napari_iseg.backends.cards import ModelCard
from napari_iseg.errors import CheckpointError, FetchError, ModelNotFoundError
from napari_iseg.weights.archive import unpack_weights
from napari_iseg.weights.download import Bar, Download
from napari_iseg.weights.licence import Ask, Licences
from napari_iseg.weights.locks import held
from napari_iseg.weights.store import Store, how_to_get


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch.

    ``accept_licence``: the user has agreed already; ``ask``: shows the licence and returns the answer;
    ``bar``: makes a progress bar for a file name; ``half``: store 16-bit numbers; ``waiting``: called when
    another process is fetching the same model, which is waited for.
    """

    accept_licence: bool = False
    ask: Ask | None = None
    bar: Callable[[str], Bar] | None = None
    half: bool = False
    download: Download = field(default_factory=Download)
    waiting: Callable[[], None] | None = None


def fetch(name: str, store: Store, options: FetchOptions | None = None) -> ModelCard:
    """Download, unpack and import the weights of a card; returns the card with its weights.

    A model that is here already is returned at once. An interrupted download goes on where it stopped. Of
    several processes that fetch the same model one does, and the others wait for it and find it done.

    Raises
    ------
    ModelNotFoundError
        No such model, or one that only a person can download (with the page and the import command).
    FetchError
        Licence not accepted, or a download that failed, in one sentence.
    CheckpointError
        What came is not the network that the card describes.
    """
    options = options or FetchOptions()
    card = store.find(name)
    if card.is_local:
        return card
    if not card.files:
        raise ModelNotFoundError(f"{card.name} cannot be fetched by a program: {how_to_get(card)}.")
    Licences(store.home).require(card, accept=options.accept_licence, ask=options.ask)
    with held(store.home, f"fetch-{card.name}", options.waiting):
        card = store.find(name)
        if card.is_local:  # somebody else brought it meanwhile
            return card
        return _brought(card, store.home / "downloads" / card.name, store, options)


def _brought(card: ModelCard, folder: Path, store: Store, options: FetchOptions) -> ModelCard:
    """Download into ``folder`` and import; what came of one that stopped stays there, an empty folder not."""
    try:
        parts, sums = _download(card, folder, options)
        try:
            done = _import(card, folder, parts, sums, store, options)
        except CheckpointError:
            if not all(file.sha256 for file in card.files):  # it may not have come whole: not taken up again
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return done
    finally:
        with suppress(OSError):  # it holds something, or is gone
            folder.rmdir()


def _download(card: ModelCard, folder: Path, options: FetchOptions) -> tuple[list[Path], list[str]]:
    parts, sums = [], []
    for file in card.files:
        name = _file_name(file.url)
        way = replace(options.download, bar=options.bar(name)) if options.bar else options.download
        sums.append(way(file.url, folder, name=name, sha256=file.sha256 or None, size=file.size or None))
        parts.append(folder / name)
    return parts, sums


def _import(
    card: ModelCard, folder: Path, parts: list[Path], sums: list[str], store: Store, options: FetchOptions
) -> ModelCard:
    from napari_iseg.weights.importer import ImportOptions, import_file

    weights = parts[0]
    if card.files[0].archive:
        member = re.sub(r"\.7z(\.\d+)?$", "", parts[0].name)
        weights = folder / "unpacked" / "weights"
        try:
            unpack_weights(parts, weights, member)
        except FetchError:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged archive must not be taken up again
            raise
    found = [
        replace(f, sha256=s, size=p.stat().st_size) for f, s, p in zip(card.files, sums, parts, strict=True)
    ]
    base = replace(card, files=tuple(found))
    return import_file(weights, store, ImportOptions(name=card.name, half=options.half), base=base)


def _file_name(url: str) -> str:
    """The last part of an address as a plain file name."""
    name = Path(unquote(urlsplit(url).path)).name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise FetchError(f"The address {url} does not end in a file name; correct the model card.")
    return name
