"""Whether a file's tensors are those of the network that its card or header names; takes no memory for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch

from napari_iseg import backends
from napari_iseg.backends.base import PublishedNet, Recognition, Shapes
from napari_iseg.backends.published import shape_differences, shapes_of
from napari_iseg.errors import CheckpointError, IsegError
from napari_iseg.weights.damage import damaged
from napari_iseg.weights.recognise import identify

_SHOWN = 3
_LARGEST: Final = 2**16  # of a number that no shape shows, as the side that a network was trained at
# What making a network of odd sizes can raise.
_NO_NETWORK = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def check_fit(found: Recognition, names: str, shapes: Shapes) -> None:
    """Refuse keys and shapes that are not those of the network (for published names: of what it uses).

    Raises
    ------
    CheckpointError
        With the first differing keys, or with the network that they are of; InputError for sizes that no
        network has.
    """
    net = _outline(found, shapes)
    if names != "published":
        check_own(net, found, shapes)
        return
    try:
        net.load_published({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    except (CheckpointError, RuntimeError):  # RuntimeError: torch's own, of networks without renamed keys
        seen = identify(shapes, {})
        raise CheckpointError(
            f"The file or its card says {found.label}, but its tensors are those of {seen.label}; get a file "
            "whose header and card are its own."
        ) from None


def check_own(net: PublishedNet, found: Recognition, shapes: Shapes) -> None:
    """As `check_fit`, for our own names and a network that is there already."""
    wrong = shape_differences(shapes, shapes_of(net))
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CheckpointError(
            f"The weights file does not fit {found.label}: {'; '.join(wrong[:_SHOWN])}{more}."
        )


def _outline(found: Recognition, shapes: Shapes) -> PublishedNet:
    """The network without memory: stated sizes are not to be believed before they are compared."""
    _check_sizes(found.variant, shapes)
    try:
        with torch.device("meta"):
            return backends.build(found.backend, found.variant)
    except IsegError:
        raise
    except _NO_NETWORK as error:
        title = backends.get(found.backend).title
        raise damaged(f"the sizes it states describe no network of {title} ({error})") from None


def _check_sizes(variant: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuse sizes beyond what the file holds, with which the outline alone would take minutes or memory."""
    numbers = sum(math.prod(shape) for shape in shapes.values())
    for key, value in variant.items():
        parts = value if isinstance(value, list | tuple) else (value,)
        counts = "depth" in key or "layers" in key  # of what has tensors of its own
        largest = len(shapes) if counts else max(numbers, _LARGEST)
        sizes = [part for part in parts if isinstance(part, int | float)]
        if len(parts) > max(len(shapes), 1) or not all(size <= largest for size in sizes):
            raise damaged(f"the {key} it states is more than its {len(shapes)} tensors can hold")
