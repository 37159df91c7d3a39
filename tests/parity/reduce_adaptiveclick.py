"""Make AdaptiveClick's small golden files from the full ones: ``python reduce_adaptiveclick.py FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from adaptiveclick_golden import CUTS, DATA, MASKS, second_image, thinned
from PIL import Image

FOCAL_SETTINGS = [0, 3, 6]
SETS = [0, 9]  # of the criterion's ten prediction sets


def small(folder: Path) -> None:
    with np.load(folder / "adaptiveclick_small.npz") as archive:
        stored = dict(archive)
    Image.fromarray(stored["image"][1]).save(DATA / "adaptiveclick_image.png", optimize=True)
    kept = {name: stored[name] for name in ("gains", "config")}
    kept |= {name: stored[name][1:] for name in ("prev_mask", "points")}
    kept |= {name: thinned(second_image(name, stored[name])) for name in CUTS}
    for name in (*MASKS, "click_maps"):
        shape = stored[f"{name}_shape"]
        bits = np.unpackbits(stored[f"{name}_packed"])[: shape.prod()].reshape(shape)[1:]
        kept |= {f"{name}_packed": np.packbits(bits), f"{name}_shape": np.array(bits.shape)}
    np.savez_compressed(DATA / "adaptiveclick_small.npz", **kept)


def attention(folder: Path) -> None:
    with np.load(folder / "msdeform_attn.npz") as archive:
        kept = {k: v for k, v in archive.items() if not k.startswith("module")}
    single = ("spatial_shapes", "sine_position_5x7_64")
    kept = {k: v if k in single else v[:1] for k, v in kept.items()}
    np.savez_compressed(DATA / "msdeform_attn.npz", **kept)


def focal(folder: Path) -> None:
    with np.load(folder / "adaptive_focal_loss.npz") as archive:
        kept = dict(archive)
    for name in kept:
        if name.startswith("afl_"):
            kept[name] = kept[name][FOCAL_SETTINGS]
    np.savez_compressed(DATA / "adaptive_focal_loss.npz", **kept)


def criterion(folder: Path) -> None:
    with np.load(folder / "adaptiveclick_criterion.npz") as archive:
        stored = dict(archive)
    kept = {k: v for k, v in stored.items() if k.startswith(("target", "cost", "match"))}
    kept |= {k: stored[k][SETS] for k in ("pred_logits", "pred_masks", "grad_pred_logits")}
    kept["gt_masks"] = np.packbits(stored["gt_masks"].astype(bool))
    values = dict(zip(stored["loss_names"].tolist(), stored["loss_values"].tolist(), strict=True))
    suffixes = ["" if i == 9 else f"_{i}" for i in SETS]
    losses = {
        name: [values[name + end] for end in suffixes] for name in ("loss_ce", "loss_dice", "loss_mask")
    }
    kept["losses"] = np.array(json.dumps(losses))
    kept["grad_pred_masks"] = thinned(stored["grad_pred_masks"])
    kept["grad_pred_masks_layer0"] = thinned(stored["grad_pred_masks_layer0"])
    np.savez_compressed(DATA / "adaptiveclick_criterion.npz", **kept)


def predictor(folder: Path) -> None:
    with np.load(folder / "adaptiveclick_predictor.npz") as archive:
        kept = {k: v for k, v in archive.items() if k.startswith("stub")}
    kept["stub_prob_half"] = kept["stub_prob_half"][:, ::12, ::12]
    np.savez_compressed(DATA / "adaptiveclick_predictor.npz", **kept)


def keys(folder: Path) -> None:
    tables = {
        v: json.loads((folder / f"adaptiveclick_{v.replace('-', '_')}_keys.json").read_text())
        for v in ("vit-b", "vit-h")
    }
    (DATA / "adaptiveclick_keys.json").write_text(json.dumps(tables, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    for part in (small, attention, focal, criterion, predictor, keys):
        part(Path(sys.argv[1]))
