"""``napari-iseg propagate``: a few annotated slices or tiles in, all of them out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_iseg.cli.bands import typed_channels
from napari_iseg.cli.common import byte_size, console, errors, need_file, print_json, progress, whole_numbers
from napari_iseg.cli.objects import check_split, objects_of
from napari_iseg.cli.stopping import StoppedError
from napari_iseg.errors import IncompleteError, InputError, IsegError
from napari_iseg.fewshot.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from napari_iseg.fewshot.propagate import RunReport
    from napari_iseg.images import PlaneSource
    from napari_iseg.images.files import Opened


def propagate(
    volume: Annotated[Path, typer.Argument(help="Image: TIFF, OME-Zarr, zarr, ...", show_default=False)],
    labels: Annotated[
        Path,
        typer.Argument(help="Labels of a few slices or places, same shape; 0: none.", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(help="OME-Zarr group to write, ends in .zarr.", show_default=False)],
    model: Annotated[str, typer.Option("--model", "-m", help="Few-shot model or baseline.")] = DEFAULT_MODEL,
    axis: Annotated[str | None, typer.Option(help="Slicing axis: name or number; third from last.")] = None,
    planes: Annotated[
        str | None, typer.Option(metavar="FROM:TO", help="Slices to do: 100:300 (without 300) or 3,7,9.")
    ] = None,
    region: Annotated[
        Path | None, typer.Option(metavar="POLYGONS", help="GeoJSON, GeoPackage: where to work; rest stays.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="B,B,B", help="Channels to look at, from 1 on; else its colours.")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="L,L", help="Labels to look for.")] = None,
    tile: Annotated[int, typer.Option(min=8, help="Side of a window; smaller planes are one piece.")] = 512,
    halo: Annotated[int, typer.Option(min=0, help="Overlap to each side of a window.")] = 64,
    memory: Annotated[str, typer.Option(help="Budget of one worker.")] = "2 GB",
    partial_labels: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Unlabelled pixels of annotated slices are unknown, and so is what is background.",
        ),
    ] = False,
    complete: Annotated[
        Path | None, typer.Option(metavar="POLYGONS", help="Such a file: inside everything is annotated.")
    ] = None,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Carry the answer from slice to slice, from both sides.")
    ] = False,
    probability: Annotated[bool, typer.Option("--probability", help="Keep probabilities too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with OUT where it is begun.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    objects: Annotated[
        int | None, typer.Option(min=2, max=3, help="Also OUT_objects.zarr: objects in 2-D or 3-D.")
    ] = None,
    split: Annotated[
        float | None, typer.Option(help="Split touching objects: necks this many pixels thinner.")
    ] = None,
    min_pixels: Annotated[int, typer.Option(min=1, help="Smallest object kept.")] = 1,
    workers: Annotated[str, typer.Option(help="Processes: a number, or cuda:0,cuda:1.")] = "1",
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://...", help="Dask scheduler to work on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0: as the library likes.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Windows per call of the model (GPU: 8).")] = 1,
    features: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Room in OUT.run for encoded images, so that --resume is quick."),
    ] = "0",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Segment a volume, time series or scene from a few annotated slices or tiles.

    The run keeps its record in OUT.run: after a crash, `--resume` goes on; after a change of LABELS, it does
    again only what depends on it. Exit code 3 means that some units failed; the message names them.

    Example: napari-iseg propagate stack.tif three_slices.tif rest.zarr --planes 100:300
    """
    from napari_iseg.fewshot.areas import Areas
    from napari_iseg.fewshot.preparing import check_inputs, check_name
    from napari_iseg.fewshot.propagate import propagate as run
    from napari_iseg.images.files import open_image

    if resume and overwrite:
        raise InputError("Give --resume or --overwrite, not both.")
    check_split(objects, split)
    if partial_labels and complete is not None:
        raise InputError("Give --partial or --complete, not both: outside of the polygons all is unknown.")
    room, kept = byte_size(memory, "--memory"), byte_size(features, "--features")
    check_name(out)
    target = out.with_name(f"{out.name.removesuffix('.zarr')}_objects.zarr")
    need_file(region, "--region")
    need_file(complete, "--complete")
    for path in (out,) if objects is None else (out, target):
        check_inputs(path, volume, labels)
        if path.exists() and not (resume or overwrite):
            raise InputError(f"{path} exists already; give --resume or --overwrite, or choose another name.")
    opened = open_image(volume)
    wanted, done = (Areas.read(path, volume) if path is not None else None for path in (region, complete))
    known, channels = _labels(labels, opened), typed_channels(opened, bands)
    bar = progress(f"segmenting {volume.name}", 100)
    with _about(volume), _resumable(out), _in_plain_words(), bar as advance:
        try:
            report = run(
                partial(open_plane_source, volume, channels),
                known,
                out,
                model,
                planes=_planes(planes),
                region=wanted,
                tile=tile,
                halo=halo,
                memory=room,
                scheduler=scheduler,
                axis=axis,
                scale=opened.scale,
                axes=opened.axes,
                translate=opened.translate,
                units=opened.units,
                only=whole_numbers(only, "--only", "1,2") if only is not None else None,
                complete=done or not partial_labels,
                sequential=sequential,
                probability=probability,
                existing="resume" if resume else "overwrite" if overwrite else "ask",
                workers=_workers(workers),
                device=device,
                precision=precision,
                threads=threads,
                batch=batch,
                features=kept,
                listener=_Bar(advance),
            )
        except IncompleteError as error:
            if as_json:
                print_json(_plain(volume, error.report))
            raise
    result = _plain(volume, report)
    if objects is not None:
        with _resumable(out):
            result["objects"] = objects_of(out, target, ndim=objects, min_pixels=min_pixels, split=split)
    if as_json:
        print_json(result)
        return
    _say(report, result)


