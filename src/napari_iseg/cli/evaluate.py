"""``napari-iseg evaluate``: the published click protocol on annotated images."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from napari_iseg import backends
from napari_iseg.cli.common import bars, numbers, print_json, ticks
from napari_iseg.cli.evaluate_fewshot import evaluate_fewshot, is_fewshot
from napari_iseg.cli.fine import evaluate_fine
from napari_iseg.cli.protocols import refuse_others
from napari_iseg.cli.set_by_set import Asked, card_of, open_sets, set_by_set
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.evaluation.boxes import BoxReport
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.evaluation.methods import ClickMethod
    from napari_iseg.evaluation.metrics import Report


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model, or the path of a checkpoint.")],
    datasets: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATASET...",
            help="Folders or zips with images/ and labels/, or image files of TIFF pairs.",
        ),
    ],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Also evaluate a method without learning: random-walker, random-walker:BETA; for few-shot "
            "models copy-nearest, interpolation, two-stage, training-free."
        ),
    ] = None,
    max_clicks: Annotated[int, typer.Option(min=1, help="Clicks per object at most.")] = 20,
    max_objects: Annotated[
        int | None, typer.Option(min=1, help="Evaluate so many random objects of each data set only.")
    ] = None,
    target_iou: Annotated[
        float, typer.Option(min=0.8, max=1.0, help="IoU at which an object is done.")
    ] = 0.95,
    all_clicks: Annotated[
        bool, typer.Option("--all-clicks", help="Go on after the target, for a plain IoU curve.")
    ] = False,
    refine: Annotated[
        int | None, typer.Option(min=0, help="Cascade-forward refinement: extra passes per click.")
    ] = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Stop refining once the mask has settled.")
    ] = False,
    refine_clicks: Annotated[
        str | None, typer.Option(help="Refine the first so many clicks (published code: 1), or 'all'.")
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Show the network N x N pixels (published for DAVIS: 672)."),
    ] = None,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Give every object its true box instead of clicks: mean IoU.")
    ] = False,
    box_noise: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="With --boxes: move corners by this share of the sides.")
    ] = 0.0,
    split: Annotated[
        str,
        typer.Option(
            help="'all', or 'validation': the images that the training of the model left out, where its card "
            "knows them, else a part by --split-share and --split-seed."
        ),
    ] = "all",
    split_share: Annotated[
        float | None, typer.Option(help="Share of that part, as in the model's recipe; by default 0.2.")
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(min=0, help="Its seed in [validation] of the recipe; by default 0.")
    ] = None,
    min_area: Annotated[
        int, typer.Option(min=1, help="Leave out objects of fewer pixels; published: 1.")
    ] = 50,
    ignore: Annotated[
        int | None, typer.Option(metavar="VALUE", help="Label of pixels that do not count (GrabCut: 128).")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What labels mean: instances, semantic (classes) or binary (all that is not 0 is one "
            "object, as in DAVIS); by default 8-bit labels are classes, wider ones instances.",
        ),
    ] = None,
    axis: Annotated[
        int | None,
        typer.Option(
            min=0, max=2, help="Axis along which volumes are sliced; by default as in training, else 0."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of objects.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, as published; or auto, bfloat16 or float16, which may be faster.")
    ] = "float32",
    by_scale: Annotated[
        bool, typer.Option("--by-scale", help="Also print the results by the size of objects in their image.")
    ] = False,
    scale_bounds: Annotated[
        str | None,
        typer.Option(metavar="SIDE,...", help="Bounds between sizes: object side over image side, 0 to 1."),
    ] = None,
    dis: Annotated[
        bool,
        typer.Option("--dis", help="Metrics of fine masks: max F, weighted F, MAE, S, E, boundary IoU, HCE."),
    ] = False,
    refine_edges: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With --dis: also refine the masks by this model.")
    ] = None,
    dis_clicks: Annotated[int, typer.Option(min=1, help="With --dis: clicks before a mask is measured.")] = 1,
    fine: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --dis: a data set with fine outlines; without, all are."),
    ] = None,
    few_shot: Annotated[
        bool | None,
        typer.Option(
            "--few-shot/--clicks",
            help="Few-shot protocols instead of clicks on every object; by default for few-shot models.",
        ),
    ] = None,
    cases: Annotated[
        int, typer.Option(min=0, help="Few-shot: cases of each set of images; 0: volumes and scenes only.")
    ] = 40,
    supports: Annotated[int, typer.Option(min=1, help="Few-shot: annotated images of each case.")] = 1,
    draws: Annotated[
        int,
        typer.Option(min=1, max=7, help="Few-shot: choices of annotated slices or tiles to average over."),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.json, report.md and PNG plots; few-shot: fewshot.json, fewshot.md; with "
            "--boxes boxes.json, with --dis dis.json and dis.md."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Evaluate a model by simulated clicks: NoC@80/85/90/95, failures, IoU per click, seconds per click.

    A model that refines edges is measured by DIS metrics on degraded true masks.

    Few-shot models: query mIoU against clicks on supports, Dice of volumes and scenes against annotated
    slices or tiles.

    Example: napari-iseg evaluate cfr-icl-starter nuclei.zip --baseline random-walker --out report
    """
    from napari_iseg.evaluation.plots import require_matplotlib
    from napari_iseg.evaluation.report import report_folder

    card = card_of(model)
    if box_noise and not boxes:
        raise InputError("--box-noise needs --boxes: it moves the corners of true boxes.")
    if out is not None:
        context.with_resource(report_folder(out, overwrite=overwrite))
    asked = Asked(split, split_share, split_seed, axis, min_area, ignore, kind)
    if is_fewshot(model) if few_shot is None else few_shot:
        refuse_others(context, "few-shot")
        if out is not None:
            require_matplotlib()
        evaluate_fewshot(
            model,
            partial(open_sets, datasets, replace(asked, whole=True), model, card),
            card,
            baselines=baseline or [],
            clicks=max_clicks,
            cases=cases,
            supports=supports,
            draws=draws,
            seed=seed,
            device=device,
            precision=precision,
            out=out,
            as_json=as_json,
        )
        return
    from napari_iseg.evaluation.methods import ModelMethod
    from napari_iseg.evaluation.scales import SCALE_BOUNDS, checked_bounds
    from napari_iseg.weights.store import as_click_model, load_model

    given = numbers(scale_bounds, "--scale-bounds", "0.05,0.1,0.3") if scale_bounds else SCALE_BOUNDS
    bounds = checked_bounds(given)
    data = open_sets(datasets, asked, model, card)
    loaded = load_model(model, device=device, precision=precision)
    edges = backends.role(loaded.card.backend) == "edges"
    if dis or refine_edges is not None or edges:
        refuse_others(context, "edges" if edges else "dis-boxes" if boxes else "dis")
        chosen: dict[str, Any] = {"max_objects": max_objects, "seed": seed, "out": out, "as_json": as_json}
        chosen |= {"fine": fine or (), "device": device, "precision": precision}
        evaluate_fine(loaded, refine_edges, data, clicks=dis_clicks, boxes=boxes, **chosen)
        return
    refuse_others(context, "boxes" if boxes else "clicks")
    methods = [_baseline(name) for name in baseline or ()]
    loaded = as_click_model(loaded)
    options = _inference(refine, adaptive, refine_clicks, input_size)
    methods.insert(0, ModelMethod(loaded.with_inference(**options) if options else loaded))
    if boxes:
        _evaluate_boxes(methods, data, out, as_json, noise=box_noise, max_objects=max_objects, seed=seed)
        return
    limits: dict[str, Any] = {"max_objects": max_objects, "seed": seed, "target_iou": target_iou}
    limits |= {"scale_bounds": bounds, "stop_at_target": not all_clicks}
    if out is not None:
        require_matplotlib()
    _evaluate_clicks(methods, data, max_clicks, out, as_json, by_scale, **limits)


