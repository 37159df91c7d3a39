"""The words of the model list are those of the backends themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_iseg import backends
from napari_iseg.backends.titles import good_at, title_of

OWN = """
import a_library_that_is_slow_to_import

class Other:
    title = "Another class in the file"

class Own:
    name = "own"
    title: str = "My own"
    good_at = (
        "what nothing "
        "else is"
    )
"""


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_every_method_is_described_in_its_own_words(name):
    method = backends.get(name)
    assert (title_of(name), good_at(name)) == (method.title, method.good_at)


def test_one_line_of_registration_is_enough_for_a_new_method(tmp_path, monkeypatch):
    (tmp_path / "own_backend.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(backends, "BACKENDS", backends._Backends({"own": "own_backend:Own"}))
    assert (title_of("own"), good_at("own")) == ("My own", "what nothing else is")
    assert "own_backend" not in sys.modules


def test_an_unknown_method_has_its_short_name():
    assert (title_of("my-own"), good_at("my-own")) == ("my-own", "")


def test_the_words_are_known_without_torch():
    code = (
        "import sys; from napari_iseg.backends import BACKENDS, titles; "
        "assert all(map(titles.good_at, BACKENDS)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
