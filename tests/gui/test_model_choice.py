"""Another model or another threshold: what the dock shows is what answers, whenever it was chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_iseg.errors import CheckpointError, DeviceError
from napari_iseg.widgets.model_loader import ModelKey, ModelLoader

from .fakes import FakeLoader
from .test_session_files import TwoModels

IMAGE = np.random.default_rng(6).integers(0, 255, (128, 128), dtype=np.uint8)


class SecondIsDamaged(TwoModels):
    """Says so after a while."""

    def load(self, key: Any) -> Any:
        if key.name == "wide":
            self.error = CheckpointError("The file of wide is damaged; fetch it again.")
        try:
            return super().load(key)
        finally:
            self.error = None


def begun(bench: Any, loader: FakeLoader) -> Any:
    """The dock on an image, with these models."""
    bench.loader = loader
    bench.viewer.add_image(IMAGE, name="cells")
    return bench.open()


def threshold_set(bench: Any, value: float) -> None:
    bench.dock.options.threshold.setValue(value)
    bench.qtbot.waitUntil(lambda: bench.dock.controller.choice.options.threshold == value)
    bench.settle()


def test_a_model_chosen_while_the_first_one_loads_answers(bench):
    dock = begun(bench, TwoModels(seconds=0.3))
    dock.controller.click_world((60, 60), True)
    bench.qtbot.waitUntil(lambda: bench.loader.loads == 1)
    dock.use_model("wide")
    threshold_set(bench, 0.8)
    assert bench.editor.session.model.card.name == "wide"
    assert bench.editor.session.threshold == 0.8
    assert bench.editor.session.patch.mask[60, 60]


def test_another_model_comes_with_its_own_threshold(bench):
    dock = begun(bench, TwoModels())
    bench.click((60, 60))
    threshold_set(bench, 0.8)
    dock.use_model("wide")
    bench.settle()
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.5


def test_after_a_model_that_cannot_be_loaded_all_is_as_before_and_clicks_are_answered(bench):
    dock = begun(bench, SecondIsDamaged(seconds=0.3))
    bench.click((30, 30))
    threshold_set(bench, 0.8)
    dock.use_model("wide")
    dock.controller.click_world((90, 90), True)
    assert len(bench.editor.layers.points.data) == 2
    bench.settle()
    assert "damaged" in dock.status.text()
    assert dock.models.card.name == "disks"
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.8
    assert len(bench.editor.session.clicks) == 2
    assert bench.editor.layers.current.data[90, 90]


def test_a_dock_opened_again_shows_the_open_object_and_its_threshold(bench):
    begun(bench, TwoModels())
    bench.click((30, 30))
    bench.do("commit")
    bench.click((90, 90))
    threshold_set(bench, 0.8)
    mask = bench.editor.session.mask
    bench.viewer.window.remove_dock_widget(bench.dock)
    assert bench.dock.controller.worker.join(10)
    dock = bench.open()
    bench.settle()
    np.testing.assert_array_equal(bench.editor.layers.current.data, mask)
    assert "Answered in" in dock.status.text()
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.8


def test_a_session_left_with_another_threshold_follows_the_one_chosen_since(bench):
    begun(bench, TwoModels())
    bench.click((30, 30))
    bench.do("commit")
    threshold_set(bench, 0.8)
    bench.viewer.window.remove_dock_widget(bench.dock)
    assert bench.dock.controller.worker.join(10)
    other = bench.viewer.add_image(IMAGE, name="other")
    dock = bench.open()
    dock.controller.choose_image(other)
    bench.settle()
    threshold_set(bench, 0.6)
    dock.controller.choose_image(bench.viewer.layers["cells"])
    bench.settle()
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.6


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "memory of the GPU"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
)
def test_a_model_too_large_for_the_memory_is_one_that_cannot_be_loaded(tmp_path, monkeypatch, error, words):
    def load(*_: Any, **__: Any) -> None:
        raise error

    loader = ModelLoader(tmp_path)
    for name, by in (("load_click_model", loader.load), ("load_edge_model", loader.load_edges)):
        monkeypatch.setattr(f"napari_iseg.weights.store.{name}", load)
        with pytest.raises(DeviceError, match=words):
            by(ModelKey("wide"))
