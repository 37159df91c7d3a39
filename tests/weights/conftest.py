"""Fixtures of the weights tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from published_form import foreign_module, published_config, published_state

from napari_iseg.weights.store import Store


@pytest.fixture
def save_published(tmp_path, monkeypatch):
    """``save(name, **options)`` writes a published-form file; their package is gone again afterwards."""

    def save(name: str = "published.pth", state: dict | None = None, **options) -> Path:
        path = tmp_path / name
        with monkeypatch.context() as patch:
            config = published_config(foreign_module(patch))
            torch.save({"state_dict": state or published_state(), "config": config}, path, **options)
        assert not any(module.startswith("isegm") for module in sys.modules)
        return path

    return save


@pytest.fixture
def store(tmp_path) -> Store:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    return Store(tmp_path / "home", shipped)
