"""The few-shot half of ``napari-iseg evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_iseg.cli.common import bars, print_json, ticks
from napari_iseg.cli.set_by_set import set_by_set
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.evaluation.fewshot_cases import Case
    from napari_iseg.evaluation.fewshot_stacks import Stack
    from napari_iseg.fewshot.base import FewShotModel, UnitPredictor

Methods = Mapping[str, "FewShotModel | UnitPredictor"]
BASELINES = ("copy-nearest", "interpolation", "two-stage", "training-free")
SPLITS = (1, 2, 4, 8)
_SIDE = 256  # pixels of a case's window and of a scene's tile


@dataclass(frozen=True)
class _Work:
    """All that is asked of one data set."""

    stacks: tuple[Stack, ...] = ()
    cases: tuple[Case, ...] = ()
    name: str = ""


@dataclass
class _Results:
    queries: list[Any] = field(default_factory=list)
    volumes: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.queries) + len(self.volumes)


def is_fewshot(name: str) -> bool:
    """Whether a name is that of a few-shot method, or an IFSENet model's name or folder; loads no torch."""
    from napari_iseg.backends.cards import CARD_FILE, read_card
    from napari_iseg.fewshot.models import BACKEND, METHODS, list_fewshot

    trained = name.partition(":no-")[0]
    if (Path(trained) / CARD_FILE).is_file():
        return read_card(Path(trained)).backend == BACKEND
    return name.partition(":")[0] in METHODS or trained in list_fewshot()