def _evaluate_clicks(
    methods: list[ClickMethod],
    data: list[Dataset],
    max_clicks: int,
    out: Path | None,
    as_json: bool,
    by_scale: bool,
    **options: Any,
) -> None:
    """Every method on every data set by the published click protocol."""
    from napari_iseg.evaluation.protocol import evaluate as run
    from napari_iseg.evaluation.report import write_report

    reports: list[Report] = []

    def write(plots: bool) -> list[Path]:
        return write_report(reports, out, plots=plots) if out is not None else []

    def show(files: list[Path]) -> None:
        _show(reports, files, as_json, by_scale)

    with set_by_set(data, reports, write, show) as sets, bars() as shown:
        for dataset in sets:
            for method in methods:
                tick = ticks(shown, f"{dataset.name}, {method.name}")
                reports.append(run(method, dataset, max_clicks, on_progress=tick, **options))


def _show(reports: list[Report], files: list[Path], as_json: bool, by_scale: bool) -> None:
    """Print the results of clicks and where they were written."""
    from napari_iseg.evaluation.report import finite, scale_table, table
    from napari_iseg.evaluation.scales import bounds_sentence

    if as_json:
        summary = [finite({k: v for k, v in r.to_dict().items() if k != "objects"}) for r in reports]
        print_json({"reports": summary, "files": files})
        return
    print(table(reports))
    if by_scale:
        print(f"\n{bounds_sentence(reports[0].scale_bounds)}\n\n{scale_table(reports)}")
    for file in files:
        print(f"wrote {file}")


