"""A torchvision that does not fit torch is one sentence, wherever it is met first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from napari_iseg.backends.sam_net import prompt_parts
from napari_iseg.errors import IsegError
from napari_iseg.fewshot.pyramid import timm_encoder
from napari_iseg.nn.ifsenet_encoder import ResNetEncoder
from napari_iseg.nn.torchvision_guard import need_torchvision
from napari_iseg.training.published import PublishedSamples
from napari_iseg.weights.store import Store
from napari_iseg.weights.verify import verify

FIRST_USES = [
    need_torchvision,
    lambda: prompt_parts(32, 4, 64, 32, 32),
    lambda: timm_encoder("resnet18"),
    lambda: ResNetEncoder("resnet50", 8),
    lambda: PublishedSamples([object()], "cocolvis", 0, 1),
]


@pytest.fixture
def misfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchvision does on import beside a torch of another build."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)


@pytest.mark.parametrize("use", FIRST_USES)
def test_a_torchvision_of_another_build_is_said(misfit: None, use) -> None:
    with pytest.raises(
        IsegError, match=r"nms does not exist\): torch and torchvision are of different builds"
    ):
        use()


def test_verify_reports_it_of_the_model_that_needs_it(misfit: None) -> None:
    store = Store()
    (problem,) = verify(store.find("sam-starter"), store).problems
    assert problem.endswith("install both from the same index.")
    assert verify(store.find("thin-starter"), store).ok


def test_a_missing_torchvision_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(IsegError, match="torchvision is missing; install"):
        need_torchvision()
