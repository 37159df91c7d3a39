"""What the backends of published click networks share: checking sizes, inputs and state dicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor, nn

from napari_iseg.backends.base import ClickNet, Shapes, Variant
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError

MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], ImageNet's
STD = (0.229, 0.224, 0.225)
_SHOWN = 3  # differing keys named in a refusal


def whole(key: str, value: Any) -> int:
    """``value`` if it is a whole number from 1 on; InputError names ``key`` otherwise."""
    if not is_whole(value) or value < 1:
        raise InputError(f"{key} must be a whole number from 1 on, got {value!r}.")
    return int(value)


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number of any kind, numpy's too; truth values are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def listed(value: Any) -> tuple[Any, ...] | None:
    """The entries of a list, a tuple or an array of one axis; None for anything else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None


def wholes(key: str, value: Any, count: int) -> tuple[int, ...]:
    """``value`` as ``count`` whole numbers from 1 on; InputError names ``key`` otherwise."""
    parts = listed(value)
    if parts is None or len(parts) != count:
        raise InputError(f"{key} must be {count} whole numbers, got {value!r}.")
    return tuple(whole(key, part) for part in parts)


def image_size(value: Any) -> int | tuple[int, int]:
    """A variant's ``img_size``: one number for a square, else (rows, cols); InputError otherwise."""
    if is_whole(value):
        return whole("img_size", value)
    parts = listed(value)
    if parts is None or len(parts) != 2:
        raise InputError(f"img_size must be a whole number or two, (rows, cols), got {value!r}.")
    rows, cols = wholes("img_size", parts, 2)
    return rows if rows == cols else (rows, cols)


def patch_side(value: Any) -> int:
    """A variant's ``patch_size``: one number, or as published files have it twice the same.

    Raises
    ------
    InputError
        Otherwise.
    """
    parts = listed(value)
    if parts is None:
        return whole("patch_size", value)
    if len(parts) != 2 or parts[0] != parts[1]:
        raise InputError(f"patch_size must be a whole number or two equal ones, got {value!r}.")
    return whole("patch_size", parts[0])


