"""All commands, and how each of them ends."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from typing import Annotated, Any

import typer

from napari_iseg.cli.common import escape_unwritable, with_local_path
from napari_iseg.cli.empty import Commands
from napari_iseg.cli.stopping import STOPPED, StoppedError
from napari_iseg.errors import IncompleteError, IsegError

BAD_INPUT = 2
UNEXPECTED = 1
INCOMPLETE = 3
_NARROW = 60  # columns; in a table of fewer the names of options are cut
_UNWRITTEN = (errno.ENOSPC, errno.EFBIG, errno.EPIPE)


def run(arguments: list[str]) -> int:
    """Run the command that was typed; answers with its exit code, see `napari_iseg.cli.main`."""
    given = [with_local_path(text) for text in arguments]
    debug = "--debug" in given  # wherever it stands: people add it at the end of the line that failed
    if not debug:  # what it has to say of a broken file comes in our sentence
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    given = [argument for argument in given if argument != "--debug"]
    typed = ["napari-iseg"]
    try:
        escape_unwritable()
        command = typer.main.get_command(build_app())
        typed, inner = _named(command, given)
        if hasattr(inner, "commands") and len(typed) > len(given):  # a group by itself shows what is in it
            given.append("--help")
        code = command.main(args=given, prog_name=typed[0], standalone_mode=False)
        print(end="", flush=True)  # at exit it would fail with a traceback, or silently with code 0
    except (typer.Abort, KeyboardInterrupt):
        code = STOPPED
    except StoppedError as stopped:
        _complain(str(stopped))
        return STOPPED
    except Exception as error:  # the outer border: nobody but us can say what went wrong
        if debug:
            raise
        return _explain(error, " ".join(typed))
    if code == STOPPED:  # typer itself makes it of Ctrl-C while a command runs
        _complain("Stopped.")
    return code if isinstance(code, int) else 0  # a number: a command left with typer.Exit(code)


def _named(command: Any, given: list[str]) -> tuple[list[str], Any]:
    """The command that was typed, without what it was given, and its name: whose help is of use."""
    words = ["napari-iseg"]
    for word in given:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
            words.append(word)
    return words, command


def _explain(error: Exception, where: str) -> int:
    """Say in one line what went wrong; answers with the exit code."""
    if isinstance(error, IsegError):
        _complain(str(error))
        return INCOMPLETE if isinstance(error, IncompleteError) else BAD_INPUT
    usage = getattr(error, "format_message", None)  # an option or argument that typer refused
    if usage is not None:
        _complain(f"{usage().rstrip('.')}; `{where} --help` shows what is possible.")
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in _UNWRITTEN:
        _drop_output()
        if error.errno == errno.EPIPE:  # whoever read it has gone, as `| head` does: no reason to complain
            return UNEXPECTED
        reason = error.strerror or str(error)
        _complain(f"The output could not be written ({reason}); free some space or write it elsewhere.")
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        _complain(f"The name {str(error.filename)[-60:]} is too long for this disk; choose a shorter one.")
        return BAD_INPUT
    first = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
    _complain(f"Unexpected failure ({reason}). Run it again with --debug and report what that prints.")
    return UNEXPECTED


def _drop_output() -> None:
    """Forget what standard output does not take: Python would try once more at exit, and complain itself."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_app() -> typer.Typer:
    """All commands. What they work with (torch above all) is imported when one of them runs."""
    from napari_iseg.cli import bench, demo, evaluate, models, propagate, segment, train

    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown" if shutil.get_terminal_size().columns >= _NARROW else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help="Interactive segmentation for science: click an object, get its mask.")(_options)
    app.command()(demo.demo)
    app.command()(segment.segment)
    app.command()(propagate.propagate)
    app.add_typer(models.app, name="models")
    app.command()(train.train)
    app.command()(evaluate.evaluate)
    app.command()(bench.bench)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=lambda on: _version(on)
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback when something fails.")
    ] = False,
) -> None:
    """Options before the command; ``run`` has seen --debug already."""


def _version(wanted: bool) -> None:
    from napari_iseg import __version__

    if wanted:
        print(f"napari-iseg {__version__}")
        raise typer.Exit


def _complain(sentence: str) -> None:
    """One line on standard error."""
    print(f"napari-iseg: {' '.join(sentence.split())}", file=sys.stderr)
