"""The rendered reference says what is true: one entry per parameter, its own default, and a type that is one.

The reference is made of docstrings by griffe. It gives all names of one entry the default of the first, takes
what stands behind the colon for the type, and shows a type that reads as Python as Python: array - like.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

from napari_iseg import errors

ROOT = Path(__file__).parents[1]
LISTED = re.compile(r"^::: napari_iseg\.(\S+)", re.MULTILINE)
ENTRY = re.compile(r"\*{0,2}\w+( : .+)?")
HEADED = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
LONGEST_TYPE = 70
TYPE_WORDS = {
    *("Path", "None", "array_like", "arrays", "bool", "callable", "float", "float32", "int", "int32"),
    *(
        "mapping",
        "object",
        "of",
        "optional",
        "or",
        "path",
        "sequence",
        "str",
        "tuple",
        "uint8",
        "uint16",
        "uint32",
    ),
}


def _shown(one: griffe.Object | griffe.Alias) -> Iterator[griffe.Object]:
    """What the reference shows of an object: itself and its public members."""
    if isinstance(one, griffe.Alias):
        return
    yield one
    if one.is_class or one.is_module:
        for name, member in one.members.items():
            if not name.startswith("_"):
                yield from _shown(member)


@pytest.fixture(scope="module")
def documented() -> list[griffe.Object]:
    package = griffe.load("napari_iseg", search_paths=[ROOT / "src"], docstring_parser="numpy")
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    names = [name for page in pages for name in LISTED.findall(page.read_text(encoding="utf-8"))]
    found = [one for name in names for one in _shown(package[name]) if one.docstring]
    assert len(found) > 100
    return found


def _headers(one: griffe.Object) -> Iterator[tuple[str, str]]:
    """(section, line that begins an entry) as they stand in the docstring."""
    section, lines = "", one.docstring.value.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line and set(after) == {"-"}:
            section = line
        elif section in HEADED and line and not line.startswith(" ") and set(line) != {"-"}:
            yield section, line


def _kind(section: str, line: str) -> str:
    """The type that such a line names, "" where the signature says it."""
    _, named, kind = line.partition(" : ")
    return kind if named else line if section in ("Returns", "Yields") else ""


def _prose(kind: str, classes: set[str]) -> bool:
    """Whether a type is none; shapes and ranges in brackets are free."""
    bare = kind
    while bare != (bare := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", bare)):
        pass
    words = set(re.findall(r"\w+", bare))
    return len(kind) > LONGEST_TYPE or bool(set("`;:.") & set(bare)) or not words <= TYPE_WORDS | classes


def _section(one: griffe.Object, kind: str) -> list[griffe.DocstringNamedElement]:
    return [entry for part in one.docstring.parsed if part.kind.value == kind for entry in part.value]


def _real(one: griffe.Function | griffe.Class) -> dict[str, griffe.Parameter]:
    """What a caller may give, by name."""
    return {p.name: p for p in one.parameters if p.name not in ("self", "cls") and not p.name.startswith("_")}


def test_every_entry_is_one_name(documented):
    faults = []
    for one in documented:
        for section, line in _headers(one):
            if section == "Raises":
                right = hasattr(errors, line) or hasattr(builtins, line)
            else:
                right = section in ("Returns", "Yields") or ENTRY.fullmatch(line)
            if not right:
                faults.append(f"{one.path}, {section}: {line}")
    assert not faults, "\n".join(faults)


def test_no_type_is_prose(documented):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    classes = set(re.findall(r"^class (\w+)", code, re.MULTILINE))
    faults = []
    for one in documented:
        for section, line in _headers(one):
            if _prose(_kind(section, line), classes):
                faults.append(f"{one.path}: {line}")
    assert not faults, "\n".join(faults)


def test_types_are_shown_as_written(documented):
    faults = []
    for one in documented:
        parts = [part for part in one.docstring.parsed if part.kind.value.capitalize() in HEADED]
        shown = [entry for part in parts for entry in part.value]
        for (section, line), entry in zip(_headers(one), shown, strict=False):
            kind = _kind(section, line).removesuffix(", optional")
            if kind and str(entry.annotation) != kind:
                faults.append(f"{one.path}: {line}, shown as {entry.annotation}")
    assert not faults, "\n".join(faults)


def test_what_is_documented_is_what_may_be_given(documented):
    faults = []
    for one in documented:
        told = [entry.name.lstrip("*") for entry in _section(one, "parameters")]
        if told and sorted(told) != sorted(_real(one)):
            faults.append(f"{one.path}: {sorted(set(told) ^ set(_real(one)))}")
        told = [entry.name for entry in _section(one, "attributes")]
        whole = "dataclass" in one.labels and told
        missing = set(_real(one)) - set(told) if whole else set()
        if unknown := missing | {name for name in told if name not in one.all_members}:
            faults.append(f"{one.path}: {sorted(unknown)}")
    assert not faults, "\n".join(faults)


def test_defaults_shown_are_the_real_ones(documented):
    faults = []
    for one in documented:
        for entry in _section(one, "parameters"):
            real = _real(one).get(entry.name.lstrip("*"))
            if real is not None and str(entry.default) != str(real.default):
                faults.append(f"{one.path}, {entry.name}: shown {entry.default}, is {real.default}")
    assert not faults, "\n".join(faults)
