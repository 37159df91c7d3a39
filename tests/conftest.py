"""What all tests share: nobody's own models and settings are seen or touched."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the user's model folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(home))
    return home
