"""Milliseconds per click and peak memory of the three click methods, at 448, with their published settings.

    python benchmarks/gpu_clicks.py [--device cuda] [--methods mst ...] [--variants vit-b vit-h]
        [--precisions bfloat16 float32] [--repeats 10] [--json FILE]

A click is everything that `Session.click` does with it: the window, its mirror image, the network, the paste;
weights are random. The memory is the GPU's, or the whole process's on a CPU, where it only grows: ask for one
method, variant and precision at a time. MST was never published as ViT-H; here that is "main", enlarged.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from compare import command_line

import napari_iseg as iseg
from napari_iseg import backends
from napari_iseg.backends.base import as_device
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.cfr_icl_variants import VARIANTS as PLAIN
from napari_iseg.backends.model import Model
from napari_iseg.errors import DeviceError

SIDE: Final = 448
METHODS: Final = ("cfr-icl", "mst", "adaptiveclick")
# Names of MST's variants are those of branches.
MST: Final[Mapping[str, Any]] = MappingProxyType(
    {name: {**PLAIN[name], "branch": "main"} for name in ("vit-b", "vit-h")}
)


def random_model(method: str, variant: str | Mapping[str, Any], device: str, precision: str) -> Model:
    """A network with random weights, ready to answer."""
    torch.manual_seed(0)
    if method == "mst" and isinstance(variant, str):
        variant = MST[variant]
    net = backends.build(method, variant)
    return Model(ModelCard(method, method, variant), net, device=device, precision=precision)


def measure(model: Model, clicks: int) -> dict[str, float]:
    """Median milliseconds of that many clicks after two that warm up, and the peak memory in GB."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    rng = np.random.default_rng(0)
    session = iseg.Session(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8), model)
    taken = []
    for i, (row, col) in enumerate(rng.integers(0, SIDE, (clicks + 2, 2))):
        start = time.perf_counter()
        session.click((int(row), int(col)), positive=i % 3 != 2)  # the mask is on the CPU when it returns
        taken.append(1000 * (time.perf_counter() - start))
    session.close()
    return {"ms_per_click": statistics.median(taken[2:]), "peak_memory_gb": peak_memory(model.device)}


def peak_memory(device: torch.device) -> float:
    """GB that were held on a GPU since the last reset, or by this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = command_line(__doc__)
    parser.set_defaults(repeats=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--variants", nargs="+", choices=sorted(MST), default=sorted(MST))
    parser.add_argument("--precisions", nargs="+", default=("bfloat16", "float32"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        as_device(options.device)
    except DeviceError as error:
        parser.error(str(error))
    rows: dict[str, dict[str, float]] = {}
    for method in options.methods:
        for variant in options.variants:
            for precision in options.precisions:
                name = f"{method} {variant} {precision}"
                row = measure(random_model(method, variant, options.device, precision), options.repeats)
                rows[name] = row
                print(f"{name:32} {row['ms_per_click']:8.1f} ms  {row['peak_memory_gb']:6.2f} GB", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
