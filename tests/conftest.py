"""What all tests share: nobody's own models and settings are seen or touched."""

from __future__ import annotations

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
