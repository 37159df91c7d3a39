"""``napari-iseg segment``: clicks in, label image out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_iseg.cli.common import console, numbers, print_json, progress, whole_numbers
from napari_iseg.errors import InputError, SaveError
from napari_iseg.prompts import Click

if TYPE_CHECKING:
    from napari_iseg.cli.reading import Opened
    from napari_iseg.interactive.session import Session

STARTER = "cfr-icl-starter"
LABEL_ENDINGS = (".tif", ".tiff", ".png", ".zarr")


def segment(
    image: Annotated[
        Path, typer.Argument(help="TIFF, GeoTIFF, OME-Zarr, zarr, PNG, JPEG, ...", show_default=False)
    ],
    click: Annotated[
        list[str],
        typer.Option("--click", "-c", metavar="ROW,COL", help="A click on the object.", show_default=False),
    ],
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background", "-b", metavar="ROW,COL", help="A click beside the object; after all --click."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Labels: .tif, .png or .zarr, by the ending.")
    ] = Path("mask.tif"),
    each: Annotated[bool, typer.Option("--each", help="Every --click is an object of its own.")] = False,
    plane: Annotated[
        str | None, typer.Option(metavar="Z", help="Plane of a stack, counted from 0; T,Z for two axes.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="One to three channels to look at, counted from 1.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a model, or a checkpoint file.")
    ] = STARTER,
    threshold: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Probability above which a pixel is object.")
    ] = None,
    refine: Annotated[
        int | None, typer.Option(min=0, max=50, help="Cascade-forward refinement: extra passes per click.")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Average with the mirrored image.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    overlay: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write a picture of the result.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Segment objects of an image by clicks and write a label image.

    Clicks are ROW,COL in pixels of the full-resolution plane, from 0 at the top left.

    Example: napari-iseg segment cells.tif --click 120,88 --background 30,40 -o mask.tif
    """
    from napari_iseg.cli.reading import open_image

    objects = _objects(click, background or [], each=each)
    _check_outputs(image, output, overlay)
    opened = open_image(image)
    session = open_session(opened, bands)
    index = whole_numbers(plane, "--plane", "3") if plane is not None else None
    session.plane = _plane(index, session.plane)
    options = {"threshold": threshold, "refine_steps": refine, "flip": flip}
    _load(
        session,
        model,
        device,
        precision,
        {name: value for name, value in options.items() if value is not None},
    )
    found = run_clicks(session, objects)
    write_results(session, opened, output, overlay)
    result = {"image": image, "model": model, "plane": session.plane, "output": output, "overlay": overlay}
    result["objects"] = found
    if as_json:
        print_json(result)
        return
    for record in found:
        console.print(f"object {record['label']}: {record['area']} pixels, {len(record['clicks'])} click(s)")
    console.print(f"wrote {output}" + (f" and {overlay}" if overlay else ""))


def open_session(opened: Opened, bands: str | None = None) -> Session:
    """A session without a model whose label store lies where the image lies."""
    from napari_iseg.interactive.session import Session
    from napari_iseg.labels.store import LabelStore

    channel: dict[str, Any] = {"rgb": opened.rgb or None, "channel_axis": opened.channel_axis}
    if not opened.rgb and opened.channel_axis is None:
        channel = {"rgb": False}
    if bands is not None:
        chosen = whole_numbers(bands, "--bands", "3,2,1")
        if not opened.rgb and opened.channel_axis is None:
            raise InputError(f"{opened.path} has one channel only; leave --bands out.")
        first = opened.image[0] if isinstance(opened.image, list) else opened.image
        axis = first.ndim - 1 if opened.rgb else opened.channel_axis
        count = first.shape[axis]
        if not all(1 <= band <= count for band in chosen):
            raise InputError(
                f"--bands {bands} is outside the {count} channels of {opened.path}, counted from 1."
            )
        channel = {"channel_axis": axis, "bands": [band - 1 for band in chosen]}
    store = LabelStore(
        opened.shape,
        scale=opened.scale,
        translate=opened.translate,
        axes=opened.axes,
        units=opened.units,
    )
    return Session(opened.image, labels=store, **channel)


