"""``napari-iseg segment``: clicks in, label image out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_iseg.cli.bands import typed_channels
from napari_iseg.cli.common import byte_size, console, errors, print_json, progress, whole_numbers
from napari_iseg.cli.prompting import read_objects, run_prompts
from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import check_place, lies_in, real_place

if TYPE_CHECKING:
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.backends.embeddings import EmbeddingCache
    from napari_iseg.images.files import Opened
    from napari_iseg.interactive.session import Session

STARTER, BOX_STARTER = "cfr-icl-starter", "sam-starter"
LABEL_ENDINGS = (".tif", ".tiff", ".png", ".zarr", ".gpkg", ".geojson")


def segment(
    image: Annotated[
        Path,
        typer.Argument(help="TIFF, GeoTIFF, OME-Zarr (also .ozx), zarr, PNG, JPEG, ...", show_default=False),
    ],
    click: Annotated[
        list[str] | None,
        typer.Option("--click", "-c", metavar="ROW,COL", help="A click on the object.", show_default=False),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background", "-b", metavar="ROW,COL", help="A click beside the object; after all --click."
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box", metavar="R0,C0,R1,C1", help="The object's box; each further --box is another object."
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Labels by the ending: .tif, .png, .zarr; outlines of a map's: .gpkg, .geojson.",
        ),
    ] = Path("mask.tif"),
    each: Annotated[bool, typer.Option("--each", help="Every --click is an object of its own.")] = False,
    plane: Annotated[
        str | None, typer.Option(metavar="Z", help="Plane of a stack, counted from 0; T,Z for two axes.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="One to three channels to look at, counted from 1.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"Name of a model, or a checkpoint file. Default: {STARTER}, with --box {BOX_STARTER}.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Probability above which a pixel is object.")
    ] = None,
    refine: Annotated[
        int | None, typer.Option(min=0, max=50, help="Cascade-forward refinement: extra passes per click.")
    ] = None,
    refine_edges: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Then make each mask exact along its edges, e.g. is5net-dis-sam."),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Average with the mirrored image.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Keep there what SAM computes once per image, for the next run.",
        ),
    ] = None,
    embeddings_limit: Annotated[
        str, typer.Option(metavar="SIZE", help="Space for --embeddings; what was used least recently goes.")
    ] = "2 GB",
    overlay: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write a picture of the result.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --output and --overlay where they exist.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Segment objects of an image by clicks or boxes and write a label image.

    Clicks are ROW,COL in pixels of the full-resolution plane, from 0 at the top left; the second corner of a
    box is just outside of it. One --box may be given clicks; of several each is an object by itself.

    Example: napari-iseg segment cells.tif --click 120,88 --background 30,40 -o mask.tif
    """
    from napari_iseg.images.files import open_image
    from napari_iseg.labels.export import check_export

    model = model or (BOX_STARTER if box else STARTER)
    objects = read_objects(click or [], background or [], box or [], each=each)
    _check_outputs(image, output, overlay, overwrite)
    limit = byte_size(embeddings_limit, "--embeddings-limit")
    opened = open_image(image)
    session = open_session(opened, bands)
    check_export(session.labels, output, like=image)
    index = whole_numbers(plane, "--plane", "3") if plane is not None else None
    session.plane = _plane(index, session.source.leading_shape, image)
    options = {"threshold": threshold, "refine_steps": refine, "flip": flip, "search_flip": flip}
    _load(
        session,
        model,
        device,
        precision,
        {name: value for name, value in options.items() if value is not None},
    )
    if embeddings is not None and session.model is not None:
        session.model.keep_embeddings(folder=embeddings, limit=limit)
    refiner = _edge_model(refine_edges, device, precision) if refine_edges is not None else None
    found = run_prompts(session, objects, refiner=refiner)
    write_results(session, opened, output, overlay, new=not overwrite)
    if output.suffix.lower() == ".gpkg":
        _say_without_crs(image, output)
    if embeddings is not None and session.model is not None:
        _say_what_is_not_kept(session.model.embeddings, model, embeddings_limit)
    result = {"image": image, "model": model, "plane": session.plane, "output": output, "overlay": overlay}
    if refine_edges is not None:
        result["refine_edges"] = refine_edges
    result["objects"] = found
    if as_json:
        print_json(result)
        return
    for record in found:
        given = f"{len(record['clicks'])} click(s)" + (", a box" if "prompt_box" in record else "")
        console.print(f"object {record['label']}: {record['area']} pixels, {given}")
    console.print(f"wrote {output}" + (f" and {overlay}" if overlay else ""))


