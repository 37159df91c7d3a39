"""Takes a checkpoint file into the user's folder: recognised, rewritten as safetensors, given a card."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg import backends
from napari_iseg.backends.base import Recognition
from napari_iseg.backends.cards import WEIGHTS, ModelCard, write_card
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.files import hidden_in, replacing_folder
from napari_iseg.weights.checkpoint import Checkpoint, open_checkpoint
from napari_iseg.weights.fit import check_fit
from napari_iseg.weights.loading import NOT_FINITE, LazyState, card_beside
from napari_iseg.weights.locks import held
from napari_iseg.weights.recognise import (
    check_demand,
    claimed,
    described,
    identify,
    same_variant,
    unwrapped,
    variant_name,
)
from napari_iseg.weights.safetensors_writer import what_it_is, write_safetensors
from napari_iseg.weights.store import Store
from napari_iseg.weights.verify import all_finite, broken_names, sha256_of
from napari_iseg.weights.widen import widened_file

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user says of a file.

    ``name``: of the new model; ``licence``, ``licence_url``: of the weights; ``backend``, ``variant``: what
    it must be recognised as; ``half``: store 16-bit numbers; ``overwrite``: replace a model of the same name;
    ``widen``: make an IS-Net of 3 or 4 input channels one of 5; ``heads``: attention heads, where shapes do
    not show and neither file nor card states them; ``tell``: called with a sentence on what had to be
    assumed.
    """

    name: str | None = None
    licence: str = ""
    licence_url: str = ""
    backend: str | None = None
    variant: str | None = None
    half: bool = False
    overwrite: bool = False
    widen: bool = False
    heads: int | None = None
    tell: Callable[[str], object] | None = None


def import_file(
    path: Path, store: Store, options: ImportOptions | None = None, *, base: ModelCard | None = None
) -> ModelCard:
    """Import ``path`` (.pth, .pt or .safetensors) and return its new card.

    ``base`` is the card that the file belongs to, where the caller knows it.

    A file that a shipped card names (by ``options.name``, or by the published file name) takes over that
    card's title and licence. One that lies beside a ``card.toml`` keeps that card.

    Raises
    ------
    CheckpointError
        Damaged, with NaN or infinity, of no known network (with the nearest), or of another than demanded,
        so with other attention heads than ``options.heads``.
    InputError
        A name that cannot be used or is taken.
    SaveError
        No space or permission; nothing is left behind, and a model that was to be replaced is as it was.
    """
    path = Path(path)
    options = options or ImportOptions()
    fix = "give another --name" if base is None else "that file is not the published one: fetch it elsewhere"
    base = base or card_beside(path) or _published_card(path, store, options.name)
    if options.widen and base is not None:  # another network, of the same origin
        options = replace(options, licence=options.licence or base.licence)
        base = None
    name = options.name or (base.name if base else _name_from(path, "-5" if options.widen else ""))
    with open_checkpoint(path) as opened, held(store.home, "import"):
        file = widened_file(unwrapped(opened)) if options.widen else unwrapped(opened)
        _check_name(name, store, options.overwrite)
        found, names = _recognise(file, base, options)
        if base is not None and not same_variant(base.backend, base.variant, found):
            raise CheckpointError(
                f"The file was recognised as {found.label}, but the model {base.name} is "
                f"{base.backend} {base.variant}; {fix}."
            )
        card = _card(name, found, names, base, options)
        return _write(card, file, store.user_folder / name, options.half)


def _recognise(file: Checkpoint, base: ModelCard | None, options: ImportOptions) -> tuple[Recognition, str]:
    """(what it is, whose key names it has: "own" or "published")."""
    if base is not None and base.folder is not None and base.is_local:
        known: tuple[Recognition, str] | None = (described(base.backend, base.variant), base.names)
    else:
        known = claimed(file.metadata)
    if known is None:
        return _from_shapes(file, base, options), "published"
    check_demand(known[0], options.backend, options.variant)
    _check_heads(known[0], known[0].variant.get("num_heads"), options.heads)
    check_fit(*known, file.shapes)
    return known


