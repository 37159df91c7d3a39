"""The small frozen values that travel between the plan, the workers and the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_iseg.fewshot.base import Position
from napari_iseg.fewshot.frame import Plane
from napari_iseg.prompts import Window


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One tile of one plane: what is predicted, blended and recorded."""

    plane: Plane
    row: int
    col: int

    @property
    def name(self) -> str:
        """A name that files and people can bear: "12_0_1"; a scene's plane is "s"."""
        return "_".join(["-".join(map(str, self.plane)) or "s", str(self.row), str(self.col)])


@dataclass(frozen=True, slots=True)
class Job:
    """One prediction.

    Attributes
    ----------
    name : of its draft; the unit's name, with "-up" or "-down" for a step of a chain
    stage : "final", or "up" / "down" for a step that carries a neighbour's answer on
    window, position : what is looked at; core : the part of it that is written; sample : the part whose
        pixels are kept in mind
    supports : keys of the supports it is made from
    parents : jobs whose drafts are its prior (a step has one; a final has the ends of up to two chains)
    weights : of the parents of a final, summing to 1
    fixed : key of the support that is its answer, or ""
    digest : of everything the answer depends on
    distance : from the nearest support, physical; the order of work
    """

    name: str
    unit: Unit
    stage: str
    window: Window
    position: Position
    supports: tuple[str, ...]
    parents: tuple[str, ...]
    weights: tuple[float, ...]
    fixed: str
    digest: str
    distance: float
    sample: Window
    core: Window


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker tells of a finished job; the pixels are in the scratch folder.

    Attributes
    ----------
    trust : 0 to 1; doubt : 0 to 1, mean entropy of the pixels that may be object
    presence : one per label; areas : pixels per label
    drifted : a chain was given up here
    seconds : of model time
    pixels : key of the image in the job's sample; "" where no image was looked at
    is_empty : no pixel that is written has a value; the trust is 1 then, and nothing is in doubt or lost
    """

    name: str
    trust: float
    doubt: float
    presence: tuple[float, ...]
    areas: tuple[int, ...]
    drifted: bool
    seconds: float
    pixels: str = ""
    is_empty: bool = False

    def to_record(self, digest: str) -> dict[str, Any]:
        """As a line of the journal."""
        return {
            "op": "job",
            "name": self.name,
            "digest": digest,
            "trust": round(self.trust, 6),
            "doubt": round(self.doubt, 6),
            "presence": [round(value, 4) for value in self.presence],
            "areas": list(self.areas),
            "drifted": self.drifted,
            "seconds": round(self.seconds, 4),
            "pixels": self.pixels,
            "empty": self.is_empty,
        }

    @classmethod
    def from_record(cls, body: dict[str, Any]) -> Result:
        """The result that ``to_record`` wrote."""
        return cls(
            body["name"],
            float(body["trust"]),
            float(body["doubt"]),
            tuple(body["presence"]),
            tuple(body["areas"]),
            bool(body["drifted"]),
            float(body["seconds"]),
            str(body.get("pixels", "")),
            bool(body.get("empty", False)),
        )


@dataclass(frozen=True, slots=True)
class Item:
    """What a worker is given at once: jobs with the same supports, computed as one batch."""

    number: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: its results, or one sentence on why there are none.

    Attributes
    ----------
    fatal : no other attempt can end better: "input" or "save" says whose fault it is; else ""
    """

    number: int
    results: tuple[Result, ...] = ()
    error: str = ""
    fatal: str = ""
