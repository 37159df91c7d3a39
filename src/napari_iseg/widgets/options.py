"""The options of the dock that change how a model is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Options:
    """How a model is run; the defaults are the published evaluation settings.

    Attributes
    ----------
    threshold : probability from which a pixel belongs to the object
    refine_steps : extra passes per refined click (CFR-n)
    refine_adaptive : stop refining once the mask hardly changes (A-CFR)
    flip : average with the answer to the mirrored window
    """

    threshold: float = 0.49
    refine_steps: int = 0
    refine_adaptive: bool = False
    flip: bool = True

    @classmethod
    def of(cls, inference: Mapping[str, Any]) -> Options:
        """From a card's ``inference`` table; what it does not name keeps its default."""
        known = {name: inference[name] for name in cls.__dataclass_fields__ if name in inference}
        return cls(**known)

    @classmethod
    def of_model(cls, model: Any) -> Options:
        """Those a loaded model was made with."""
        return cls(**{name: getattr(model.inference, name) for name in cls.__dataclass_fields__})

    def as_inference(self) -> dict[str, Any]:
        """Keywords for `Model.with_inference`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
