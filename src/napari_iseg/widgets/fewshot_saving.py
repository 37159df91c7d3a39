"""Saving a few-shot result as a file of another kind or in another place."""

from __future__ import annotations

from pathlib import Path

from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.widgets.fewshot_view import FewShotView
from napari_iseg.widgets.reports import report
from napari_iseg.widgets.worker import Worker


def save(out: Path, path: Path, like: str | None, worker: Worker, view: FewShotView) -> None:
    """Write a result in the background, and say so.

    Parameters
    ----------
    out : the result
    path : of the file; its ending says of which kind
    like : file of the image, for what only GeoTIFFs know
    """

    def failed(error: Exception) -> None:
        view.set_status("Not saved.")
        report(error)

    view.set_status(f"Saving {path.name}…")
    worker.submit_task(
        lambda _stop: export_labels(LabelStore.open(out), path, like=like, pieces=True),
        lambda written: view.set_status(f"Saved {written}."),
        failed,
    )
