"""Golden cases of the CFR-ICL network: their inputs, and our network's stages cut like the stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fill import fill
from PIL import Image

from napari_iseg import backends
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.plain_vit import from_windows

DATA = Path(__file__).parent / "data"
FULL_FILES = ("cfr_icl_small", "cfr_icl_variants", "cfr_icl_vit_b")


@dataclass(frozen=True)
class Steps:
    """Every how many tokens, channels and pixels an array was kept."""

    tokens: int
    channels: int
    neck_channels: int
    neck_pixels: tuple[int, int, int, int]
    head: int
    logits: int

    def coarser(self) -> Steps:
        """What is kept in tests/parity/data; finer maps are thinned more."""
        pixels = (
            self.neck_pixels[0] * 4,
            self.neck_pixels[1] * 4,
            self.neck_pixels[2] * 4,
            self.neck_pixels[3] * 2,
        )
        return Steps(
            self.tokens * 4, self.channels * 4, self.neck_channels * 2, pixels, self.head * 5, self.logits * 4
        )


def full_steps(case: str, config: Mapping[str, object]) -> Steps:
    """How the full golden files were thinned, by their description."""
    sparse = case in ("xtiny_noclicks", "xtiny_672", "xtiny_448x672")
    tokens = 49 if sparse else 7 if case == "xtiny" else 56 if case == "vit_b" else 16
    logits = 8 if case == "xtiny_noclicks" else 12 if "672" in case else 4
    return Steps(
        tokens, 1, 32 if case == "vit_b" else 8, (8, 4, 2, 1), 2 if config["up"] != "x1" else 1, logits
    )


@dataclass(frozen=True)
class Case:
    """One stored forward: ``arrays`` by stage name, ``disks`` as packed bits, ``stats`` of whole stages."""

    name: str
    config: dict
    gains: dict[str, float]
    points: np.ndarray
    arrays: dict[str, np.ndarray]
    disks: np.ndarray
    stats: dict[str, np.ndarray]
    steps: Steps

    def network(self):
        c = self.config
        variant = {"img_size": c["img"], "patch_size": c["patch"], "embed_dim": c["dim"], "depth": c["depth"]}
        variant |= {
            "num_heads": c["heads"],
            "neck_dims": c["out"],
            "upsample": c["up"],
            "head_channels": c["ch"],
        }
        net = backends.build("cfr-icl", variant).eval()
        fill(net, self.gains)
        return net

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.config.get("infer", [self.config["img"]] * 2)
        return height, width

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        height, width = self.size
        image, mask = golden_image()
        image = np.pad(image, ((0, 224), (0, 224), (0, 0)), mode="wrap")[:height, :width]
        mask = np.pad(mask, ((0, 224), (0, 224)), mode="wrap")[:height, :width]
        mask = mask * (self.name != "xtiny_noclicks")
        tensors = (torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)[None])
        return tensors[0][None] / 255, tensors[1][None] / 255, torch.from_numpy(self.points)[None]


def golden_image() -> tuple[np.ndarray, np.ndarray]:
    """(448, 448, 3) uint8 image and (448, 448) uint8 mask probability * 255."""
    read = [np.asarray(Image.open(DATA / f"cfr_icl_{part}.png")) for part in ("top", "bottom", "mask")]
    return np.concatenate(read[:2]), read[2]


def read_cases(file: Path, *, full: bool) -> list[Case]:
    with np.load(file) as archive:
        stored = dict(archive)
    cases = []
    for name in sorted({key.split("/")[0] for key in stored if "/" in key}):
        own = {key.split("/")[1]: value for key, value in stored.items() if key.startswith(name + "/")}
        config = json.loads(str(own.pop("config")))
        steps = full_steps(name, config)
        stats = dict(zip(json.loads(str(own.pop("stats_names"))), own.pop("stats"), strict=True))
        own.pop("clicks", None)
        gains = json.loads(str(stored["gains"]))
        points, disks = own.pop("points"), own.pop("disks")
        steps = steps if full else steps.coarser()
        cases.append(Case(name, config, gains, points, own, disks, stats, steps))
    return cases


def whole_stages(case: Case) -> dict[str, np.ndarray]:
    """Every stage of our network, laid out and prepared as `Model` does.

    Tokens (N, C) are in raster order, maps (C, h, w), "disks" (2, H, W).
    """
    net, seen = case.network().to(memory_format=torch.channels_last), {}
    with torch.inference_mode():
        net.prepare(*case.size)
    grid = net.backbone.grid(*case.size)

    def raster(tokens):
        return from_windows(tokens, grid, net.backbone.windows(grid))[0].numpy()

    def keep(name, of):
        return lambda _module, args, out: seen.__setitem__(name, of(args, out))

    net.patch_embed_coords.register_forward_hook(keep("coord_tokens", lambda _, out: out[0].numpy()))
    net.backbone.blocks[0].register_forward_hook(keep("tokens_in", lambda args, _: raster(args[0])))
    for i, block in enumerate(net.backbone.blocks):
        block.register_forward_hook(keep(f"block{i:02d}", lambda _, out: raster(out)))
    for level in (4, 8, 16, 32):
        getattr(net.neck, f"down_{level}").register_forward_hook(
            keep(f"neck{level}", lambda _, out: out[0].numpy())
        )
    net.head.register_forward_hook(keep("head", lambda _, out: out[0, 0].numpy()))
    with torch.inference_mode():
        image, mask, clicks = case.inputs()
        seen["logits"] = net(image, mask, clicks)[0, 0].numpy()
        seen["disks"] = click_disks(clicks, *case.size)[0].numpy()
    return seen


def thinned(name: str, array: np.ndarray, steps: Steps) -> np.ndarray:
    """A stage cut as the stored one was."""
    if name.startswith("neck"):
        pixels = steps.neck_pixels[(4, 8, 16, 32).index(int(name[4:]))]
        return array[:: steps.neck_channels, ::pixels, ::pixels]
    if name in ("head", "logits"):
        step = steps.head if name == "head" else steps.logits
        return array[::step, ::step]
    return array[:: steps.tokens, :: steps.channels]