@contextmanager
def _about(volume: Path) -> Iterator[None]:
    """A refusal names the stack: in the log of a loop over many nobody could tell otherwise."""
    try:
        yield
    except IsegError as error:
        if volume.name not in str(error):
            error.args = (f"{volume.name}: {error}",)
        raise


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """What the run warns of is one line on standard error, without the place in the code."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Any, category: Any, filename: str, *rest: Any, **options: Any) -> None:
            if filename == __file__:  # said to the caller of `run`
                errors.print(str(message))
            else:
                others(message, category, filename, *rest, **options)

        warnings.showwarning = show
        yield


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Where a run that is stopped can be gone on with, its last words say so."""
    try:
        yield
    except KeyboardInterrupt:
        from napari_iseg.fewshot.preparing import can_resume

        if not can_resume(out):
            raise
        raise StoppedError(f"Stopped; with --resume it goes on where {out} is now.") from None


def open_plane_source(
    path: Path, channels: dict[str, Any], plane_axes: tuple[int, int] | None
) -> PlaneSource:
    """Open an image file; worker processes call this, each for itself.

    Parameters
    ----------
    channels : see `napari_iseg.images.scene.channel_options`
    plane_axes : axes of rows and columns, counted without the channel axis; None: the last two
    """
    from napari_iseg.fewshot.frame import Frame
    from napari_iseg.fewshot.given import GivenImage
    from napari_iseg.images import PlaneSource as Source
    from napari_iseg.images.files import open_image

    opened = open_image(path)
    if plane_axes is None:
        return Source.wrap(opened.image, **channels)
    steps = (1.0,) * len(opened.shape)
    frame = Frame(opened.shape, plane_axes[0], plane_axes[1], None, steps)
    return GivenImage(opened.image, **channels).opener(frame)()


class _Bar:
    """Shows progress as it is told; its unit is one percent."""

    def __init__(self, advance: Any) -> None:
        self._advance, self._shown = advance, 0.0

    def __call__(self, entry: Any) -> None:
        if hasattr(entry, "total") and entry.total:
            now = 100 * (entry.done + entry.failed) / entry.total
            self._advance(now - self._shown)
            self._shown = now


def _labels(path: Path, opened: Opened) -> Any:
    """A label store with the image's shape, or the array of any image file."""
    from napari_iseg.images.files import open_image
    from napari_iseg.images.nodata import background_where
    from napari_iseg.labels.georeference import check_same_place
    from napari_iseg.labels.store import LabelStore

    if path.is_dir():
        try:
            return LabelStore.open(path)
        except InputError:
            pass  # a plain zarr array, or an image: its shape is checked like any other
    found = open_image(path, numbers=True)
    array = found.image[0] if isinstance(found.image, list) else found.image
    if tuple(array.shape) != opened.shape:
        raise InputError(
            f"{path} has the shape {tuple(array.shape)} but the image needs labels of {opened.shape}; give "
            "labels of the whole volume, with 0 where nothing is annotated."
        )
    check_same_place(opened.path, path)
    if found.nodata is not None:
        return background_where(array, found.nodata)
    return array


def _planes(text: str | None) -> Sequence[int] | slice | None:
    if text is None:
        return None
    if ":" in text:
        ends = [part.strip() for part in text.split(":")]
        if len(ends) != 2 or not all(end.isdecimal() or not end for end in ends):
            raise InputError(f"--planes {text!r} is not understood; write it as --planes 100:300.")
        low, high = (int(end) if end else None for end in ends)
        if high is not None and high <= (low or 0):
            raise InputError(f"--planes {text!r} holds no slice: it ends before {high}; write it as 100:300.")
        return slice(low, high)
    return whole_numbers(text, "--planes", "100:300")


def _workers(text: str) -> int | list[str]:
    """A number of processes, or the device of each."""
    devices = text.split(",")
    if not text.isdecimal() and not all(device.partition(":")[0].isidentifier() for device in devices):
        raise InputError(f"--workers {text!r} is not understood; write it as --workers 4 or cuda:0,cuda:1.")
    return int(text) if text.isdecimal() else devices


def _plain(volume: Path, report: Any) -> dict[str, Any]:
    """A report as JSON values."""
    return {"volume": volume, **asdict(report)}


def _say(report: RunReport, result: dict[str, Any]) -> None:
    console.print(
        f"{report.units} units, {report.computed} computed ({report.predictions} predictions), "
        f"{report.kept} kept, mean trust {report.trust:.2f}, {report.seconds:.1f} s "
        f"({report.megapixels_per_second:.2f} megapixels/s)"
    )
    if report.next is not None:
        tile = report.next.window
        where = ",".join(map(str, report.next.plane)) or f"the tile at row {tile.top}, column {tile.left}"
        console.print(f"annotate next: {where} ({report.next.reason})")
    if "objects" in result:
        console.print(f"{result['objects']['count']} objects in {result['objects']['out']}")
    console.print(f"wrote {report.out}")
