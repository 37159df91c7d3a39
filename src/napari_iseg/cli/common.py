"""What the commands share: consoles, JSON, progress, and reading numbers from options."""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.request import url2pathname

from rich.console import Console

from napari_iseg.errors import InputError

# No markup: names of files and extras hold square brackets, too.
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

# Qt and Java write one slash; of another machine than this one it is no path.
_FILE_ADDRESS = re.compile(r"(--[\w-]+=)?file:(?://(?:localhost)?)?(/(?!/).+)", re.IGNORECASE)


def print_json(value: Any) -> None:
    """One JSON document on standard output and nothing else: no colours, no wrapping.

    Where that is no UTF-8, in plain ASCII: a name in other letters must not cost a script its answer.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    narrow = codecs.lookup(encoding).name != "utf-8"
    print(json.dumps(value, indent=2, ensure_ascii=narrow, default=_plain))


def escape_unwritable() -> None:
    """Have characters that the terminal or pipe cannot take written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def local_path(argument: str) -> str:
    """With the path that a file:// address of this machine names, as a desktop copies it; else as it is.

    An option's value may stand behind its name, as in --output=file:///home/me/mask.tif.
    """
    address = _FILE_ADDRESS.fullmatch(argument)
    return argument if address is None else (address[1] or "") + url2pathname(address[2])


def need_extra(extra: str, *modules: str) -> None:
    """Refuse where packages of an extra are missing.

    Raises
    ------
    InputError
        The sentence names the first that is missing and how to install the extra.
    """
    for module in modules:
        if find_spec(module) is None:
            raise InputError(f'This needs {module}; install it with pip install "napari-iseg[{extra}]".')


def _plain(value: Any) -> Any:
    """Paths as text, numpy values and arrays as Python's."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, shown only where somebody looks.

    Yields
    ------
    advance : called with the amount done since the last call
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)


def numbers(text: str, option: str, example: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers separated by commas, as in ``--click 120,88``.

    Raises
    ------
    InputError
        When something else stands there, or another number of them.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        raise InputError(f"{option} {text!r} is not understood; write it as {option} {example}.")
    return values


def whole_numbers(text: str, option: str, example: str) -> tuple[int, ...]:
    """Like :func:`numbers`, but integers."""
    values = numbers(text, option, example)
    if not all(value.is_integer() for value in values):  # nor are "inf" and "nan"
        raise InputError(f"{option} {text!r} needs whole numbers; write it as {option} {example}.")
    return tuple(int(value) for value in values)
