"""Whether the weights on disk are still what their card says, and the model can be used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.backends import role
from napari_iseg.backends.cards import ModelCard
from napari_iseg.errors import CheckpointError, IsegError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.weights.store import Store

_SHOWN = 3  # names of tensors in a sentence
_AGAIN = "fetch or import the model again"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one model: ``problems`` in words (none when all is well), and the checksum found."""

    name: str
    problems: tuple[str, ...]
    sha256: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems


def verify(card: ModelCard, store: Store | None = None) -> Verdict:
    """Recompute the checksum of a model's weights, load the model strictly, look for numbers that are none.

    Parameters
    ----------
    card : of the model
    store : where another model that it needs is looked for; None: the usual one
    """
    path = card.weights_path
    if path is None or not path.is_file():
        return Verdict(card.name, (f"the weights file {card.weights} is not there; {_AGAIN}",))
    problems = []
    try:
        found = sha256_of(path)
    except CheckpointError as error:
        return Verdict(card.name, (str(error),))
    if not card.sha256:
        problems.append("the card records no sha256 to compare with")
    elif found != card.sha256:
        problems.append(
            f"the sha256 is {found}, the card says {card.sha256}: the file was changed or damaged; {_AGAIN}"
        )
    problems += _load_problems(card, path, store)
    return Verdict(card.name, tuple(problems), found)


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"The weights file {path} cannot be read ({error.strerror or error}); {_AGAIN}."
        ) from None


def all_finite(value: Tensor) -> bool:
    """Whether a tensor of any type and shape holds neither NaN nor infinity."""
    return not value.is_floating_point() or bool(value.isfinite().all())


def broken_names(state: Mapping[str, Tensor]) -> str:
    """The first tensors with NaN or infinity, named in words; "" when there is none."""
    broken = [key for key, value in state.items() if not all_finite(value)]
    rest = f" and {len(broken) - _SHOWN} others" if len(broken) > _SHOWN else ""
    return ", ".join(map(repr, broken[:_SHOWN])) + rest


def _load_problems(card: ModelCard, path: Path, store: Store | None) -> list[str]:
    from napari_iseg.backends.model import Model
    from napari_iseg.weights.loading import net_from_card, ready
    from napari_iseg.weights.store import load_helpers

    try:
        net = net_from_card(card, path)
        broken = broken_names(net.state_dict())
        if broken:
            return [f"NaN or infinity in {broken}; {_AGAIN}"]
        if role(card.backend) == "training":
            return []  # answers nothing by itself
        model = ready(card, net, "cpu", "float32")
        if isinstance(model, Model):
            load_helpers(model, store)
    except IsegError as error:
        return [str(error)]
    return []
