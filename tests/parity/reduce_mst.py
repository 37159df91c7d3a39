"""Make the small golden files in data/ from the full ones: ``python reduce_mst.py FULL_FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from mst_golden import DATA, SMALL_FILES, cut
from PIL import Image

WHOLE = ("config", "points", "stats", "stats_names")
TABLES = {
    "main": "mst_vit_b",
    "mst-448": "mst_vit_b_mst_448",
    "mst-224": "mst_vit_b_mst_224",
    "mst-224-large": "mst_vit_l_mst_224_large",
}
PART_FILES = ("mst_scoreblock", "mst_scoreblock_mst_224")
LOSS_FILES = ("mst_loss", "mst_loss_mst_224")


def load(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as archive:
        return dict(archive)


def reduce_network(folder: Path, name: str) -> None:
    stored = load(folder, name)
    kept = {key: stored[key] for key in ("gains", "branch") if key in stored}
    for key, value in stored.items():
        stage = key.split("/")[-1]
        if "/" not in key or stage in ("clicks", "margin"):
            continue
        if "idx_tokens" in stage:  # only what was kept; slots beyond it are in no particular order
            value = value[: int(stored[key.replace("idx", "sel") + "_count"])].astype(np.int16)
        kept[key] = value if stage in WHOLE else cut(stage, value)
    np.savez_compressed(DATA / f"{name}.npz", **kept)


def reduce_scoreblock(folder: Path, name: str) -> None:
    """One sample; every 16th token, each being refreshed on its own."""
    stored = load(folder, name)
    kept = {"gains": stored["gains"], "x_b": stored["x_b"][:1], "x_s": stored["x_s"][:1, ::16]}
    kept["points"] = stored["points"][:1]
    for kind in ("small", "large"):
        kept |= {f"{kind}/{part}": stored[f"{kind}/{part}"][:1] for part in ("x_s", "kernel")}
        kept[f"{kind}/scores"] = stored[f"{kind}/scores"][:1, ::16]
    np.savez_compressed(DATA / f"{name}.npz", **kept)


def reduce_loss(folder: Path, name: str) -> None:
    stored = load(folder, name)
    kept = {key: value[..., ::8] if "grad" in key else value for key, value in stored.items()}
    np.savez_compressed(DATA / f"{name}.npz", **kept)


def reduce_patch_embed(folder: Path) -> None:
    """The tokens of a corner of the picture; two channels of the positions; the kernels that are used."""
    stored = load(folder, "mst_patch_embed")
    kept = {key: value[..., ::4] for key, value in stored.items() if key.startswith("pos_embed")}
    kept |= {key: stored[key] for key in ("kernel8", "kernel32")}
    kept["input"] = stored["input"][..., :64, :64]
    for patch in (8, 16, 32):
        side, part = 224 // patch, 64 // patch
        tokens = stored[f"tokens{patch}"].reshape(side, side, -1)[:part, :part]
        kept[f"tokens{patch}"] = tokens.reshape(part * part, -1)
    np.savez_compressed(DATA / "mst_patch_embed.npz", **kept)


def main(folder: Path) -> None:
    stored = load(folder, "mst_branch_mst_224")
    picture = np.concatenate([stored["image"], stored["prev_mask"][..., None]], 2)
    Image.fromarray(picture).save(DATA / "mst_224.png", optimize=True)
    for name in SMALL_FILES:
        reduce_network(folder, name)
    for name in PART_FILES:
        reduce_scoreblock(folder, name)
    for name in LOSS_FILES:
        reduce_loss(folder, name)
    reduce_patch_embed(folder)
    tables = {v: json.loads((folder / f"{stem}_keys.json").read_text()) for v, stem in TABLES.items()}
    (DATA / "mst_keys.json").write_text(json.dumps(tables, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