def trained_size(tokens: int, patch: int, hint: Any) -> Any:
    """The input size of a position table: the hinted one if it has that many tokens, else the square one.

    Raises
    ------
    InputError
        When nothing is hinted and the tokens are no square grid.
    """
    sides = (hint, hint) if is_whole(hint) else listed(hint) or ()
    if len(sides) == 2 and all(map(is_whole, sides)) and (sides[0] // patch) * (sides[1] // patch) == tokens:
        return [int(side) for side in sides]
    side = round(max(tokens, 0) ** 0.5)
    if side * side != tokens:
        raise InputError(f"{tokens} position tokens are no square grid.")
    return side * patch


def heads_of(dim: int, depth: int, hint: Any, variants: Mapping[str, Variant]) -> int:
    """Attention heads: what the file says, else the published model's of that size, else a usual width."""
    if is_whole(hint) and hint > 0 and dim % hint == 0:
        return int(hint)
    for variant in variants.values():
        if (variant["embed_dim"], variant["depth"]) == (dim, depth):
            return int(variant["num_heads"])
    width = next((w for w in (64, 80, 40, 32, 48, 16) if dim % w == 0), dim)
    return dim // width


def tensors_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict, read once: the mapping may read a file.

    Raises
    ------
    CheckpointError
        For what is no mapping of tensors, with where such a one may lie in it.
    """
    tensors = dict(state) if isinstance(state, Mapping) else None
    if tensors is not None and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()):
        return tensors
    inner = [key for key, value in (tensors or {}).items() if isinstance(value, Mapping)]
    got = f"a mapping with {inner[0]!r} inside" if inner else f"a {type(state).__name__} of something else"
    fix = f"pass what lies under {inner[0]!r}" if inner else "read a file with `iseg.load_model(path)`"
    raise CheckpointError(f"A state dict maps names to tensors, got {got}; {fix}.")


def shape_differences(shapes: Shapes, expected: Shapes, unused: re.Pattern[str] | None = None) -> list[str]:
    """What keeps a state dict from being this network's, one phrase per key, in the order of the network.

    ``unused`` : keys that may be there besides
    """
    wrong = []
    for key, shape in expected.items():
        if key not in shapes:
            wrong.append(f"missing {key}")
        elif tuple(shapes[key]) != shape:
            wrong.append(f"{key} is {_times(shapes[key])} instead of {_times(shape)}")
    unexpected = [key for key in shapes if key not in expected]
    if unused is not None:
        unexpected = [key for key in unexpected if not unused.fullmatch(key)]
    return wrong + [f"unexpected {key[:80]}" for key in unexpected]


def shapes_of(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key -> shape of a network's own state dict."""
    return shapes_in(net.state_dict())


def shapes_in(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Key -> shape of a state dict."""
    return {key: tuple(value.shape) for key, value in tensors.items()}


def load_strict(
    net: ClickNet,
    state: Mapping[str, Tensor],
    expected: Shapes,
    unused: re.Pattern[str],
    asked: str,
    instead: Callable[[Shapes], str | None] = lambda _shapes: None,
) -> None:
    """Load a published (or our own) state dict: every used key, no unknown one, the right shapes.

    Parameters
    ----------
    expected, unused : as for `shape_differences`
    asked : label of the network
    instead : a sentence on what a state dict of other shapes is, or None where that is not known

    Raises
    ------
    CheckpointError
        Otherwise, with that sentence or the first differences; the network is then unchanged.
    """
    tensors = tensors_of(state)
    shapes = shapes_in(tensors)
    wrong = shape_differences(shapes, expected, unused)
    if wrong:
        raise CheckpointError(
            instead(shapes)
            or f"This checkpoint does not fit the network asked for ({asked}): {some(wrong)}; "
            "let `napari-iseg models import` recognise its variant."
        )
    own = net.state_dict()
    # Built without memory ("meta"): take the tensors as they are.
    on_meta = any(value.is_meta for value in own.values())
    net.load_state_dict({key: tensors[key] for key in own}, strict=True, assign=on_meta)


def some(phrases: Sequence[str]) -> str:
    """The first few of many phrases."""
    more = len(phrases) - _SHOWN
    return ", ".join(phrases[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def named_variant(title: str, variants: Mapping[str, Variant], variant: str | Variant) -> Variant:
    """The mapping of a variant's name (or the mapping itself).

    Raises
    ------
    ModelNotFoundError
        For an unknown name; the sentence gives the nearest.
    InputError
        For what is neither a name nor a mapping.
    """
    if isinstance(variant, Mapping):
        return variant
    if not isinstance(variant, str):
        raise InputError(
            f"A variant of {title} is a name ({', '.join(variants)}) or a mapping of its sizes, got "
            f"{variant!r}."
        )
    if variant not in variants:
        near = get_close_matches(variant, variants, n=3, cutoff=0.3) or list(variants)
        raise ModelNotFoundError(f"{title} has no variant {variant!r}; use {' or '.join(map(repr, near))}.")
    return variants[variant]


def check_input(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> None:
    """Refuse tensors that do not fit together, see `ClickNet.forward`."""
    batch, height, width = image.shape[0], image.shape[-2], image.shape[-1]
    if image.ndim != 4 or image.shape[1] != 3:
        raise InputError(f"The image must be (B, 3, H, W), got {tuple(image.shape)}.")
    if prev_mask.shape != (batch, 1, height, width):
        raise InputError(
            f"The previous mask must be ({batch}, 1, {height}, {width}), got {tuple(prev_mask.shape)}."
        )
    if clicks.ndim != 3 or clicks.shape[0] != batch or clicks.shape[1] % 2 or clicks.shape[2] != 3:
        raise InputError(
            f"Clicks must be ({batch}, 2N, 3), N positive then N negative rows, got {tuple(clicks.shape)}."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