def evaluate_fewshot(
    model: str,
    open_data: Callable[[], list[Dataset]],
    card: ModelCard | None,
    *,
    baselines: list[str],
    clicks: int,
    cases: int,
    supports: int,
    draws: int,
    seed: int,
    device: str,
    precision: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Dice of volumes and scenes against annotated planes, query mIoU of images against clicks; prints both.

    Everything is read and checked before a model runs; the report is written anew after each data set,
    and what is there is shown also after an error.

    Raises
    ------
    InputError
        For an unknown baseline or split, or when nothing can be asked of any data set.
    """
    from napari_iseg.evaluation.fewshot_report import write_fewshot_report
    from napari_iseg.fewshot.models import list_fewshot

    known = {*BASELINES, *list_fewshot()}
    unknown = [name for name in baselines if name.partition(":")[0] not in known and not is_fewshot(name)]
    if unknown:
        raise InputError(f"Unknown few-shot baseline {unknown[0]!r}; available: {', '.join(BASELINES)}.")
    data = open_data()
    methods = _load(model, baselines, device, precision)
    work, notes = _prepare(data, cases, supports, seed, copies_only=not _able(methods))
    run = _ran(data, card, seed=seed, supports=supports, draws=draws, precision=precision)
    results = _Results()

    def write(plots: bool) -> list[Path]:
        if out is None:
            return []
        return write_fewshot_report(results.queries, results.volumes, out, notes=notes, run=run, plots=plots)

    def show(files: list[Path]) -> None:
        _show(results, notes, files, as_json)

    with set_by_set(work, results, write, show) as parts, bars() as shown:
        for part in parts:
            _run(part, methods, results, clicks, supports, draws, partial(ticks, shown))


def _ran(data: Sequence[Dataset], card: ModelCard | None, **chosen: Any) -> dict[str, Any]:
    """What was run on what, for those who read the report later."""
    from napari_iseg import __version__
    from napari_iseg.evaluation.how_run import weights_sha256

    weights = {} if card is None else {"weights_sha256": weights_sha256(card)}
    return {"version": __version__, "split": {d.name: d.part for d in data}, **weights, **chosen}


def _show(results: _Results, notes: list[str], files: list[Path], as_json: bool) -> None:
    """Print scores, by how much the model is ahead, what was left out, and where all this was written."""
    from napari_iseg.evaluation.fewshot_tables import comparison, fewshot_table
    from napari_iseg.evaluation.report import finite

    if as_json:
        content: dict[str, Any] = {
            "queries": [r.to_dict() for r in results.queries],
            "volumes": [r.to_dict() for r in results.volumes],
        }
        print_json({"reports": finite(content), "notes": notes, "files": files})
        return
    print(fewshot_table(results.queries, results.volumes))
    for line in (*comparison(results.queries, results.volumes), *notes):
        print(f"\n{line}")
    for file in files:
        print(f"wrote {file}")


def _load(
    model: str, baselines: Sequence[str], device: str, precision: str
) -> dict[str, FewShotModel | UnitPredictor]:
    """The two-stage baseline hands its masks to the evaluated model, so that only the clicks differ."""
    from napari_iseg.fewshot.models import load_fewshot

    load = partial(load_fewshot, device=device, precision=precision)
    first = load(model)
    second = None if hasattr(first, "predict_unit") or model.startswith("two-stage") else first
    others = [name for name in dict.fromkeys(baselines) if name != model]
    loaded = {_shown(name): load(name, second=cast(Any, second)) for name in others}
    return {_shown(model): first, **loaded}


def _shown(name: str) -> str:
    """A model's name in tables: of a path its last part."""
    return Path(name).name


def _able(methods: Methods) -> dict[str, FewShotModel]:
    """Methods that look at images; those that copy masks have nothing to say of other images."""
    return {name: method for name, method in methods.items() if not hasattr(method, "predict_unit")}


def _prepare(
    data: Sequence[Dataset], cases: int, supports: int, seed: int, *, copies_only: bool
) -> tuple[list[_Work], list[str]]:
    """What is asked of every data set, and a note on each of which something cannot be asked."""
    from napari_iseg.evaluation.fewshot_stacks import scene_of, volumes_of

    work, notes = [], []
    for dataset in data:
        volume = any(item.position is not None for item in dataset)
        stacks: list[Stack] = []
        made: list[Case] = []
        try:
            stacks = volumes_of(dataset) if volume else [scene_of(dataset, side=_SIDE)]
        except InputError as error:
            notes.append(str(error))
        if cases and not volume and not copies_only:
            try:
                made = _cases(dataset, cases, supports, seed)
            except InputError as error:
                notes.append(str(error))
        if stacks or made:
            work.append(_Work(tuple(stacks), tuple(made), dataset.name))
    if not work:
        raise InputError(notes[0] if notes else "There is no data set to evaluate.")
    return work, notes


def _cases(dataset: Dataset, count: int, supports: int, seed: int) -> list[Case]:
    """Cases with as many supports as clicks are split over, fewer where there are too few images."""
    from napari_iseg.evaluation.fewshot_cases import cases_of
    from napari_iseg.evaluation.fewshot_stacks import tiles_of

    images = tiles_of(dataset, _SIDE) if len(dataset) == 1 else dataset
    for most in sorted({k for k in SPLITS if supports < k < len(images)}, reverse=True):
        made = cases_of(images, count, most, seed=seed, side=_SIDE)
        if len(made) == count:
            return made
    return cases_of(images, count, supports, seed=seed, side=_SIDE)


def _run(
    work: _Work,
    methods: Methods,
    results: _Results,
    clicks: int,
    supports: int,
    draws: int,
    bar: Callable[[str], Callable[[int, int], None]],
) -> None:
    """Every method on one data set; clicks are split over supports for the evaluated model only."""
    from napari_iseg.evaluation.fewshot_protocol import AT, evaluate_queries
    from napari_iseg.evaluation.fewshot_volumes import evaluate_volume
    from napari_iseg.fewshot.two_stage import TwoStage

    clicker = next((m for m in methods.values() if isinstance(m, TwoStage)), None)
    for stack in work.stacks:
        for name, method in methods.items():
            tick = bar(f"{stack.name}, {name}")
            # From true masks the two-stage shortcut is its second stage: nothing new.
            painted = not isinstance(method, TwoStage) or len(methods) == 1
            report = evaluate_volume(
                method, stack, name=name, painted=painted, draws=draws, clicker=clicker, on_slice=tick
            )
            results.volumes.append(report)
    if not work.cases:
        return
    at = tuple(n for n in AT if n <= clicks)
    for number, (name, model) in enumerate(_able(methods).items()):
        splits = SPLITS if number == 0 else ()
        tick = bar(f"{work.name}, {name}, clicks")
        results.queries.append(
            evaluate_queries(
                model,
                work.cases,
                dataset=work.name,
                name=name,
                at=at,
                supports=supports,
                splits=splits,
                on_case=tick,
            )
        )
