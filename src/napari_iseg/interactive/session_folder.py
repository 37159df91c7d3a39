"""A session on disk: ``journal.jsonl`` (the truth), ``session.toml`` (whose it is), ``labels.zarr``,
``applied.json``.

The label store is a copy of what the journal says. ``applied.json`` holds the number of the last record whose
pixels are certainly on the disk; what follows is painted again on opening. Painting sets exact pixels to
exact values, so the last record that touches a pixel decides and doing it twice changes nothing.
"""

from __future__ import annotations

import json
import shutil
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import zarr.errors

from napari_iseg.errors import InputError, SaveError
from napari_iseg.interactive.committing import apply_paints, traces
from napari_iseg.interactive.history import History, Step
from napari_iseg.interactive.objects import Event
from napari_iseg.interactive.old_labels import wrote
from napari_iseg.labels.journal import Journal, Record
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.store import LabelStore
from napari_iseg.weights.files import write_text

# Settings that there were not always: sessions of before were made without them.
_WITHOUT = {
    "thin": "",
    "search_twice": False,
    "search_coarse": 0,
    "search_stability": True,
    "search_rethink": False,
}
# What opening or reading a label store that is none, or no longer whole, may raise.
_DAMAGE = (InputError, OSError, ValueError, RuntimeError, KeyError, zarr.errors.BaseZarrError)
FORMAT = 1  # of session.toml and the journal
JOURNAL, INFO, LABELS, APPLIED = "journal.jsonl", "session.toml", "labels.zarr", "applied.json"


@dataclass(slots=True)
class Replayed:
    """What a journal says: the history with its undone steps, the settings, and what was painted when."""

    history: History
    threshold: float | None = None
    model: str = ""
    inference: dict[str, Any] = field(default_factory=dict)
    painted: list[tuple[int, Step, bool]] = field(default_factory=list)  # (record, step, forward)


