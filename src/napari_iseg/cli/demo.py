"""``napari-iseg demo``: a sample, the dock and one object clicked; or such work without a window."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_iseg.cli.common import console, print_json, progress
from napari_iseg.cli.stopping import leave_to_the_system
from napari_iseg.errors import InputError
from napari_iseg.files import made, replacing
from napari_iseg.prompts import Click, Prompts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_iseg.samples import Sample

FALLBACK = Path("napari-iseg-demo")
OUTPUTS = ("image.tif", "labels.tif", "overlay.png")
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
OBJECTS = 5
_OPEN_QT = "from qtpy.QtGui import QGuiApplication; QGuiApplication([])"


def demo(
    headless: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Open no window; write image, labels and overlay into this folder."),
    ] = None,
    sample: Annotated[
        str,
        typer.Option(help="cells, organelles or aerial; in a window also coins, cell, tissue or retina."),
    ] = "cells",
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a model, or a checkpoint.")
    ] = "cfr-icl-starter",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --headless: replace files of these names in DIR.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --headless: print what was found as JSON.")
    ] = False,
) -> None:
    """Open napari with a sample image and one object already clicked.

    Without a display, or with --headless, five objects are clicked and written to files instead.

    Example: napari-iseg demo --headless results
    """
    if headless is None and (as_json or overwrite):
        option = "--json" if as_json else "--overwrite"
        raise InputError(f"{option} needs --headless DIR: a window prints and replaces nothing.")
    if headless is not None and not overwrite:
        _check_free(headless)
    reason = None if headless is not None else why_no_window()
    if headless is None and reason is None:
        from napari_iseg.widgets.launch import open_demo

        leave_to_the_system()
        open_demo(sample, model=model, device=device)
        return
    if reason:
        console.print(f"{reason}, so the demo works without a window.")
    # The fallback's files are the demo's own, of the time before.
    found = run_headless(headless or FALLBACK, sample, model, device, overwrite=overwrite or headless is None)
    if as_json:
        print_json(found)
        return
    for record in found["objects"]:
        console.print(
            f"object {record['label']}: {record['area']} pixels, IoU {record['iou']:.2f} with the truth"
        )
    console.print(f"Image, labels and overlay are in {Path(found['folder']).resolve()}")


def _check_free(folder: Path) -> None:
    """Refuse a folder in which files of the demo's names are somebody's."""
    there = next((folder / name for name in OUTPUTS if (folder / name).exists()), None)
    if there is not None:
        raise InputError(f"{there} exists already; give --overwrite to replace it, or choose another folder.")


def why_no_window() -> str | None:
    """Why no window can be opened here, in words; None when one can."""
    if not any(find_spec(binding) for binding in BINDINGS):
        return 'No Qt is installed (`pip install "napari-iseg[all]"` brings one)'
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not screen:
        return "There is no display here"
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return "Qt is set to draw nothing (QT_QPA_PLATFORM)"
    # Where the display does not answer, or a library of the system is missing, Qt ends the process.
    tried = subprocess.run([sys.executable, "-c", _OPEN_QT], capture_output=True, text=True, check=False)
    if tried.returncode:
        said = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
        return f"Qt cannot open a window here ({said[0] if said else f'it ended with {tried.returncode}'})"
    return None


def run_headless(
    folder: Path, name: str, model: str, device: str, *, overwrite: bool = False
) -> dict[str, Any]:
    """Click a few objects of a sample through a Session and write what a user would see.

    Raises
    ------
    InputError
        For a sample without true labels or of another name, or when files are there and ``overwrite`` is not
        given.
    SaveError
        When the folder cannot be written.
    """
    from napari_iseg.cli.prompting import run_prompts
    from napari_iseg.cli.segment import open_session, write_results
    from napari_iseg.images.files import Opened
    from napari_iseg.samples import sample, sample_folder
    from napari_iseg.weights.store import load_click_model

    picture = sample(name)
    if picture.labels is None or picture.scale is None:
        raise InputError(
            f"The sample {name!r} has no true labels to choose clicks by; use cells, organelles or aerial."
        )
    with progress(f"loading {model}"):
        network = load_click_model(model, device=device)
    made(folder, "choose another place")
    axes = ("z", "y", "x")[-picture.labels.ndim :]
    path = sample_folder() / f"{name}.tif"
    opened = Opened(path, picture.image, axes, picture.scale, picture.units, rgb=picture.rgb)
    session = open_session(opened)
    session.model = network
    session.plane = tuple(size // 2 for size in picture.labels.shape[:-2])
    truth = picture.labels[session.plane]
    clicks = central_clicks(truth, OBJECTS)
    found = run_prompts(session, [Prompts((click,)) for click in clicks], overwrite=True)
    for record, click in zip(found, clicks, strict=True):
        record["iou"] = _iou(session.labels.read(session.plane) == record["label"], truth, click)
    image, labels, overlay = (folder / name for name in OUTPUTS)
    _write_sample(image, picture, new=not overwrite)
    write_results(session, opened, labels, overlay, new=not overwrite)
    return {"folder": str(folder), "sample": name, "model": model, "objects": found}


def central_clicks(labels: npt.NDArray[np.uint16], count: int) -> list[Click]:
    """A click in the middle of objects of ordinary size, spread over the plane."""
    import numpy as np
    from scipy import ndimage

    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    present = np.flatnonzero(sizes)
    ordinary = present[np.abs(np.log(sizes[present] / np.median(sizes[present]))) < np.log(3)]
    chosen = ordinary[np.linspace(0, len(ordinary) - 1, min(count, len(ordinary))).astype(int)]
    clicks = []
    for label in chosen:
        depth = ndimage.distance_transform_edt(np.pad(labels == label, 1))[1:-1, 1:-1]
        row, col = np.unravel_index(int(depth.argmax()), depth.shape)
        clicks.append(Click(float(row), float(col)))
    return clicks


def _iou(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.uint16], click: Click) -> float:
    """Overlap of a mask with the true object under the click."""
    true = truth == truth[int(click.row), int(click.col)]
    return round(float((mask & true).sum() / (mask | true).sum()), 4)


def _write_sample(path: Path, picture: Sample, *, new: bool) -> None:
    """Copy the sample's file beside the results."""
    from napari_iseg.samples import sample_folder

    with replacing(path, new=new) as stream:
        stream.write((sample_folder() / f"{picture.name}.tif").read_bytes())
