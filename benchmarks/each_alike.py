"""What a report on a few objects of each picture says of all objects of a set.

    python benchmarks/each_alike.py RECIPE --data FOLDER --out results/nuclei [--set NAME]

Reads what `starter.py --per-image N` wrote to the folder: the mean NoC@85 with each picture alike, and with
each object alike, a picture's mean counting as often as it has objects; of the latter the standard error that
comes from having played only some.
"""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
from starter import recipe_arguments, validation_sets

LIMIT = 20


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument("--set", default="nuclei_dsb2018")
    options = parser.parse_args()
    report = json.loads((options.out / f"{options.set}.json").read_text())
    played: dict[str, list[int]] = defaultdict(list)
    for one in report["objects"]:
        done = [k for k, iou in enumerate(one["ious"], 1) if iou >= 0.85]
        played[one["image"]].append(done[0] if done else LIMIT)
    (data,) = [found for found in validation_sets(options.recipe, options.data) if found.name == options.set]
    there = {item.name: len(item.ids(data.min_area)) for item in data if item.name in played}
    counts = np.array([there[name] for name in played], float)
    means = np.array([np.mean(clicks) for clicks in played.values()])
    # The variance of each mean, less what is known of a picture of which all were played.
    variances = np.array(
        [
            np.var(clicks, ddof=1) / len(clicks) * (1 - len(clicks) / there[name]) if len(clicks) > 1 else 0.0
            for name, clicks in played.items()
        ]
    )
    error = np.sqrt((counts**2 * variances).sum()) / counts.sum()
    print(f"{report['object_count']} of {counts.sum():.0f} objects in {len(played)} pictures, NoC@85:")
    print(f"each picture alike {means.mean():.2f}")
    print(f"each object alike  {(counts * means).sum() / counts.sum():.2f} (standard error {error:.2f})")


if __name__ == "__main__":
    main()
