"""Training of every kind of network as on a GPU: in mixed precision, and on a stand-in for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from napari_iseg.training import fit
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.fit import Trainer
from napari_iseg.training.log import Progress
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, SceneRecipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step, Terms
from napari_iseg.training.thin_samples import ThinBank
from stand_in_gpu import OnGpu, stand_in_gpu

VIT = {
    "img_size": 64,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
}
CONV = {"trunk": "conv", "widths": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
MST = VIT | {"head_channels": 8, "branch": "main", "scoring": [1], "quality": True}
DECODER = {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 4}
FEW = {"encoder": "conv", "widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1), "channels": 16, "rates": (1, 2)}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cfr-icl": ("cfr-icl", VIT | {"depth": 4, "head_channels": 8}),
    "cfr-icl conv": ("cfr-icl", CONV),
    "mst": ("mst", MST),
    "mst conv": ("mst", CONV),
    "adaptiveclick": ("adaptiveclick", VIT | {"depth": 4} | DECODER),
    "adaptiveclick conv": ("adaptiveclick", CONV | DECODER),
    "sam conv": ("sam", {"encoder": "conv", "img_size": 64, "prompt_dim": 80, "mlp_dim": 32, "iou_dim": 16}),
    "is5net": ("is5net", {"in_channels": 5, "width": 0.0625}),
    "is5net-gt-encoder": ("is5net-gt-encoder", {"width": 0.0625}),
    "ifsenet": ("ifsenet", FEW | {"tokens": 32}),
    "thin": ("thin", {"widths": (8, 8, 16, 16), "dim": 4}),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def bank_for(backend: str) -> Bank | EpisodeBank | ThinBank:
    if backend == "ifsenet":
        episodes = EpisodeBank()
        episodes.add_scenes(SceneRecipe(count=4, size=96, weight=1.0), seed=3)
        return episodes
    if backend == "thin":
        thin = ThinBank()
        thin.add_scenes(SceneRecipe(count=4, size=96, weight=1.0, kind="thin"), 0)
        return thin
    bank = Bank()
    bank.add("scenes", [picture(*random_scene(np.random.default_rng(i), 96)) for i in range(3)], 1.0)
    return bank


def recipe_for(kind: str, **changes: Any) -> Recipe:
    backend, variant = NETWORKS[kind]
    clicked = backend in ("cfr-icl", "mst", "adaptiveclick")
    terms = {"features": 0.0} if backend == "is5net" else {}  # else it needs a trained guide
    return Recipe(
        "mixed",
        backend=backend,
        variant=variant,
        workers=1,
        samples={"size": 64},
        optim=OptimRecipe(steps=3, batch=2, rate=1e-3, warmup=1),
        loss=LossRecipe(icl=False, max_forwards=2, free_share=0.0) if clicked else LossRecipe(terms=terms),
        **changes,
    )


def trained(recipe: Recipe, folder: Path) -> torch.nn.Module:
    seen: list[Progress] = []
    net = Trainer(recipe, bank_for(recipe.backend), folder).run(seen.append)
    assert len(seen) == 3
    assert all(np.isfinite(value) for progress in seen for value in progress.terms.values())
    assert all(bool(value.isfinite().all()) for value in net.parameters())
    return net


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_learns_in_bfloat16(kind: str, tmp_path: Path) -> None:
    net = trained(recipe_for(kind, precision="bf16-mixed"), tmp_path)
    assert all(value.dtype == torch.float32 for value in net.parameters())


class OverflowTask(ClickTask):
    """Its loss is too large to be scaled in some steps."""

    def __init__(self, *too_large: int) -> None:
        self.too_large, self.asked = too_large, 0

    def loss(self, step: Step) -> Terms:
        made = super().loss(step)
        self.asked += 1
        return replace(made, total=made.total * 1e37) if self.asked in self.too_large else made


def in_float16() -> Fabric:
    """What Fabric makes of "16-mixed" on a GPU; on the CPU it would take bfloat16, which needs no scaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])


def scale_of(fabric: Fabric) -> float:
    precision = fabric.strategy.precision
    assert isinstance(precision, MixedPrecision)
    assert precision.scaler is not None
    return float(precision.scaler.get_scale())


def test_an_overflow_in_float16_is_passed_over_with_a_smaller_scale(tmp_path: Path) -> None:
    recipe, bank = recipe_for("cfr-icl conv", precision="16-mixed"), bank_for("cfr-icl")
    recipe = replace(recipe, optim=replace(recipe.optim, steps=5))
    fabric, scales = in_float16(), []
    trainer = Trainer(recipe, bank, tmp_path, task=OverflowTask(2, 3), fabric=fabric)
    net = trainer.run(lambda _: scales.append(scale_of(fabric)))
    assert scales == [2.0**12, 2.0**11, 2.0**10, 2.0**10, 2.0**11]
    assert all(bool(value.isfinite().all()) for value in net.parameters())


def test_a_run_in_float16_goes_on_with_its_scale(tmp_path: Path) -> None:
    recipe, bank = recipe_for("cfr-icl conv", precision="16-mixed", keep_every=1), bank_for("cfr-icl")
    longer = replace(recipe, optim=replace(recipe.optim, steps=4))
    Trainer(recipe, bank, tmp_path, task=OverflowTask(1, 2), fabric=in_float16()).run()
    resumed = in_float16()
    Trainer(longer, bank, tmp_path, fabric=resumed).run()
    assert scale_of(resumed) == 2.0**11  # halved twice, and two steps went well
    longest = replace(recipe, optim=replace(recipe.optim, steps=6), precision="32-true")
    Trainer(longest, bank, tmp_path).run()  # the precision may change
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["precision"] == {}


class StandIn(Fabric):
    """Fabric for the stand-in, which only we know."""

    def to_device(self, obj: Any) -> Any:
        return obj.to("cuda")

    def setup(self, module: torch.nn.Module, *optimizers: Any, **options: Any) -> Any:
        before = list(module.parameters())
        new = dict(zip(map(id, before), module.to("cuda").parameters(), strict=True))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["params"] = [new[id(parameter)] for parameter in group["params"]]
        return super().setup(module, *optimizers, move_to_device=False)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_learns_on_a_gpu(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "Fabric", StandIn)
    with stand_in_gpu(announced=False):  # else AdamW asks for its stream
        net = trained(recipe_for(kind, accelerator="cpu"), tmp_path)
    assert all(isinstance(value, OnGpu) for value in net.parameters())
