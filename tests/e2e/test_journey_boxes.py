"""A box around an object in the viewer, its edges refined, committed: real networks with random weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.prompts import Box

HAS_DISPLAY = sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
pytestmark = pytest.mark.skipif(
    not HAS_DISPLAY, reason="needs a display: run under xvfb-run -a -s '-screen 0 1280x1024x24'"
)

IMAGE = np.random.default_rng(0).integers(0, 255, (96, 128), dtype=np.uint8)
SAM = {"embed_dim": 32, "depth": 1, "num_heads": 2, "global_attn_indexes": [0], "img_size": 64}
SAM |= {"prompt_dim": 32, "mlp_dim": 32, "iou_dim": 16}
EDGES = {"in_channels": 5, "width": 0.0625}


def give_model(
    home: Path, name: str, backend: str, variant: dict[str, Any], inference: dict[str, Any], prompts: str
) -> None:
    """A model of random weights in the user's folder, as an import leaves it."""
    torch.manual_seed(5)
    folder = home / "models" / name
    folder.mkdir(parents=True)
    state = backends.build(backend, variant).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")
    card = ModelCard(name, backend, variant, prompts=tuple(prompts.split()), inference=inference)
    write_card(card, folder)


@pytest.fixture
def dock(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> Iterator[Any]:
    """The dock on an image, with the models chosen."""
    from napari_iseg.widgets.click_dock import ClickDock
    from napari_iseg.widgets.preferences import Preferences

    home = tmp_path / "home"
    give_model(home, "my-sam", "sam", SAM, {"threshold": 0.01}, "click box")
    give_model(home, "my-edges", "is5net", EDGES, {"size": 64, "threshold": 0.5}, "mask box")
    viewer = make_napari_viewer()
    viewer.add_image(IMAGE)
    chosen = Preferences(
        preload=False, autosave_folder=tmp_path / "sessions", cache_folder=home, keep_embeddings=True
    )
    made = ClickDock(viewer, preferences=chosen)
    viewer.window.add_dock_widget(made, name="Click segmentation")
    made.controller.ready.points_now()
    made.edge_models.setCurrentText("my-edges")
    assert made.use_model("my-sam", "cpu")
    yield made
    made.shut_down()
    assert made.controller.worker.join(20)


def test_a_box_its_refined_edges_and_the_commit(dock: Any, qtbot: Any, tmp_path: Path) -> None:
    controller = dock.controller

    def settle() -> None:
        qtbot.wait(30)
        qtbot.waitUntil(lambda: not controller.worker.busy and controller.editor.settled, timeout=120_000)

    settle()
    assert dock.actions.buttons["box"].isVisibleTo(dock)
    controller.perform("box")
    boxes = controller.editor.layers.boxes.layer
    boxes.add(np.array([[9.5, 19.5], [9.5, 79.5], [59.5, 79.5], [59.5, 19.5]]), shape_type="rectangle")
    settle()
    session = controller.editor.session
    assert session.current_box == Box(10, 20, 60, 80)
    coarse = session.mask
    assert coarse.any()
    assert len(list((tmp_path / "home" / "embeddings").iterdir())) == 1
    controller.perform("refine_edges")
    settle()
    fine = session.mask
    assert fine.any()
    assert not np.array_equal(fine, coarse)  # else undo and redo would show nothing
    for action, shown in (("undo", coarse), ("redo", fine)):
        controller.perform(action)
        settle()
        np.testing.assert_array_equal(session.mask, shown)
    controller.perform("commit")
    settle()
    np.testing.assert_array_equal(session.labels.read(()) == 1, fine)
    assert session.labels.prompts_of(1)[0].box == Box(10, 20, 60, 80)
    assert boxes.nshapes == 0
    dock.use_model("cfr-icl-starter")  # takes clicks only
    settle()
    assert not dock.actions.buttons["box"].isVisibleTo(dock)
    assert controller.editor.layers.boxes.layer is None