def _evaluate_boxes(
    methods: list[ClickMethod], data: list[Dataset], out: Path | None, as_json: bool, **options: Any
) -> None:
    """The box protocol: a table, or JSON, and ``boxes.json`` in ``out``."""
    from napari_iseg.evaluation.boxes import box_table, evaluate_boxes
    from napari_iseg.evaluation.methods import ModelMethod
    from napari_iseg.files import write_text

    if len(methods) > 1:
        raise InputError("A baseline takes no boxes; leave --baseline or --boxes out.")
    model = cast(ModelMethod, methods[0]).model
    reports: list[BoxReport] = []

    def write(_plots: bool) -> list[Path]:
        files = [out / "boxes.json"] if out is not None else []
        for file in files:
            write_text(file, json.dumps([report.to_dict() for report in reports], indent=1) + "\n")
        return files

    def show(files: list[Path]) -> None:
        if as_json:
            print_json({"reports": [report.to_dict() for report in reports], "files": files})
            return
        print(box_table(reports))
        for file in files:
            print(f"wrote {file}")

    with set_by_set(data, reports, write, show) as sets:
        for dataset in sets:
            reports.append(evaluate_boxes(model, dataset, **options))


def _baseline(name: str) -> ClickMethod:
    from napari_iseg.evaluation.baselines import BETA, RandomWalker

    kind, _, beta = name.partition(":")
    if kind != "random-walker":
        raise InputError(f"Unknown baseline {kind!r}; available: random-walker, random-walker:BETA.")
    try:
        weight = float(beta) if beta else BETA
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise InputError(f"The beta of --baseline {name} is no number from 0 up; write random-walker:130.")
    return RandomWalker(weight)


def _inference(
    refine: int | None, adaptive: bool, refine_clicks: str | None, input_size: int | None
) -> dict[str, Any]:
    """Inference options that were asked for; the model's own hold for the rest."""
    options: dict[str, Any] = {}
    if refine is not None:
        options["refine_steps"] = refine
    if adaptive:
        options["refine_adaptive"] = True
    if refine_clicks is not None:
        if refine_clicks != "all" and not refine_clicks.isdecimal():
            raise InputError(f"--refine-clicks takes a number or 'all', got {refine_clicks!r}.")
        options["refine_clicks"] = None if refine_clicks == "all" else int(refine_clicks)
    if input_size is not None:
        options["size"] = (input_size, input_size)
    return options
