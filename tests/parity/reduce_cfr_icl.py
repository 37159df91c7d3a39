"""Make the small golden files in data/ from the full ones: ``python reduce_cfr_icl.py FULL_FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from cfr_icl_golden import DATA, FULL_FILES, full_steps, thinned
from PIL import Image

VARIANTS = {"vit-b": "vit_b", "vit-l": "vit_l", "vit-h": "vit_h", "vit-xtiny": "vit_xtiny"}


def reduce_file(source: Path, target: Path) -> None:
    """Thin every stage again; configuration, clicks, statistics and disks stay whole."""
    with np.load(source) as archive:
        stored = dict(archive)
    kept = {"gains": stored["gains"]}
    for key, value in stored.items():
        if "/" not in key:
            continue
        case, name = key.split("/")
        if name in ("config", "points", "disks", "stats", "stats_names"):
            kept[key] = value
        elif name != "clicks":
            full = full_steps(case, json.loads(str(stored[f"{case}/config"])))
            kept[key] = thinned(name, value, ratio(full))
    np.savez_compressed(target, **kept)


def ratio(full):
    """Steps within the already thinned arrays."""
    once = type(full)(1, 1, 1, (1, 1, 1, 1), 1, 1)
    return once.coarser()


def main(folder: Path) -> None:
    with np.load(folder / "cfr_icl_small.npz") as archive:
        Image.fromarray(archive["image"][:224]).save(DATA / "cfr_icl_top.png", optimize=True)
        Image.fromarray(archive["image"][224:]).save(DATA / "cfr_icl_bottom.png", optimize=True)
        Image.fromarray(archive["prev_mask"]).save(DATA / "cfr_icl_mask.png", optimize=True)
    for name in FULL_FILES:
        reduce_file(folder / f"{name}.npz", DATA / f"{name}.npz")
    tables = {
        v: json.loads((folder / f"cfr_icl_{stem}_keys.json").read_text()) for v, stem in VARIANTS.items()
    }
    (DATA / "cfr_icl_keys.json").write_text(json.dumps(tables, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
