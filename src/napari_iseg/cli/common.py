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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import local_path

if TYPE_CHECKING:
    from rich.progress import Progress

# No markup: names of files and extras hold square brackets, too.
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

_OPTION = re.compile(r"--[\w-]+=")


def print_json(value: Any) -> None:
    """One JSON document on standard output and nothing else: no colours, no wrapping.

    Where that is no UTF-8, in plain ASCII: a name in other letters must not cost a script its answer. Of a
    name that is no UTF-8 itself each such byte is written as Python has it, 0xff as ``\\udcff``: with a
    replacement character nobody could find the file again.

    Raises
    ------
    SaveError
        When there is no standard output: a script that waits for the answer must not hear of success.
    """
    if sys.stdout is None:  # type: ignore[unreachable]  # as Python has it after `>&-`
        raise SaveError("The JSON could not be printed: standard output is closed; give it a pipe or a file.")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    narrow = codecs.lookup(encoding).name != "utf-8"
    print(json.dumps(value, indent=2, ensure_ascii=narrow, default=_plain))


def escape_unwritable() -> None:
    """Have characters that the terminal or pipe cannot take written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def with_local_path(argument: str) -> str:
    """An argument with the path that its file:// address names, if it is one; see `files.local_path`.

    An option's value may stand behind its name, as in --output=file:///home/me/mask.tif.
    """
    option = _OPTION.match(argument)
    start = option.end() if option is not None else 0
    return argument[:start] + local_path(argument[start:])


def need_file(path: Path | None, option: str) -> None:
    """Refuse an option's file that is missing or a folder, in the command line's words; None: not given.

    Raises
    ------
    InputError
        The sentence names the option.
    """
    if path is None or path.is_file():
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the file in it that is meant as {option}.")
    raise InputError(f"There is no file {path}; check the path of {option}.")


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
    with bars(counts=None, stay=False) as shown:
        task = shown.add_task(label, total=total)
        yield lambda amount: shown.advance(task, amount)


def bars(
    *, seen: bool = True, stay: bool = True, counts: Literal["steps", "bytes"] | None = "steps"
) -> Progress:
    """Progress bars on standard error, shown only where somebody looks: to be started and stopped.

    Parameters
    ----------
    seen : False shows them nowhere
    stay : the finished ones stay on the screen
    counts : what is counted beside the bars
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    counted: list[ProgressColumn] = []
    if counts is not None:
        counted = [MofNCompleteColumn() if counts == "steps" else DownloadColumn()]
    columns = TextColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn()
    hidden = not (seen and errors.is_terminal)
    return Progress(*columns, console=errors, transient=not stay, disable=hidden)


def ticks(shown: Progress, label: str) -> Callable[[int, int], None]:
    """One more of ``bars``: called with what is done and how much there is in all."""
    task = shown.add_task(label, total=None)
    return lambda done, total: shown.update(task, completed=done, total=total)


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


def byte_size(text: str, option: str) -> int:
    """The bytes of an option like ``--memory "2 GB"``.

    Raises
    ------
    InputError
        When it is no size; the sentence names the option.
    """
    from napari_iseg.fewshot.sizes import byte_count

    try:
        return byte_count(text)
    except InputError as error:
        raise InputError(f"{option} {text!r} is not understood; write it like '2 GB'.") from error
