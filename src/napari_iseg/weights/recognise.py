"""Which network a weights file belongs to, and what is nearest when it belongs to none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from napari_iseg import backends
from napari_iseg.backends.base import Recognition, Shapes
from napari_iseg.backends.cards import CARD_FILE
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.weights.checkpoint import Checkpoint
from napari_iseg.weights.damage import damaged

_SHOWN = 3
_MAX_WRAPS = 3


def identify(
    shapes: Shapes, hints: Mapping[str, Any], *, backend: str | None = None, variant: str | None = None
) -> Recognition:
    """Backend and variant from the published key names and shapes.

    Parameters
    ----------
    shapes : key -> shape, as in the file
    hints : sizes that the file states about itself; they decide what shapes leave open (number of heads)
    backend, variant : what the user says it is, or None

    Raises
    ------
    CheckpointError
        No known network fits: with the nearest one and the first differing keys. Or another one than
        demanded: with what was recognised and what was expected.
    InputError, ModelNotFoundError
        A demand that no known network could meet.
    """
    _check_known(backend, variant)
    found = backends.recognise(shapes, hints)
    if found is None:
        raise CheckpointError(_unknown(shapes, _demand(backend, variant)))
    check_demand(found, backend, variant)
    return found


def unwrapped(file: Checkpoint) -> Checkpoint:
    """The file without the name ("model.") under which its training code kept a network that is known here.

    One in which no known network comes out is left as it is: some have such a name of their own.
    """
    inner = file
    for _ in range(_MAX_WRAPS):
        if not inner.shared:
            break
        inner = inner.without(inner.shared)
        if backends.recognise(inner.shapes, inner.hints) is not None:
            return inner
    return file


def check_demand(found: Recognition, backend: str | None, variant: str | None) -> None:
    """Refuse a network that is not of the backend and variant asked for (None: any).

    Raises
    ------
    CheckpointError
        With what was recognised and what was expected; InputError, ModelNotFoundError for an unknown demand.
    """
    _check_known(backend, variant)
    if backend not in (None, found.backend) or (variant and not same_variant(found.backend, variant, found)):
        raise CheckpointError(
            f"The file was recognised as {found.label}, but {_demand(backend, variant)} was expected; "
            "leave that option out."
        )


def claimed(metadata: Mapping[str, str]) -> tuple[Recognition, str] | None:
    """What a safetensors header of ours says: (network, "own" or "published" names); None for other files.

    Raises
    ------
    CheckpointError
        The header is damaged.
    """
    if not {"backend", "variant", "names"} <= set(metadata):
        return None
    try:
        variant = json.loads(metadata["variant"])
    except (ValueError, RecursionError):
        raise damaged("the variant in its header cannot be read") from None
    if not isinstance(variant, str | dict):
        raise damaged("the variant in its header is neither a name nor a table")
    if metadata["names"] not in ("own", "published"):
        raise damaged("the names in its header are neither 'own' nor 'published'")
    return described(metadata["backend"], variant), metadata["names"]


def described(backend: str, variant: str | Mapping[str, Any]) -> Recognition:
    """A card's backend and variant as a recognition."""
    method = backends.get(backend)
    if isinstance(variant, str) and variant not in method.variants:
        raise CheckpointError(
            f"{method.title} has no variant {variant!r}; known are {', '.join(method.variants)}."
        )
    if isinstance(variant, str):
        return Recognition(backend, dict(method.variants[variant]), f"{method.title} {variant}")
    return Recognition(backend, dict(variant), f"{method.title} of own sizes")


def same_variant(backend: str, variant: str | Mapping[str, Any], found: Recognition) -> bool:
    """Whether a card's backend and variant describe the recognised network."""
    if backend != found.backend:
        return False
    sizes = backends.get(backend).variants.get(variant) if isinstance(variant, str) else variant
    return sizes is not None and {k: _plain(v) for k, v in sizes.items()} == {
        k: _plain(v) for k, v in found.variant.items()
    }


def variant_name(found: Recognition) -> str | None:
    """The published name of the recognised sizes, if they have one."""
    known = backends.get(found.backend).variants
    return next((name for name in known if same_variant(found.backend, name, found)), None)


def _demand(backend: str | None, variant: str | None) -> str:
    return " ".join(part for part in (backend, variant) if part)


def _check_known(backend: str | None, variant: str | None) -> None:
    methods = [backends.get(backend)] if backend is not None else list(backends.BACKENDS.values())
    known = [name for method in methods for name in method.variants]
    if variant is not None and variant not in known:
        raise InputError(f"There is no variant {variant!r}; known are {', '.join(known)}.")


def _unknown(shapes: Shapes, wanted: str) -> str:
    label, wrong = backends.differences(shapes)
    asked = f" ({wanted} was expected)" if wanted else ""
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return (
        f"The file, of {len(shapes)} tensors, fits no known network{asked}; the nearest is {label}, "
        f"which differs by: {'; '.join(wrong[:_SHOWN])}{more}. Take a checkpoint of one of the methods that "
        "`napari-iseg models list` names, in the form its authors published it; if it comes from a training "
        f"run or a model folder of napari-iseg, put the {CARD_FILE} from there beside it."
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
