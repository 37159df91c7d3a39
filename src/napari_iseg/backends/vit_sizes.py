"""Sizes that all click networks on SimpleClick's plain ViT have: checks, and the way back from shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import heads_of, image_size, patch_side, trained_size, whole, wholes
from napari_iseg.errors import InputError

_NEEDED: Final = ("embed_dim", "depth", "num_heads", "neck_dims")


@dataclass(frozen=True, slots=True)
class TrunkSizes:
    """The trunk and pyramid of a checked variant; field names are the mapping's keys.

    ``img_size`` may be given as one number or as (rows, cols), ``patch_size`` also as two equal numbers.
    ``neck_dims`` are the pyramid's channels,
    finest first.
    """

    img_size: int | tuple[int, int]
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    neck_dims: tuple[int, int, int, int]

    @property
    def image(self) -> tuple[int, int]:
        """Trained size (rows, cols) in pixels."""
        return (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size

    def mapping(self) -> dict[str, Any]:
        """As plain values for a card."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def checked_values(variant: Variant, known: Iterable[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A variant's values with the defaults filled in; those of the trunk are checked one by one.

    Raises
    ------
    InputError
        For unknown or missing keys, and for what is no size.
    """
    values = {"img_size": 448, "patch_size": 16, **defaults, **variant}
    known = list(known)
    unknown = sorted(set(values) - set(known), key=str)
    missing = [key for key in _NEEDED if key not in values]
    if unknown or missing:
        problem = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {', '.join(missing)}"
        raise InputError(f"The variant {problem}; its keys are {', '.join(known)}.")
    return {
        **values,
        **{key: whole(key, values[key]) for key in ("embed_dim", "depth", "num_heads")},
        "img_size": image_size(values["img_size"]),
        "patch_size": patch_side(values["patch_size"]),
        "neck_dims": wholes("neck_dims", values["neck_dims"], 4),
    }


def check_trunk(sizes: TrunkSizes) -> None:
    """Refuse, with an InputError, blocks, heads or patches that do not come out even or are too few."""
    if sizes.depth % 4:
        raise InputError(f"depth must be a multiple of 4 (four groups of blocks), got {sizes.depth}.")
    if sizes.embed_dim % sizes.num_heads:
        raise InputError(f"embed_dim {sizes.embed_dim} must be a multiple of num_heads {sizes.num_heads}.")
    if any(side % sizes.patch_size for side in sizes.image):
        raise InputError(f"img_size {sizes.img_size} must be a multiple of patch_size {sizes.patch_size}.")
    if min(sizes.image) < 2 * sizes.patch_size:  # the coarsest map has half as many tokens
        raise InputError(f"img_size {sizes.img_size} must be at least two patches of {sizes.patch_size}.")


def trunk_of(shapes: Shapes, image: Any, heads: Any, variants: Mapping[str, Variant]) -> dict[str, Any]:
    """What keys and shapes say of the trunk, for a variant's mapping (without ``neck_dims``).

    Parameters
    ----------
    image, heads : what the file says of its trained size and heads, or None
    variants : published ones, whose heads are taken where the file says nothing

    Raises
    ------
    KeyError, IndexError, ValueError, ZeroDivisionError
        When an essential key is missing or odd.
    """
    dim, _, patch, _ = shapes["patch_embed_coords.proj.weight"]
    depth = count(shapes, r"backbone\.blocks\.(\d{1,3})\.")
    return {
        "img_size": trained_size(shapes["backbone.pos_embed"][1] - 1, patch, image),
        "patch_size": patch,
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads_of(dim, depth, heads, variants),
    }


def count(shapes: Shapes, numbered: str) -> int:
    """How many parts there are whose keys begin so; ValueError when there are none."""
    return 1 + max(int(found[1]) for key in shapes if (found := re.match(numbered, key)))
