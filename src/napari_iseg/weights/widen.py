"""IS-Net files with 3 or 4 input channels made into IS5Net ones, which take a mask and a box too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from napari_iseg.errors import InputError
from napari_iseg.weights.checkpoint import Checkpoint
from napari_iseg.weights.recognise import described, identify

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS: Final = 5  # image, coarse mask, box
_FIRST: Final = "conv_in.weight"


def widened_file(file: Checkpoint) -> Checkpoint:
    """The file with a first convolution of five channels; the new ones are zero.

    It answers as before until it is trained: mask and box change nothing yet.

    Raises
    ------
    InputError
        For a file that is no IS-Net with 3 or 4 input channels; CheckpointError for one of no known network.
    """
    from napari_iseg.backends.is5net import widened

    found = identify(file.shapes, file.hints)
    if found.backend != "is5net" or not found.variant["in_channels"] < CHANNELS:
        raise InputError(
            f"The file was recognised as {found.label}; only IS-Net files with 3 or 4 input channels can be "
            "widened, so leave --widen out."
        )
    first = file.shapes[_FIRST]

    def read(key: str) -> Tensor:
        value = file.read(key)
        return widened(value, CHANNELS) if key == _FIRST else value

    shapes = {**file.shapes, _FIRST: (first[0], CHANNELS, *first[2:])}
    return replace(file, shapes=shapes, read=read, metadata={})


def widening_hint(backend: str, variant: str | Mapping[str, Any]) -> str:
    """What to say of a model that could be widened; empty for others."""
    if backend != "is5net":
        return ""
    channels = described(backend, variant).variant.get("in_channels", CHANNELS)
    if channels >= CHANNELS:
        return ""
    seen = "the image alone" if channels == 3 else "image and mask"
    return (
        f"It has {channels} input channels and sees {seen}; import it with --widen to make it an IS5Net of "
        f"{CHANNELS} channels, as a start for training."
    )