def run_clicks(
    session: Session, objects: Sequence[Sequence[Click]], *, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Click and commit one object after the other; what is known of each, ready for JSON.

    Where objects meet, pixels stay with the one that came first, or with ``overwrite`` go to the later one.

    Raises
    ------
    InputError
        For a click outside the image, or clicks that select nothing.
    """
    found = []
    total = sum(len(clicks) for clicks in objects)
    with progress("segmenting", total) as advance:
        for clicks in objects:
            start = perf_counter()
            for click in clicks:
                session.append_click((click.row, click.col), click.positive)
                job = session.job()  # not Session.click: on a large scene its answer is a whole plane
                if job is not None:
                    session.finish(job.run())
                advance(1)
            if session.patch is None or not session.patch.mask.any():
                here = f"{clicks[0].row:g},{clicks[0].col:g}"
                raise InputError(
                    f"The clicks of the object at {here} select nothing; move them or add another --click."
                )
            label = _commit(session, clicks[0], overwrite)
            placed = [(c.row, c.col, c.positive) for c in clicks]
            record = {"label": label, **_extent(session, label), "clicks": placed}
            found.append(record | {"seconds": round(perf_counter() - start, 3)})
    return found


def write_results(session: Session, opened: Opened, output: Path, overlay: Path | None) -> None:
    """Labels, and if asked for the picture of the present plane with all clicks."""
    from napari_iseg.cli.overlay import draw, write_png
    from napari_iseg.labels.export import export_labels

    export_labels(session.labels, output, like=opened.path)
    if overlay is not None:
        prompts = [p for label in session.labels.labels for p in session.labels.prompts_of(label)]
        clicks = [click for prompt in prompts for click in prompt.clicks]
        write_png(overlay, draw(session.source, session.labels, session.plane, clicks))


def _commit(session: Session, click: Click, overwrite: bool) -> int:
    """Commit the open object, and say it in the command line's words when nothing of it is left."""
    try:
        return session.commit(overwrite=overwrite)
    except InputError as error:
        where = f"{click.row:g},{click.col:g}"
        raise InputError(
            f"The object at {where} lies on objects before it; give its --click first."
        ) from error


def _objects(clicks: Sequence[str], background: Sequence[str], *, each: bool) -> list[list[Click]]:
    """Clicks of every object, those on it first."""
    on = [_click(text, "--click", "120,88", positive=True) for text in clicks]
    off = [_click(text, "--background", "30,40", positive=False) for text in background]
    return [[click, *off] for click in on] if each else [[*on, *off]]


def _click(text: str, option: str, example: str, *, positive: bool) -> Click:
    row, col = numbers(text, option, example, 2)
    return Click(row, col, positive)


def _check_outputs(image: Path, output: Path, overlay: Path | None) -> None:
    """Refuse before any work what could not be written after it."""
    for path, endings in ((output, LABEL_ENDINGS), (overlay, (".png",))):
        if path is None:
            continue
        if path.suffix.lower() not in endings:
            raise InputError(f"{path.name} must end in {', '.join(endings)}, which says how to write it.")
        if not path.parent.is_dir():
            raise SaveError(
                f"The folder {path.parent} for {path.name} does not exist; create it or choose another one."
            )
        if not os.access(path.parent, os.W_OK):
            raise SaveError(
                f"The folder {path.parent} cannot be written to; choose another place for {path.name}."
            )
        if image.exists() and path.exists() and path.samefile(image):
            raise SaveError(f"{path} is the image itself; choose another name for the result.")


def _plane(index: tuple[int, ...] | None, present: tuple[int, ...]) -> tuple[int, ...]:
    """The plane asked for; a stack needs one, since a guess would be wrong silently."""
    if index is None and present:
        example = ",".join("0" * len(present))
        raise InputError(
            f"The image is a stack of planes; say which one with --plane, like --plane {example}."
        )
    return index if index is not None else ()


def _load(session: Session, model: str, device: str, precision: str, options: dict[str, Any]) -> None:
    """Give the session its model."""
    from napari_iseg.weights.store import load_click_model

    with progress(f"loading {model}"):
        loaded = load_click_model(model, device=device, precision=precision)
    session.model = loaded.with_inference(**options) if options else loaded


def _extent(session: Session, label: int) -> dict[str, Any]:
    """Pixels of a committed object, and its box as [top, left, bottom, right], half-open."""
    from napari_iseg.labels.regions import tight, tiles_of

    area, box = 0, None
    for trace in session.labels.traces_of(label):
        for tile in tiles_of(trace.window):
            mask = session.labels.read(trace.plane, tile) == label
            area += int(mask.sum())
            found = tight(tile, mask)
            box = found if box is None or found is None else box.union(found)
    return {"area": area, "box": [box.top, box.left, box.bottom, box.right] if box is not None else None}
