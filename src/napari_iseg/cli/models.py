"""``napari-iseg models``: what there is, and getting, importing and checking weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_iseg.backends.cards import CARD_FILE, ModelCard, card_in, card_table, read_card, write_card
from napari_iseg.cli.common import bars, console, errors, print_json
from napari_iseg.cli.empty import Commands
from napari_iseg.errors import InputError
from napari_iseg.weights.store import Store, how_to_get, path_of

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(cls=Commands, help="List, fetch, import and check models.")

UNKNOWN = "unknown"
NAMED = "Name of the model, or a folder with a card, as `train` makes one."
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Half = Annotated[bool, typer.Option("--half", help="Store 16-bit numbers: half the size.")]


@app.command("list", epilog="Example: `napari-iseg models list --here`")
def list_(
    here: Annotated[
        bool, typer.Option("--here", help="Only models whose weights are on this machine.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List all models, shipped and your own."""
    store = Store()
    cards = [card for card in store.list_models() if card.is_local or not here]
    if as_json:
        print_json([_described(card) for card in cards])
    else:
        # A file or a pipe has no width: whole lines, to be searched.
        console.print(_table(cards, console.width if console.is_terminal else None))
    for problem in store.problems().values():
        errors.print(problem)


@app.command(epilog="Example: `napari-iseg models show cfr-icl-cocolvis-vit-h`")
def show(name: Annotated[str, typer.Argument(help=NAMED)], as_json: Json = False) -> None:
    """Show the card of a model: what it is, its licence, its scores, how to get its weights."""
    card = _found(Store(), name)
    if as_json:
        print_json(_described(card))
        return
    for key, value in card_table(card).items():
        if key == "files":
            value = [part["url"] for part in value]
        console.print("\n".join(_in_words(key, value)))
    console.print(
        f"{'weights at:':14}{card.weights_path if card.is_local else 'not here; ' + how_to_get(card)}"
    )


@app.command(epilog="Example: `napari-iseg models fetch cfr-icl-cocolvis-vit-h --accept-licence`")
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licence of the weights and accept it.")
    ] = False,
    half: Half = False,
    as_json: Json = False,
) -> None:
    """Download the published weights of a model; an interrupted download goes on where it stopped."""
    from napari_iseg.weights.fetch import FetchOptions
    from napari_iseg.weights.fetch import fetch as fetch_weights

    shown = bars(stay=False, counts="bytes")
    options = FetchOptions(
        accept_licence=accept_licence,
        ask=_asker(),
        bar=partial(_DownloadBar, shown),
        half=half,
        waiting=lambda: errors.print(f"Another process is fetching {name}; waiting for it."),
    )
    try:
        card = fetch_weights(name, Store(), options)
    finally:
        shown.stop()
    _report(card, as_json)


@app.command(
    "import",
    epilog="Example: `napari-iseg models import cocolvis_vit_base.pth --name simpleclick-cocolvis-vit-b`",
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .pth, .pt or .safetensors file, or a folder with a card, as `train` makes one.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: from the file.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, e.g. MIT.")] = "",
    licence_url: Annotated[str, typer.Option(help="Where the licence can be read.")] = "",
    backend: Annotated[str | None, typer.Option(help="Refuse the file unless it is of this backend.")] = None,
    variant: Annotated[
        str | None, typer.Option(help="Refuse the file unless it is this variant, e.g. vit-b.")
    ] = None,
    half: Half = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace your model of the same name.")
    ] = False,
    widen: Annotated[
        bool,
        typer.Option(
            "--widen", help="Give an IS-Net of 3 or 4 input channels the five of IS5Net (new: zero)."
        ),
    ] = False,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads, where the file does not say how many.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a checkpoint file: recognised by its contents, read without running anything in it."""
    from napari_iseg.weights.importer import ImportOptions, import_file
    from napari_iseg.weights.widen import widening_hint

    options = ImportOptions(
        name,
        licence,
        licence_url,
        backend,
        variant,
        half,
        overwrite,
        widen,
        heads,
        tell=lambda sentence: errors.print(sentence),
    )
    card = import_file(_weights_in(file) if file.is_dir() else file, Store(), options)
    if card.licence == UNKNOWN and _someone_sits_here():
        card = replace(card, licence=typer.prompt("Licence of these weights", default=UNKNOWN, err=True))
        write_card(card, Store().user_folder / card.name)
    _report(card, as_json)
    hint = widening_hint(card.backend, card.variant)
    if hint:
        errors.print(hint)


@app.command(epilog="Example: `napari-iseg models verify --all`")
def verify(
    name: Annotated[str | None, typer.Argument(help=NAMED)] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every model that is on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Check models: card, checksum, strict loading, no NaN. Exit code 1 when something is wrong."""
    from napari_iseg.weights.verify import Verdict
    from napari_iseg.weights.verify import verify as verify_card

    if every == (name is not None):
        raise InputError("Give either the name of a model or --all.")
    store = Store()
    cards = (
        [_found(store, name)] if name is not None else [card for card in store.list_models() if card.is_local]
    )
    if name is not None:
        store.weights_of(cards[0])
    verdicts = [verify_card(card, store) for card in cards]
    if every:
        verdicts += [Verdict(folder, (problem,)) for folder, problem in store.problems().items()]
    if as_json:
        print_json(
            [{"name": v.name, "ok": v.ok, "sha256": v.sha256, "problems": list(v.problems)} for v in verdicts]
        )
    else:
        for verdict in verdicts:
            console.print(f"{verdict.name}: {'; '.join(verdict.problems) or 'ok'}")
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


