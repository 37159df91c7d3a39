"""What is finished, on disk before anybody relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.jobs import Job, Result
from napari_iseg.fewshot.scratch import Scratch
from napari_iseg.fewshot.support_store import SupportStore
from napari_iseg.files import made, replacing, sweep
from napari_iseg.labels.journal import Journal, encode

_LAYOUT = "layout"
_JOURNAL = "journal.jsonl"
_MOST_LINES = 2000


class Record:
    """The folder of a run beside its output: an append-only journal, the supports, drafts in waiting.

    Parameters
    ----------
    folder : made when missing
    layout : what the arrays of the output look like; a run can only go on with the same

    Raises
    ------
    InputError
        When the folder belongs to a run with another layout, or its journal is damaged.
    SaveError
        When it cannot be written.
    """

    def __init__(self, folder: Path, layout: Mapping[str, Any]) -> None:
        self.folder = folder
        self.scratch = Scratch(folder / "drafts")
        self.supports = SupportStore(folder / "supports")
        for kept in (self.scratch.folder, self.supports.folder):
            sweep(made(kept, "choose another output"))
        self._journal = Journal(folder / _JOURNAL)
        self._results: dict[str, tuple[str, Result]] = {}
        self._blocks: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        known: dict[str, Any] | None = None
        for record in self._journal.records:
            if record.body["op"] == _LAYOUT:
                known = record.body["layout"]
            else:
                self._apply(record.body)
        if known is None:
            self._append({"op": _LAYOUT, "layout": dict(layout)})
        elif known != dict(layout):
            differ = ", ".join(sorted(key for key in {*known, *layout} if known.get(key) != layout.get(key)))
            self._journal.close()
            raise InputError(
                f"The output was begun with other settings ({differ}); give the same ones to resume, or "
                "choose to overwrite or another name."
            )
        self._shorten(layout)

    @property
    def failed(self) -> dict[str, str]:
        """Names of units that could not be predicted, and why."""
        return dict(self._failed)

    def result(self, job: Job) -> Result | None:
        """What was found by a job, if it was done with exactly this job's supports and settings."""
        digest, result = self._results.get(job.name, ("", None))
        return result if digest == job.digest else None

    def is_written(self, unit: str, digest: str) -> bool:
        """Whether the block of a unit is in the output, made from exactly this."""
        return self._blocks.get(unit) == digest

    def done(self, job: Job, result: Result) -> None:
        """A job's draft is in the scratch folder."""
        self._append(result.to_record(job.digest))

    def written(self, unit: str, digest: str) -> None:
        """A unit's block is in the output and synced."""
        self._append({"op": "block", "name": unit, "digest": digest})

    def fail(self, name: str, reason: str) -> None:
        """A job was given up."""
        self._append({"op": "failed", "name": name, "reason": reason})

    def forget(self) -> None:
        """All that is finished was made from another image: do it again."""
        self._append({"op": "forget"})

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _shorten(self, layout: Mapping[str, Any]) -> None:
        """Write a journal that is mostly out of date anew: every correction adds its lines, and reads all."""
        bodies = [
            {"op": _LAYOUT, "layout": dict(layout)},
            *(result.to_record(digest) for digest, result in self._results.values()),
            *({"op": "block", "name": name, "digest": digest} for name, digest in self._blocks.items()),
            *({"op": "failed", "name": name, "reason": reason} for name, reason in self._failed.items()),
        ]
        if self._journal.last < _MOST_LINES or self._journal.last < 4 * len(bodies):
            return
        self._journal.close()
        # On a full disk the long one will do.
        with suppress(SaveError), replacing(self.folder / _JOURNAL) as file:
            file.writelines(encode(number, body) for number, body in enumerate(bodies, start=1))
        self._journal = Journal(self.folder / _JOURNAL)

    def _append(self, body: Mapping[str, Any]) -> None:
        self._journal.append(body)
        if body["op"] != _LAYOUT:
            self._apply(body)

    def _apply(self, body: Mapping[str, Any]) -> None:
        if body["op"] == "forget":
            for known in (self._results, self._blocks, self._failed):
                known.clear()
            return
        name = body["name"]
        if body["op"] == "job":
            self._results[name] = (body["digest"], Result.from_record(dict(body)))
            self._failed.pop(name, None)
        elif body["op"] == "block":
            self._blocks[name] = body["digest"]
        else:
            self._failed[name] = body["reason"]
