"""Objects beside the labels of a run, made anew only where the labels or the options have changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_iseg.cli.common import progress
from napari_iseg.errors import InputError
from napari_iseg.files import write_text


def check_split(objects: int | None, split: float | None) -> None:
    """Refuse, before a run of hours, a ``--split`` that could not be obeyed after it."""
    if split is not None and objects is None:
        raise InputError("--split needs --objects 2 or --objects 3: it splits objects, not labels.")
    if split is not None and not split > 0:
        raise InputError(f"--split must be above 0 pixels, got {split:g}; 1 or 2 are usual.")


def objects_of(out: Path, target: Path, *, ndim: int, min_pixels: int, split: float | None) -> dict[str, Any]:
    """Separate the objects of ``out`` into ``target``: where they lie and how many there are.

    What they were made from stands in the run's folder; its journal grows with everything that is computed.
    """
    check_split(ndim, split)
    from napari_iseg.fewshot.components import separate_objects
    from napari_iseg.fewshot.preparing import run_folder

    journal, note = run_folder(out) / "journal.jsonl", run_folder(out) / "objects.json"
    made_from = {
        "target": target.name,
        "ndim": ndim,
        "min_pixels": min_pixels,
        "split": split,
        "journal": journal.stat().st_size,
    }
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() and target.exists() else {}
    if {key: known.get(key) for key in made_from} == made_from:
        return {"out": target, "count": known["count"]}
    with progress("separating objects"):
        count = separate_objects(out, target, ndim=ndim, min_pixels=min_pixels, split=split, overwrite=True)
    write_text(note, json.dumps({**made_from, "count": count}) + "\n")
    return {"out": target, "count": count}