def open_session(opened: Opened, bands: str | None = None) -> Session:
    """A session without a model whose label store lies where the image lies."""
    from napari_iseg.interactive.session import Session
    from napari_iseg.labels.store import LabelStore

    if 0 in opened.shape:
        raise InputError(
            f"{opened.path} is empty: its shape is {tuple(opened.shape)}; give an image with pixels."
        )
    store = LabelStore(
        opened.shape,
        scale=opened.scale,
        translate=opened.translate,
        axes=opened.axes,
        units=opened.units,
    )
    return Session(opened.image, labels=store, **typed_channels(opened, bands))


def write_results(session: Session, opened: Opened, output: Path, overlay: Path | None, *, new: bool) -> None:
    """Labels, and if asked for the picture of the present plane with all clicks.

    With ``new`` nothing is replaced, also nothing that another command wrote meanwhile.
    """
    from napari_iseg.cli.overlay import draw, write_png
    from napari_iseg.labels.export import export_labels

    export_labels(session.labels, output, like=opened.path, new=new)
    if overlay is not None:
        prompts = [p for label in session.labels.labels for p in session.labels.prompts_of(label)]
        clicks = [click for prompt in prompts for click in prompt.clicks]
        picture = draw(session.source, session.labels, session.plane, clicks)
        fix = f"the labels are in {output}. Free some space, or choose another place for the picture"
        write_png(overlay, picture, new=new, fix=fix)


def _check_outputs(image: Path, output: Path, overlay: Path | None, overwrite: bool) -> None:
    """Refuse before any work what could not, or must not, be written after it."""
    for path, endings in ((output, LABEL_ENDINGS), (overlay, (".png",))):
        if path is None:
            continue
        if path.suffix.lower() not in endings:
            raise InputError(f"{path} must end in {', '.join(endings)}, which says how to write it.")
        folder = real_place(path).parent
        if not folder.is_dir():
            raise SaveError(
                f"The folder {folder} for {path.name} does not exist; create it or choose another one."
            )
        if path.is_dir() and path.suffix.lower() != ".zarr":
            raise SaveError(f"{path} is a folder; choose another name.")
        check_place(path)
        if image.exists() and path.exists() and lies_in(image, path):
            raise SaveError(f"{path} is the image itself; choose another name for the result.")
        if path.exists() and not overwrite:
            raise InputError(
                f"{path} exists already; give --overwrite to replace it, or choose another name."
            )
    if overlay is not None and overlay.resolve() == output.resolve():
        raise SaveError(f"{output} cannot hold both labels and overlay; give --overlay another name.")


def _plane(index: tuple[int, ...] | None, sizes: tuple[int, ...], image: Path) -> tuple[int, ...]:
    """The plane asked for, of so many along each axis; a stack needs one, a guess would be wrong silently."""
    if index is not None and not sizes:
        raise InputError(f"{image} is a single plane, no stack; leave --plane out.")
    example = ",".join("0" * len(sizes))
    if index is None and sizes:
        raise InputError(
            f"The image is a stack of planes; say which one with --plane, like --plane {example}."
        )
    index = index if index is not None else ()
    typed = ",".join(map(str, index))
    if len(index) != len(sizes):
        raise InputError(
            f"--plane {typed} does not fit {image}, whose planes have {len(sizes)} number(s); write it like "
            f"--plane {example}."
        )
    if any(not 0 <= number < size for number, size in zip(index, sizes, strict=True)):
        there = " x ".join(map(str, sizes))
        last = ",".join(str(size - 1) for size in sizes)
        raise InputError(
            f"{image} has no plane {typed}: there are {there}, counted from 0; the last is --plane {last}."
        )
    return index


def _say_without_crs(image: Path, output: Path) -> None:
    """A remark where a GeoPackage names no CRS, as its image names none."""
    from napari_iseg.labels.georeference import geo_reference

    geo = geo_reference(image, None, None)
    if geo is not None and geo.crs is None:
        errors.print(
            f"{image.name} names no CRS, so {output.name} names none and its areas are in square units of "
            "the map; say in QGIS which one it is."
        )


def _say_what_is_not_kept(kept: EmbeddingCache, model: str, limit: str) -> None:
    """A warning where --embeddings was of no use: the next run would be no faster."""
    if not kept.nbytes:
        errors.print(f"{model} computes nothing once per image, so nothing was kept; leave --embeddings out.")
    elif kept.disk is not None and not kept.disk.nbytes:
        errors.print(
            f"Nothing was kept in {kept.disk.folder}: a picture takes more than --embeddings-limit {limit}; "
            "give more."
        )


def _edge_model(model: str, device: str, precision: str) -> EdgeModel:
    from napari_iseg.weights.store import load_edge_model

    with progress(f"loading {model}"):
        return load_edge_model(model, device=device, precision=precision)


def _load(session: Session, model: str, device: str, precision: str, options: dict[str, Any]) -> None:
    """Give the session its model."""
    from napari_iseg.weights.store import load_click_model

    with progress(f"loading {model}"):
        loaded = load_click_model(model, device=device, precision=precision)
    session.model = loaded.with_inference(**options) if options else loaded
