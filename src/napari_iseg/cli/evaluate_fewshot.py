"""The few-shot half of ``napari-iseg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import errors, print_json
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.fewshot.base import FewShotModel, UnitPredictor

BASELINES = ("copy-nearest", "interpolation", "two-stage", "training-free")


def is_fewshot(name: str) -> bool:
    """Whether a name is that of a few-shot method, or of an IFSENet model's card; loads no torch."""
    from napari_iseg.fewshot.models import METHODS, list_fewshot

    return name.partition(":")[0] in METHODS or name.partition(":no-")[0] in list_fewshot()


def evaluate_fewshot(
    model: str,
    datasets: list[Path],
    *,
    baselines: list[str],
    clicks: int,
    cases: int,
    supports: int,
    split: str,
    axis: int,
    seed: int,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Volumes by Dice against annotated slices, other sets by query mIoU against clicks; prints a table.

    Raises
    ------
    InputError
        For an unknown baseline or split, or data from which no case can be made.
    """
    from napari_iseg.evaluation.fewshot_report import fewshot_table, write_fewshot_report
    from napari_iseg.evaluation.report import finite
    from napari_iseg.fewshot.models import list_fewshot, load_fewshot

    known = {*BASELINES, *list_fewshot()}
    unknown = [name for name in baselines if name.partition(":")[0] not in known]
    if unknown:
        raise InputError(f"Unknown few-shot baseline {unknown[0]!r}; available: {', '.join(BASELINES)}.")
    data = [_open(path, split, axis, seed) for path in datasets]
    methods = {name: load_fewshot(name, device=device) for name in dict.fromkeys([model, *baselines])}
    queries, volumes = [], []
    for dataset in data:
        if any(item.position is not None for item in dataset):
            volumes += _volumes(dataset, methods)
        else:
            queries += _queries(dataset, methods, clicks, cases, supports, seed)
    files = write_fewshot_report(queries, volumes, out) if out is not None else []
    if as_json:
        content = {"queries": [r.to_dict() for r in queries], "volumes": [r.to_dict() for r in volumes]}
        print_json({"reports": finite(content), "files": files})
        return
    print(fewshot_table(queries, volumes))
    for file in files:
        print(f"wrote {file}")


def _open(path: Path, split: str, axis: int, seed: int) -> Dataset:
    from napari_iseg.evaluation.datasets import open_dataset

    if split not in ("all", "validation"):
        raise InputError(f"Unknown split {split!r}; use 'all' or 'validation'.")
    dataset = open_dataset(path, axis=axis, components=False)
    return dataset.split(seed=seed)[1] if split == "validation" else dataset


def _volumes(dataset: Dataset, methods: dict[str, FewShotModel | UnitPredictor]) -> list[Any]:
    from napari_iseg.evaluation.fewshot_volumes import evaluate_volume, volumes_of

    reports = []
    for volume in volumes_of(dataset):
        for name, method in methods.items():
            with errors.status(f"{volume.name}, {name}"):
                reports.append(evaluate_volume(method, volume, name=name))
    return reports


def _queries(
    dataset: Dataset,
    methods: dict[str, FewShotModel | UnitPredictor],
    clicks: int,
    cases: int,
    supports: int,
    seed: int,
) -> list[Any]:
    """Methods that copy masks have nothing to say of other images and are left out."""
    from napari_iseg.evaluation.fewshot_cases import cases_of
    from napari_iseg.evaluation.fewshot_protocol import AT, evaluate_queries

    able = {name: method for name, method in methods.items() if not hasattr(method, "predict_unit")}
    if not able:
        raise InputError(f"{dataset.name} is no volume; {', '.join(methods)} copy masks between slices only.")
    made = cases_of(dataset, cases, supports, seed=seed)
    at = tuple(n for n in AT if n <= clicks)
    splits = tuple(k for k in (1, 2, 4, 8) if supports > 1 and k <= supports)
    reports = []
    for name, method in able.items():
        with errors.status(f"{dataset.name}, {name}"):
            reports.append(
                evaluate_queries(method, made, dataset=dataset.name, name=name, at=at, splits=splits)  # type: ignore[arg-type]
            )
    return reports
