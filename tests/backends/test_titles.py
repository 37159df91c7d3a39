"""The words of the model list are those of the backends themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_iseg import backends
from napari_iseg.backends.titles import TITLES, good_at, title_of


@pytest.mark.parametrize("name", [name for name in backends.BACKENDS if backends.role(name) == "click"])
def test_every_method_that_takes_clicks_is_described_in_its_own_words(name):
    method = backends.get(name)
    assert (title_of(name), good_at(name)) == (method.title, method.good_at)


def test_nothing_else_is_described():
    assert set(TITLES) <= set(backends.BACKENDS)
    assert (title_of("my-own"), good_at("my-own")) == ("my-own", "")


def test_the_words_are_known_without_torch():
    code = "import sys, napari_iseg.backends.titles; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
