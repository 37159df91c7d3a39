"""A run in a process of its own, for tests that kill it: ``run_script.py OUT LOG SECONDS_PER_UNIT``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.fewshot.propagate import propagate


def main(out: str, log: str, slow: str) -> None:
    volume, truth = blobs()
    fake = GreyPredictor(smear=True, slow=float(slow), log=Path(log))
    propagate(
        volume,
        sparse(truth, 2),
        out,
        fake,
        tile=16,
        halo=2,
        probability=True,
        existing="resume",
        sequential=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
