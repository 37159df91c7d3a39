"""What all tests share: nobody's own models and settings are seen or touched."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the user's model folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes in one thread: small tensors are not worth more, and sums come out alike."""
    import torch  # here: most tests of images and the command line do without it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _opens_windows(request: pytest.FixtureRequest) -> bool:
    return request.path.parent.name in ("gui", "e2e")


@pytest.fixture(autouse=True, scope="module")
def _all_is_searched_at_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """What was left out below is searched after each file of tests."""
    windows = _opens_windows(request)
    if windows:
        gc.collect()
    yield
    if windows:
        gc.unfreeze()


@pytest.fixture(autouse=True)
def _only_new_objects_are_searched(request: pytest.FixtureRequest, _all_is_searched_at_the_end: None) -> None:
    """napari collects garbage at each layer it removes, which takes half a second with all libraries loaded.

    What is there before a test of windows is no garbage of it.
    """
    if _opens_windows(request):
        gc.freeze()
