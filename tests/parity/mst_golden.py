"""Golden cases of the MST networks: their inputs, and our networks' stages cut like the stored ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cfr_icl_golden import golden_image
from fill import fill
from PIL import Image

from napari_iseg import backends
from napari_iseg.nn.mst import MstVit, ScoringBlock

DATA = Path(__file__).parent / "data"
SMALL_FILES = (
    "mst_small",
    "mst_depth24",
    "mst_branch_mst_448",
    "mst_branch_mst_224",
    "mst_branch_mst_224_large",
    "mst_branch_mst_1024_hqseg44k",
)
FULL_FILES = (*SMALL_FILES, "mst_vit_b")
BRANCHES = {"mst-1024-hqseg44k": "mst-1024"}  # the golden files' name -> ours
KEPT = {"tokens": 8, "channels": 4, "map": 4, "scores": 16}  # of the stored arrays, in tests/parity/data


@dataclass(frozen=True)
class Case:
    """One stored forward; ``cut`` says whether its arrays were thinned once more."""

    name: str
    branch: str
    config: dict
    gains: dict[str, float]
    points: np.ndarray
    arrays: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    step: int  # every so many middle tokens were stored
    cut: bool

    def network(self):
        c = self.config
        variant = {"img_size": c["img"], "embed_dim": c["dim"], "depth": c["depth"], "num_heads": c["heads"]}
        variant |= {"neck_dims": c["out"], "upsample": c["up"], "head_channels": c["ch"]}
        net = backends.build("mst", {**variant, "branch": self.branch}).eval()
        fill(net, self.gains)
        return net

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        height, width = self.config.get("infer", [self.config["img"]] * 2)
        image, mask = golden_image() if self.config["img"] == 448 else image_224()
        image = np.pad(image, ((0, 224), (0, 224), (0, 0)), mode="wrap")[:height, :width]
        mask = np.pad(mask, ((0, 224), (0, 224)), mode="wrap")[:height, :width] * (self.name != "no_clicks")
        tensors = (torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)[None])
        return tensors[0][None] / 255, tensors[1][None] / 255, torch.from_numpy(self.points)[None]


def image_224() -> tuple[np.ndarray, np.ndarray]:
    """(224, 224, 3) uint8 image and (224, 224) uint8 mask probability * 255."""
    stored = np.asarray(Image.open(DATA / "mst_224.png"))
    return np.ascontiguousarray(stored[..., :3]), np.ascontiguousarray(stored[..., 3])


def read_cases(file: Path, *, full: bool) -> list[Case]:
    with np.load(file) as archive:
        stored = dict(archive)
    branch = str(stored.get("branch", "main"))
    cases = []
    for name in sorted({key.split("/")[0] for key in stored if "/" in key}):
        own = {key.split("/")[1]: value for key, value in stored.items() if key.startswith(name + "/")}
        stats = dict(zip(json.loads(str(own.pop("stats_names"))), own.pop("stats"), strict=True))
        config, points = json.loads(str(own.pop("config"))), own.pop("points")
        for unused in ("margin", "clicks"):
            own.pop(unused, None)
        sparse = name in ("only_negative", "no_clicks", "at_672")
        step = 56 if name == "vit_b" else 49 if sparse else 14 if "branch" in file.stem else 7
        gains = json.loads(str(stored["gains"]))
        branch = BRANCHES.get(branch, branch)
        cases.append(Case(name, branch, config, gains, points, own, stats, step, not full))
    return cases


def whole_stages(case: Case) -> dict[str, np.ndarray]:
    """Every stage of our network: tokens (N, C), maps (h, w), and what each scoring block chose."""
    net, seen = case.network(), {}
    watch_tokens(net.backbone, seen)
    net.head.register_forward_hook(lambda _m, _a, out: seen.__setitem__("head", out[0, 0].numpy()))
    image, mask, clicks = case.inputs()
    with torch.inference_mode():
        net.prepare(*image.shape[-2:])
        out = net.detailed(image, mask, clicks)
    seen["logits"] = out.logits[0, 0].numpy()
    for i, pair in enumerate(out.chosen):
        for chosen, kind in zip(pair, "sl", strict=True):
            seen[f"score{i}_pos_scores_{kind}"] = chosen.scores[0].numpy()
            seen[f"score{i}_kernel_{kind}"] = chosen.kernel[0].numpy()
            seen[f"score{i}_idx_tokens_{kind}"] = chosen.index[0].numpy()
            seen[f"score{i}_sel_tokens_{kind}"] = chosen.tokens[0].numpy()
    return seen


def watch_tokens(trunk: MstVit, seen: dict[str, np.ndarray]) -> None:
    """Keep the tokens that enter the first blocks and leave each."""

    def keep(name, tokens):
        seen.setdefault(name, tokens[0].numpy().copy())

    for i, block in enumerate(trunk.blocks):
        if isinstance(block, ScoringBlock):

            def watched(base, small, large, *rest, of=block.take_in, i=i):
                keep("tokens16", base)
                keep("tokens8", small)
                keep("tokens32", large)
                result = of(base, small, large, *rest)
                keep(f"block{i:02d}_tokens8", result[1])
                keep(f"block{i:02d}_tokens32", result[2])
                return result

            block.take_in = watched
        block.register_forward_pre_hook(lambda _m, args: keep("tokens16", args[0]))
        block.register_forward_hook(lambda _m, _a, out, i=i: keep(f"block{i:02d}", out))


def thinned(name: str, array: np.ndarray, case: Case) -> np.ndarray:
    """A stage cut as the stored one was."""
    if name in ("head", "logits"):
        step = 2 if name == "head" else 12 if case.name == "at_672" else 8 if case.step == 49 else 4
        array = array[::step, ::step]
    elif "score" not in name:
        array = array[:: case.step * (4 if name.endswith("tokens8") else 1)]
    return cut(name, array) if case.cut else array


def cut(name: str, array: np.ndarray) -> np.ndarray:
    """What of a stored array is kept in tests/parity/data."""
    if name in ("head", "logits"):
        return array[:: KEPT["map"], :: KEPT["map"]]
    if "pos_scores" in name:
        return array[:: KEPT["scores"]]
    if "kernel" in name or "idx" in name or name.endswith("count"):
        return array
    return array[:: KEPT["tokens"], :: KEPT["channels"]]