def _found(store: Store, name: str) -> ModelCard:
    """The card of that name, or that in the folder of that name."""
    folder = path_of(name)
    if any(card.name == name for card in store.list_models()):
        return store.find(name)
    if (folder / CARD_FILE).is_file():
        return read_card(folder)
    if folder.is_file():
        raise InputError(
            f"{name} is a file, no model's name; make a model of it by napari-iseg models import {name}"
            + (f", or give the folder that it lies in: {folder.parent}." if _has_card(folder) else ".")
        )
    return store.find(name)


def _has_card(weights: Path) -> bool:
    return (weights.parent / CARD_FILE).is_file()


def _weights_in(folder: Path) -> Path:
    """The weights file that the card in a folder names, beside which the card is kept."""
    return folder / card_in(folder).weights


def _table(cards: list[ModelCard], width: int | None) -> str:
    """One line for each model, in columns, the most needed first; what goes beyond ``width`` is cut off."""
    rows = [("name", "here", "size", "takes", "licence", "good at")]
    for card in cards:
        here, size = "yes" if card.is_local else "no", _size(card.size_bytes)
        rows.append((card.name, here, size, ", ".join(card.prompts), card.licence, card.good_at))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    cut = [line if width is None or len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    return "\n".join(cut)


def _report(card: ModelCard, as_json: bool) -> None:
    if as_json:
        print_json(_described(card))
        return
    variant = card.variant if isinstance(card.variant, str) else "of own sizes"
    console.print(f"{card.name}: {card.backend} {variant}, {_size(card.size_bytes)}, licence {card.licence}")
    console.print(f"weights: {card.weights_path}\nsha256:  {card.sha256}")


def _described(card: ModelCard) -> dict[str, Any]:
    return {
        **card_table(card),
        "is_local": card.is_local,
        "weights_path": card.weights_path and str(card.weights_path),
    }


def _in_words(key: str, value: Any, depth: int = 0) -> list[str]:
    """Lines for an entry of a card; tables in tables follow it, further to the right."""
    inner = (
        {k: part for k, part in value.items() if isinstance(part, dict)} if isinstance(value, dict) else {}
    )
    if isinstance(value, dict):
        value = ", ".join(f"{k} {_plain(part)}" for k, part in value.items() if k not in inner)
    lines = [f"{'  ' * depth}{key + ': ':14}{_plain(value)}".rstrip()]
    return lines + [line for k, part in inner.items() if part for line in _in_words(k, part, depth + 1)]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_plain(part)}" for key, part in value.items())
    words = ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
    return " ".join(words.split())  # a description's lines are broken for a file, not for this screen


def _size(count: int) -> str:
    return "" if not count else f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def _asker() -> Callable[[str], bool] | None:
    """A question on the terminal, None where nobody sits."""
    if not _someone_sits_here():
        return None
    return lambda text: typer.confirm(f"{text} Do you accept it?", default=False, err=True)


def _someone_sits_here() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


class _DownloadBar:
    """One of ``bars``, of a file; they are shown from its first byte on, as a question may come before."""

    def __init__(self, shown: Progress, name: str) -> None:
        self._shown, self._task = shown, shown.add_task(name, total=None)

    def reset(self, total: float | None = None) -> None:
        self._shown.start()
        self._shown.reset(self._task, total=total)

    def update(self, n: float = 1) -> None:
        self._shown.advance(self._task, n)
