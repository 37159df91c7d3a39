"""What holds for all commands: help, version, exit codes, and that looking costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_iseg import __version__
from napari_iseg.cli import common


@pytest.mark.parametrize("command", ["demo", "segment", "models", "train", "evaluate"])
def test_every_command_has_help_with_an_example(run, command):
    ended = run(command, "--help")
    assert ended.code == 0
    if command != "models":
        assert f"Example: napari-iseg {command}" in " ".join(ended.out.split())


@pytest.mark.parametrize("command", ["list", "show", "fetch", "import", "verify"])
def test_every_models_command_has_help_with_an_example(run, command):
    ended = run("models", command, "--help")
    assert ended.code == 0
    assert f"napari-iseg models {command}" in " ".join(ended.out.split())


def test_version(run):
    ended = run("--version")
    assert (ended.code, ended.out) == (0, f"napari-iseg {__version__}\n")


def test_no_command_shows_help(run):
    ended = run()
    assert ended.code == 0
    assert "segment" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segmentt"], "No such command 'segmentt'"),
        (["segment"], "--help` shows what is possible"),
        (["segment", "x.tif", "--click", "1,2", "--threshold", "7"], "--threshold"),
        (["segment", "no.tif", "--click", "1,2"], "There is no file no.tif"),
        (["models", "show", "cfr-icl-cocolvis-vit-hh"], "did you mean cfr-icl-cocolvis-vit-h"),
        (["demo", "--headless", "x", "--sample", "cels"], "did you mean 'cells'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, words):
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.err.count("\n") == 1, "one line, so that a log stays readable"
    assert ended.err.startswith("napari-iseg: ")
    assert words in ended.err
    assert ended.out == ""


def test_training_without_its_extra_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    ended = run("train", "some.toml")
    assert ended.code == 2
    assert (
        ended.err.replace("\n", " ")
        .strip()
        .endswith('This needs cv2; install it with pip install "napari-iseg[train]".')
    )


def test_an_unexpected_failure_is_one_line_and_exit_code_1(run, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the disk\nis on fire")

    monkeypatch.setattr("napari_iseg.images.files.open_image", broken)
    ended = run("segment", "x.tif", "--click", "1,2")
    assert ended.code == 1
    assert "RuntimeError: the disk" in ended.err
    assert "--debug" in ended.err
    assert "Traceback" not in ended.err
    with pytest.raises(RuntimeError, match="on fire"):
        run("segment", "x.tif", "--click", "1,2", "--debug")


def test_a_name_too_long_for_the_disk_is_one_line(run):
    ended = run("segment", "y" * 300 + ".tif", "--click", "1,2")
    assert ended.code == 2
    assert "is too long for this disk; choose a shorter one" in ended.err.replace("\n", " ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["models", "list", "--json"], ["--version"], ["models", "list"]])
def test_output_that_cannot_be_written_is_said_in_one_line(arguments):
    with open("/dev/full", "wb") as full:
        ended = _typed(arguments, full)
    assert ended.stderr.startswith(b"napari-iseg: The output could not be written (No space left on device)")
    assert ended.stderr.count(b"\n") == 1
    assert ended.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_reader_who_has_gone_costs_no_words():
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        ended = _typed(["--version"], pipe)
    assert (ended.returncode, ended.stderr) == (1, b"")


def _typed(arguments, output):
    """The command in a process of its own, its output buffered as a shell's is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", f"from napari_iseg.cli import main; main({arguments!r})"]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env=environment, check=False)


@pytest.mark.parametrize("broken", ["napari_iseg.images.files.open_image", "napari_iseg.cli.app.build_app"])
def test_ctrl_c_is_one_word_and_exit_code_130(run, monkeypatch, broken):
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(broken, pressed)
    ended = run("segment", "x.tif", "--click", "1,2")
    assert (ended.code, ended.out, ended.err) == (130, "", "napari-iseg: Stopped.\n")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_name_that_the_output_cannot_take_costs_no_answer(encoding):
    code = """
from napari_iseg.cli.common import console, escape_unwritable, print_json
escape_unwritable()
print_json({"path": "\\u65e5\\U0001f600"})
console.print("\\u65e5")
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    document, _, line = ended.stdout.decode(encoding).rpartition("}")
    assert json.loads(document + "}") == {"path": "\u65e5\U0001f600"}
    assert line.strip() == ("\u65e5" if encoding == "utf-8" else "\\u65e5")


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list", "--json"]])
def test_looking_around_loads_neither_torch_nor_napari(arguments):
    code = f"""
import json, sys
from napari_iseg.cli import main
try:
    main({arguments!r})
finally:
    print(json.dumps([name for name in ("torch", "napari", "qtpy") if name in sys.modules]), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ended.stderr.splitlines()[-1]) == []
