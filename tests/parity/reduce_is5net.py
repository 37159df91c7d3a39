"""Make the small IS5Net golden files in data/ from the full ones: ``python reduce_is5net.py FULL_FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from is5net_golden import DATA, FEATURE_STEP, SIDE_STEP

WHOLE = ("dis_metrics", "gt_enrichment")


def reduce_256(source: Path, target: Path) -> None:
    """Maps and features thinned; inputs, losses and statistics whole."""
    with np.load(source) as archive:
        stored = dict(archive)
    kept = {}
    for key, value in stored.items():
        if key == "input" or key.startswith("train_grad"):
            continue
        if "side" in key:
            value = value[::SIDE_STEP, ::SIDE_STEP]
        elif "feature" in key and value.ndim == 3:
            value = value[:: FEATURE_STEP[0], :: FEATURE_STEP[1], :: FEATURE_STEP[1]]
        kept[key] = value
    np.savez_compressed(target, **kept)


def reduce_inputs(source: Path, target: Path) -> None:
    """What the two ways of preparing the input make of a mask; image and network's maps are left out."""
    with np.load(source) as archive:
        stored = dict(archive)
    left_out = ("side", "image", "demo_refined", "demo_binary", "demo_bool")
    kept = {key: value for key, value in stored.items() if not key.startswith(left_out)}
    np.savez_compressed(target, **kept)


def main(folder: Path) -> None:
    reduce_256(folder / "is5net_256.npz", DATA / "is5net_256.npz")
    reduce_inputs(folder / "is5net_1024.npz", DATA / "is5net_inputs.npz")
    for name in WHOLE:
        (DATA / f"{name}.npz").write_bytes((folder / f"{name}.npz").read_bytes())
    keys = json.loads((folder / "is5net_keys.json").read_text())
    (DATA / "is5net_keys.json").write_text(json.dumps(keys, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