class SessionFolder:
    """The files of one session.

    Parameters
    ----------
    path : Path
    journal : Journal
    info : dict
        Content of session.toml.
    """

    def __init__(self, path: Path, journal: Journal, info: dict[str, Any]) -> None:
        self.path = path
        self.journal = journal
        self.info = info

    @classmethod
    def create(cls, path: Path, info: dict[str, Any]) -> SessionFolder:
        """A new session folder; raises InputError when one is there, SaveError when it cannot be written."""
        if (path / JOURNAL).exists():
            raise InputError(
                f"{path} already holds a session; open it with Session.open or choose another folder."
            )
        write_text(path / INFO, tomli_w.dumps(info))
        return cls(path, Journal(path / JOURNAL), info)

    @classmethod
    def open(cls, path: Path) -> SessionFolder:
        """The folder of an earlier session; raises InputError when it is not one or is damaged."""
        if not (path / JOURNAL).is_file() or not (path / INFO).is_file():
            raise InputError(f"{path} is not a session folder: it has no {JOURNAL} and {INFO}.")
        return cls(path, Journal(path / JOURNAL), read_info(path))

    @property
    def labels_path(self) -> Path:
        """Where the labels are: in this folder unless the session was given a store elsewhere."""
        return Path(self.info["labels"].get("path") or self.path / LABELS)

    def replay(self) -> Replayed:
        """The state after the last whole record."""
        if not self.journal.records:
            raise InputError(f"{self.journal.path} is empty: nothing was recorded in this session.")
        number = 1
        try:
            start = self.journal.records[0].body["start"]
            replayed = Replayed(History(tuple(start["plane"]), start["next_label"]))
            for record in self.journal.records:
                number = record.seq
                _replay(replayed, record)
        except (LookupError, TypeError, ValueError, AssertionError) as error:
            raise InputError(
                f"Record {number} of {self.journal.path} cannot be understood ({error}); was it written by a "
                "newer napari-iseg? Open it with that one."
            ) from error
        self.journal.records.clear()
        return replayed

    def restore_labels(self, replayed: Replayed) -> LabelStore:
        """The label store, brought to what the journal says; our own is made anew where it cannot be."""
        given = self.info["labels"].get("path")
        store = self._elsewhere(replayed) if given else self._opened(replayed)
        for label, parts in replayed.history.now.objects.items():
            store.remember(label, traces(parts))
        store.reserve(replayed.history.now.next_label)
        if not self.info["labels"].get("path"):
            store.trust_traces()
        self.checkpoint(store)
        return store

    def _opened(self, replayed: Replayed) -> LabelStore:
        """The labels in this folder; nobody else writes there."""
        applied = self._applied()
        if self.labels_path.exists() and applied <= self.journal.last:
            try:
                store = LabelStore.open(self.labels_path)
                _paint(store, [entry for entry in replayed.painted if entry[0] > applied])
                return store
            except SaveError:
                raise
            except _DAMAGE:
                pass  # all that was in them is in the journal
        return self._rebuilt(replayed)

    def _elsewhere(self, replayed: Replayed) -> LabelStore:
        """The labels in another place, which may be anybody's: a folder from elsewhere can name any.

        Nothing is painted there on opening unless the labels say that this session writes in them. Labels of
        before there were such notes serve as they are if they bear out what was recorded. Otherwise they are
        left alone, and this folder gets labels of its own.
        """
        where, own = self.labels_path, self.info.get("id")
        if not where.exists():
            raise InputError(f"The labels of this session are not at {where} any more; put them back there.")
        try:
            store = LabelStore.open(where)
            if list(store.shape) != list(self.info["labels"]["shape"]):
                raise InputError(f"their shape is {store.shape}")
            if own in store.sessions:
                _paint(store, [entry for entry in replayed.painted if entry[0] > self._applied()])
                return store
            # Asked of another one: what a search finds must not be there before our objects are told.
            steps = [step for _, step, _ in replayed.painted]
            fits = own is None and wrote(LabelStore.open(where), replayed.history, steps)
        except SaveError:
            raise
        except _DAMAGE as error:
            raise InputError(f"The labels of this session at {where} are damaged ({error}).") from error
        if fits:
            self._note({**self.info, "id": uuid.uuid4().hex})
            store.sign(self.info["id"])
            return store
        stored = {key: value for key, value in self.info["labels"].items() if key != "path"}
        self._note({**self.info, "labels": stored})
        self.journal.note = (
            f"{self.journal.note} The labels at {where} are not known to be this session's and were left as "
            f"they are; its objects are in {self.path / LABELS} from now on."
        ).strip()
        return self._rebuilt(replayed)

    def _rebuilt(self, replayed: Replayed) -> LabelStore:
        """All committed objects painted into a new store, which then takes the old one's place."""
        fresh = self.path / f".{LABELS}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        settings = {key: value for key, value in self.info["labels"].items() if key not in ("path", "shape")}
        store = LabelStore(self.info["labels"]["shape"], path=fresh, **settings)
        _paint(store, replayed.painted)
        store.flush()
        shutil.rmtree(self.path / LABELS, ignore_errors=True)
        fresh.rename(self.path / LABELS)
        return LabelStore.open(self.path / LABELS)

    def restate(self, space: Space) -> None:
        """Note where labels that are made again will lie."""
        self._note({**self.info, "labels": {**self.info["labels"], **space.to_record()}})

    def _note(self, info: dict[str, Any]) -> None:
        write_text(self.path / INFO, tomli_w.dumps(info))
        self.info = info

    def checkpoint(self, store: LabelStore) -> None:
        """Sync the labels and note that all records so far are in them."""
        store.flush()
        write_text(self.path / APPLIED, json.dumps({"seq": self.journal.last}))

    def _applied(self) -> int:
        try:
            return int(json.loads((self.path / APPLIED).read_bytes())["seq"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0  # unknown: paint everything again


def read_info(path: Path) -> dict[str, Any]:
    """What session.toml in a session folder says: ``image`` (path, shape, dtype, options) and ``labels``."""
    try:
        info = tomllib.loads((path / INFO).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} is not a session folder: its {INFO} cannot be read.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path / INFO} is damaged ({error}).") from error
    if info.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"The session in {path} is of format {info['format']}, and this napari-iseg reads {FORMAT}; open "
            "it with a newer one."
        )
    return info


def _replay(replayed: Replayed, record: Record) -> None:
    """Add one record to what is known."""
    history, body = replayed.history, record.body
    step: Step | None = None
    if "do" in body:
        step = history.plan(Event.from_record(body["do"]))
        history.do(step)
    elif "undo" in body:
        step = history.undo()
    elif "redo" in body:
        step = history.redo()
    elif "threshold" in body:
        replayed.threshold = body["threshold"].get("value")
    elif "model" in body:
        replayed.model = body["model"]["name"]
        replayed.inference = {**_WITHOUT, **body["model"]["inference"]}
    if step is not None and (step.gone or step.come):
        replayed.painted.append((record.seq, step, "undo" not in body))


def paint_step(store: LabelStore, step: Step, *, forward: bool) -> None:
    """Make the pixels of a step appear, or take them back."""
    apply_paints(store, step.gone if forward else step.come, clear=True)
    apply_paints(store, step.come if forward else step.gone, clear=False)


def _paint(store: LabelStore, painted: list[tuple[int, Step, bool]]) -> None:
    for _, step, forward in painted:
        paint_step(store, step, forward=forward)
