"""Make the sample images anew: ``python sample_data/make.py [FOLDER]``. Equal pixels every time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import aerial
import canvas
import cells
import numpy as np
import organelles
import tifffile

Picture = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, Any]]


def pictures() -> dict[str, Picture]:
    """Name -> (image, labels, TIFF metadata)."""
    micro = {"axes": "YX", "PhysicalSizeY": cells.PIXEL_SIZE, "PhysicalSizeYUnit": "µm"}
    micro |= {"PhysicalSizeX": cells.PIXEL_SIZE, "PhysicalSizeXUnit": "µm"}
    nano: dict[str, Any] = {"axes": "ZYX"}
    for axis, size in zip("ZYX", organelles.SCALE, strict=True):
        nano |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    metre = {"axes": "YXS", "PhysicalSizeY": canvas.PIXEL_SIZE, "PhysicalSizeYUnit": "m"}
    metre |= {"PhysicalSizeX": canvas.PIXEL_SIZE, "PhysicalSizeXUnit": "m"}
    return {
        "cells": (*cells.make(), micro),
        "organelles": (*organelles.make(), nano),
        "aerial": (*aerial.make(), metre),
    }


def write(folder: Path) -> None:
    """Write ``NAME.tif`` and ``NAME_labels.tif`` of every picture, readable with tifffile alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (image, labels, metadata) in pictures().items():
        for suffix, array in (("", image), ("_labels", labels)):
            axes = metadata["axes"].replace("S", "") if suffix else metadata["axes"]
            path = folder / f"{name}{suffix}.tif"
            tifffile.imwrite(
                path,
                array,
                ome=True,
                metadata=metadata | {"axes": axes},
                photometric="rgb" if axes.endswith("S") else "minisblack",
                compression="zlib",
                compressionargs={"level": 9},
                predictor=2,
            )
            print(f"{path}  {array.shape} {array.dtype}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
