"""README and tutorials, read one after the other in one folder: what they print is typed, and works."""

from __future__ import annotations

import importlib.util
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_iseg.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITES = ("-o", "--output", "--overlay", "--out", "--headless")
WALK = [ROOT / "README.md"] + [
    ROOT / "docs" / "tutorials" / f"{name}.md"
    for name in ("first-object", "boxes-and-fine-masks", "few-slices-to-volume", "scene")
]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language ("" where none is said) and text of a page's blocks of Python and shell, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [(language, block) for language, block in found if language in ("python", "bash", "")]


def commands(block: str) -> list[list[str]]:
    """What is typed at a prompt, without comments and without what needs a network."""
    typed = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("napari-iseg ")]
    words = [shlex.split(line, comments=True)[1:] for line in typed]
    return [each for each in words if each[:2] != ["models", "fetch"]]


@pytest.mark.slow
def test_whoever_reads_on_in_one_folder_types_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [name for name in ("rasterio", "pyogrio", "shapely") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"the scene's tutorial needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    for page in WALK:
        names: dict[str, Any] = {}
        for language, block in blocks(page):
            if language == "python":
                with warnings.catch_warnings(
                    action="ignore"
                ):  # as in a prompt; the last word is an exception
                    exec(compile(block, str(page), "exec"), names)
                continue
            for words in commands(block):
                main(words)
    written = {"mask.tif", "nucleus.png", "house.png", "rest.zarr", "same.zarr", "town.zarr", "town.gpkg"}
    assert written <= {path.name for path in tmp_path.iterdir()}


def test_samples_are_named_as_the_menu_names_them() -> None:
    manifest = yaml.safe_load((ROOT / "src" / "napari_iseg" / "napari.yaml").read_text(encoding="utf-8"))
    offered = {one["display_name"] for one in manifest["contributions"]["sample_data"]}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"Open Sample › napari-iseg › ([^*]+)\*", text))
        assert named <= offered, f"{page.name}: {named - offered}"


def test_no_two_commands_of_the_pages_write_to_one_name() -> None:
    """The second is refused, and rightly; what goes on with a run or replaces it says so."""
    written: dict[str, Path] = {}
    for page in PAGES:
        for language, block in blocks(page):
            for words in commands(block) if language != "python" else ():
                if {"--resume", "--overwrite"} & set(words):
                    continue
                places = [words[i + 1] for i, word in enumerate(words) if word in WRITES]
                places += words[3:4] if words[0] == "propagate" else []
                for place in places:
                    assert place not in written, f"{page.name} and {written[place].name}: {place}"
                    written[place] = page


def test_what_the_index_does_not_have_is_not_installed_from_it() -> None:
    for page in PAGES:
        for _, block in blocks(page):
            assert "napari-iseg[" not in block, f"{page.name}: {block}"
