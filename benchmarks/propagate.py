"""How fast a few-shot run is, how much of its time is not the model's, and how soon a correction is seen.

    python benchmarks/propagate.py --model training-free --workers 1 2 4 --planes 8
    python benchmarks/propagate.py --correct

The first prints one line per number of workers: units, megapixels per second, and the overhead: time on the
clock beside the time in the model, per worker. With one worker also the overhead in CPU time, which a busy
machine does not change. It annotates one slice of a made volume and runs on the others.

The second prints the seconds from a correction to the corrected slice in the output, as the viewer does it:
model loaded, features cached, 4 slices of 60 annotated, clicks on a predicted one, that slice in view.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import ndimage

from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.executors import Local
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.fewshot.given import GivenImage
from napari_iseg.fewshot.models import DEFAULT_MODEL
from napari_iseg.fewshot.predictors import describe
from napari_iseg.fewshot.preparing import Request, prepare
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.fewshot.runner import Runner
from napari_iseg.fewshot.worker import Worker
from napari_iseg.labels.metadata import Space
from napari_iseg.prompts import Click

_FEATURES = 512 * 2**20  # bytes, as in the viewer
_ANNOTATED, _CORRECTED = ((5,), (20,), (40,), (55,)), (32,)


@dataclass(frozen=True)
class Seconds:
    """On the clock, and of the processor."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.wall - start.wall, self.cpu - start.cpu)

    def __str__(self) -> str:
        return f"{self.wall:6.2f} s on the clock, {self.cpu:5.2f} s CPU"


class Timed:
    """A predictor whose CPU time is summed up; for one process and one thread of the model."""

    def __init__(self, predictor: UnitPredictor) -> None:
        self._predictor, self.cpu = predictor, 0.0
        self.identity, self.needs_image = predictor.identity, predictor.needs_image

    def predict_unit(self, *given: Any) -> Any:
        start = time.thread_time()
        answer = self._predictor.predict_unit(*given)
        self.cpu += time.thread_time() - start
        return answer


def volume_file(folder: Path, planes: int, side: int) -> tuple[zarr.Array, np.ndarray]:
    """A volume of smooth blobs in noise on disk, and the labels of all its slices."""
    rng = np.random.default_rng(0)
    coarse = ndimage.zoom(
        rng.standard_normal((planes // 2 + 2, side // 32, side // 32)), (2, 32, 32), order=1
    )
    blobs = coarse[:planes, :side, :side] > 0.4
    array = zarr.create_array(
        folder / "volume.zarr", shape=blobs.shape, dtype="uint8", chunks=(1, min(side, 512), min(side, 512))
    )
    for z, blob in enumerate(blobs):
        values = np.where(blob, 150, 70) + rng.normal(0, 20, blob.shape)
        array[z] = np.clip(values, 0, 255).astype(np.uint8)
    return array, blobs.astype(np.uint8)


def sparse(truth: np.ndarray, planes: tuple[Plane, ...]) -> np.ndarray:
    """Labels on some planes only."""
    labels = np.zeros_like(truth)
    for plane in planes:
        labels[plane] = truth[plane]
    return labels


def throughput(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of workers."""
    volume, truth = volume_file(folder, options.planes, options.side)
    labels = sparse(truth, ((0,),))
    print("workers  units  seconds  megapixels/s  overhead  overhead in CPU time")
    for workers in options.workers:
        described = describe(options.model, options.device, "auto")
        timed = Timed(described.predictor(_FEATURES))
        marks: list[Seconds] = []

        def listen(_: Progress | Written, marks: list[Seconds] = marks) -> None:
            marks.append(Seconds.now())

        report = propagate(
            volume,
            labels,
            folder / f"{workers}.zarr",
            timed if workers == 1 else options.model,
            workers=workers,
            threads=options.threads,
            device=options.device,
            listener=listen,
        )
        share = report.model_seconds / workers
        cpu = f"{marks[-1].since(marks[0]).cpu / timed.cpu - 1:20.0%}" if workers == 1 else ""
        print(
            f"{workers:7d}  {report.units:5d}  {report.seconds:7.1f}  "
            f"{report.megapixels_per_second:12.2f}  {report.seconds / share - 1:8.0%}  {cpu}"
        )


@dataclass(frozen=True)
class Viewer:
    """What stays in memory of a viewer between two runs."""

    volume: zarr.Array
    truth: np.ndarray
    predictor: UnitPredictor
    out: Path

    def run(self, clicks: Mapping[Plane, Any], *, first: bool = False) -> tuple[Seconds, Seconds]:
        """Until the run is prepared, and until the slice in view is written; the rest is left undone."""
        control = Control()
        control.focus = _CORRECTED
        frame = Frame.of(self.volume.shape)
        source = GivenImage(self.volume).opener(frame)()
        source.stretch()
        labels = sparse(self.truth, _ANNOTATED)
        start, seen = Seconds.now(), []

        def listen(entry: Progress | Written) -> None:
            if isinstance(entry, Written) and entry.plane == _CORRECTED:
                seen.append(Seconds.now())
                control.cancel()

        prepared = prepare(
            Request(
                image=lambda: source,
                labels=labels,
                frame=frame,
                space=Space.make(3),
                out=self.out,
                predictor=lambda _device, _bytes: self.predictor,
                identity=self.predictor.identity,
                clicks=clicks,
                support_planes=_ANNOTATED,
                planes=[*_ANNOTATED, _CORRECTED] if first else None,
                existing="resume",
            )
        )
        ready = Seconds.now()
        worker = Worker(prepared.setup, self.predictor, prepared.record.supports)
        runner = Runner(
            prepared.plan,
            prepared.record,
            prepared.output,
            Local(worker, ahead=2),
            control=control,
            listener=listen,
        )
        runner.run()
        prepared.record.close()
        return ready.since(start), seen[0].since(start)


def correction(options: argparse.Namespace, folder: Path) -> None:
    """Print what a correction takes, click by click."""
    volume, truth = volume_file(folder, 60, options.side)
    described = describe(options.model, options.device, "auto")
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    viewer = Viewer(volume, truth, described.predictor(_FEATURES), folder / "out.zarr")
    print(f"{options.model}, {options.side} x {options.side} x 60, 4 slices annotated")
    _, seen = viewer.run({}, first=True)
    print(f"first answer, nothing cached: {seen}")
    given: list[tuple[int, Click]] = []
    for row in range(options.clicks):
        given.append((1, Click(40.0 + 60 * row, 40.0, row % 2 == 0)))
        ready, seen = viewer.run({_CORRECTED: tuple(given)})
        print(f"{len(given)} click(s): slice written after {seen} (prepared after {ready})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--planes", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--correct", action="store_true", help="time a correction instead")
    parser.add_argument("--clicks", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (correction if options.correct else throughput)(options, Path(folder))


if __name__ == "__main__":
    main()