def _from_shapes(file: Checkpoint, base: ModelCard | None, options: ImportOptions) -> Recognition:
    """What a file is whose header does not say it; of the heads, which no shape shows, `options` may tell."""
    card = {} if base is None else described(base.backend, base.variant).variant
    hints = {**{key: card[key] for key in ("num_heads",) if key in card}, **file.hints}

    def found_by(hints: Mapping[str, Any]) -> Recognition:
        return identify(file.shapes, hints, backend=options.backend, variant=options.variant)

    found, stated = found_by(hints), hints.get("num_heads")
    heads = found.variant.get("num_heads")
    if found.heads_shown or heads == stated:
        _check_heads(found, heads if heads == stated else None, options.heads)
    elif options.heads:
        found = found_by({**hints, "num_heads": options.heads})
        _check_heads(found, None, options.heads)
    elif options.tell and (stated is not None or variant_name(found) is None):
        said = (
            "The file does not say how many attention heads its network has"
            if stated is None
            else f"The file states {stated!r:.60} attention heads, which its network cannot have"
        )
        options.tell(
            f"{said}; {heads} were assumed. If that is wrong, import it again with --heads N --overwrite."
        )
    return found


def _check_heads(found: Recognition, stated: int | None, asked: int | None) -> None:
    """Refuse attention heads that the network has not; ``stated``: what the file or its card says of them."""
    if not asked or asked == found.variant.get("num_heads"):
        return
    if stated is not None:
        raise CheckpointError(
            f"The file or its card states {stated} attention heads, and --heads {asked} was given; leave "
            "--heads out."
        )
    raise CheckpointError(
        f"The file was recognised as {found.label}, which cannot have {asked} attention heads; leave --heads "
        "out or correct it."
    )


def _published_card(path: Path, store: Store, name: str | None) -> ModelCard | None:
    """The card without weights that is meant: of that name, or whose published file has this file's name."""
    waiting = [card for card in store.list_models() if not card.is_local]
    if name is not None:
        return next((card for card in waiting if card.name == name), None)
    return next((card for card in waiting if card.published_stem == path.stem), None)


def _name_from(path: Path, ending: str = "") -> str:
    name = re.sub(r"[^a-z0-9._+-]+", "-", path.stem.lower()).strip("-._+")[:60]
    return (name or "imported") + ending


def _check_name(name: str, store: Store, overwrite: bool) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a model's name; use at most 64 small letters, digits, '-', '_', '.' and '+'."
        )
    present = next((card for card in store.list_models() if card.name == name), None)
    if present is None or not present.is_local:
        return
    if present.folder is not None and present.folder.parent == store.user_folder:
        if overwrite:
            return
        raise InputError(
            f"There is a model {name!r} already; choose another --name, or --overwrite to replace it."
        )
    raise InputError(f"{name!r} is the name of a model that ships with napari-iseg; choose another --name.")


def _card(
    name: str, found: Recognition, names: str, base: ModelCard | None, options: ImportOptions
) -> ModelCard:
    method = backends.get(found.backend)
    card = base or ModelCard(
        name=name,
        backend=found.backend,
        variant=variant_name(found) or found.variant,
        title=f"{found.label}, imported",
        prompts=tuple(sorted(method.prompts)),
        good_at=method.good_at,
    )
    return replace(
        card,
        name=name,
        names=names,
        weights=WEIGHTS,
        licence=options.licence or card.licence or "unknown",
        licence_url=options.licence_url or card.licence_url,
    )


def _write(card: ModelCard, file: Checkpoint, folder: Path, half: bool) -> ModelCard:
    metadata = what_it_is(card.backend, card.variant, card.names)

    def read(key: str) -> Tensor:
        return _finite(file, key, half)

    with replacing_folder(folder) as fresh:  # weights and card change together
        weights = fresh / card.weights
        write_safetensors(weights, file.shapes, file.dtypes, read, metadata, half=half)
        done = replace(card, sha256=sha256_of(weights), size_bytes=weights.stat().st_size, folder=folder)
        write_card(done, fresh)
        _take_along(folder, fresh)
    return done


def _take_along(folder: Path, fresh: Path) -> None:
    """Copy what else somebody put into a model's folder, links as links."""
    ours = {entry.path for entry in hidden_in(folder)}
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry in ours or (fresh / entry.name).exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, fresh / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, fresh / entry.name, follow_symlinks=False)


def _finite(file: Checkpoint, key: str, half: bool) -> Tensor:
    """A tensor of the file, which a network could compute with.

    Raises
    ------
    CheckpointError
        Where it holds NaN or infinity; the sentence names the first such tensors of the file.
    InputError
        Where it would as 16-bit numbers, which end at 65504.
    """
    value = file.read(key)
    if not all_finite(value):
        raise CheckpointError(NOT_FINITE.format(broken_names(LazyState(file))))
    if half and value.is_floating_point() and not all_finite(value.half()):
        raise InputError(f"The numbers in {key!r} are too large for 16 bits; leave --half out.")
    return value
