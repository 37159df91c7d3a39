"""How fast a few-shot run is, and how much of its time is not the model's.

    python benchmarks/propagate.py --model training-free --workers 1 2 4 --planes 8

Prints one line per number of workers: units, megapixels per second, and the overhead: time on the clock
beside the time inside the model, per worker. Annotates one slice of a made volume and runs on the others.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage

from napari_iseg.fewshot.propagate import propagate


def volume_file(folder: Path, planes: int, side: int) -> tuple[zarr.Array, np.ndarray]:
    """A volume of smooth blobs in noise on disk, and labels of its first slice."""
    rng = np.random.default_rng(0)
    coarse = ndimage.zoom(
        rng.standard_normal((planes // 2 + 2, side // 32, side // 32)), (2, 32, 32), order=1
    )
    blobs = coarse[:planes, :side, :side] > 0.4
    values = np.where(blobs, 150, 70) + rng.normal(0, 20, blobs.shape)
    array = zarr.create_array(
        folder / "volume.zarr", shape=blobs.shape, dtype="uint8", chunks=(1, min(side, 512), min(side, 512))
    )
    array[...] = np.clip(values, 0, 255).astype(np.uint8)
    labels = np.zeros(blobs.shape, np.uint8)
    labels[0] = blobs[0]
    return array, labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="training-free")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--planes", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    print("workers  units  seconds  megapixels/s  overhead")
    with tempfile.TemporaryDirectory() as folder:
        volume, labels = volume_file(Path(folder), options.planes, options.side)
        for workers in options.workers:
            report = propagate(
                volume,
                labels,
                Path(folder) / f"{workers}.zarr",
                options.model,
                workers=workers,
                threads=options.threads,
                device=options.device,
            )
            share = report.model_seconds / workers
            print(
                f"{workers:7d}  {report.units:5d}  {report.seconds:7.1f}  "
                f"{report.megapixels_per_second:12.2f}  {report.seconds / share - 1:8.0%}"
            )


if __name__ == "__main__":
    main()
