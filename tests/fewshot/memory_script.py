"""A 20 GB volume within 2 GB of address space: ``memory_script.py FOLDER``; prints the peak in MB."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import zarr
from run_fakes import GreyPredictor

from napari_iseg.fewshot.propagate import propagate

LIMIT = 2 * 10**9


def main(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    shape = (5000, 2048, 2048)  # 21 GB of uint8
    volume = zarr.create_array(
        folder / "volume.zarr", shape=shape, dtype="uint8", chunks=(1, 512, 512), fill_value=9
    )
    labels = zarr.create_array(folder / "labels.zarr", shape=shape, dtype="uint32", chunks=(1, 512, 512))
    volume[2500:2502, 300:700, 300:700] = 200
    labels[2500, 300:700, 300:700] = 1
    out = folder / "rest.zarr"
    propagate(volume, labels, out, GreyPredictor(), planes=[2501], memory="1 GB")
    found = np.asarray(zarr.open_array(out / "0", mode="r")[2501])
    assert found[300:700, 300:700].all()
    sys.stdout.write(str(peak() // 1000))


def peak() -> int:
    """Highest resident memory of this program in kB; getrusage would count the parent's before exec, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
