"""Sizes of AdaptiveClick's networks: named variants and the way back from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import heads_of, image_size, trained_size, whole, wholes
from napari_iseg.errors import InputError

# In every published file, never used by a forward: parts of the pre-training, a constant of the loss, and
# the lateral and output convolution once more under their first names (the later ones win, as published).
UNUSED: Final = re.compile(
    r"backbone\.(cls_token|fc_norm\.(weight|bias)|head\.(weight|bias))|criterion\.empty_weight"
    r"|pixel_decoder\.(adapter_1|layer_1)\.[01]\.(weight|bias)"
)
_NUMBERS: Final = (
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "decoder_dim",
    "feedforward_dim",
    "encoder_layers",
    "decoder_layers",
    "queries",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """A checked variant; field names are the mapping's keys.

    ``img_size`` may be given as one number or as (rows, cols). ``neck_dims`` are the pyramid's channels,
    finest first. ``feedforward_dim`` is the decoder's, the encoder has half of it. ``decoder_layers`` does
    not count the prediction before the first layer (published configurations, which do, say 10).
    """

    img_size: int | tuple[int, int]
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    neck_dims: tuple[int, int, int, int]
    decoder_dim: int = 256
    feedforward_dim: int = 2048
    encoder_layers: int = 4
    decoder_layers: int = 9
    queries: int = 10

    @property
    def image(self) -> tuple[int, int]:
        """Trained size (rows, cols) in pixels."""
        return (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size

    def mapping(self) -> dict[str, Any]:
        """As plain values for a card."""
        return {**asdict(self), "neck_dims": list(self.neck_dims)}


def _named(patch: int, dim: int, depth: int, heads: int, widths: tuple[int, int, int, int]) -> Variant:
    return MappingProxyType(Sizes(448, patch, dim, depth, heads, widths).mapping())


VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        "vit-b": _named(16, 768, 12, 12, (256, 512, 1024, 2048)),
        "vit-h": _named(14, 1280, 32, 16, (512, 1024, 2048, 4096)),
    }
)


def read_sizes(variant: Variant) -> Sizes:
    """Check a variant's mapping.

    Raises
    ------
    InputError
        For unknown or missing keys and for sizes that describe no network.
    """
    defaults = {key: field.default for key, field in Sizes.__dataclass_fields__.items()}
    optional = {key: defaults[key] for key in _NUMBERS[4:]}
    values = {"img_size": 448, "patch_size": 16, **optional, **variant}
    missing = [key for key in defaults if key not in values]
    unknown = sorted(set(values) - set(defaults))
    if unknown or missing:
        problem = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {', '.join(missing)}"
        raise InputError(f"The variant {problem}; its keys are {', '.join(defaults)}.")
    numbers = {key: whole(key, values[key]) for key in _NUMBERS}
    w4, w8, w16, w32 = wholes("neck_dims", values["neck_dims"], 4)
    sizes = Sizes(img_size=image_size(values["img_size"]), neck_dims=(w4, w8, w16, w32), **numbers)
    _check(sizes)
    return sizes


def _check(sizes: Sizes) -> None:
    if sizes.depth % 4:
        raise InputError(f"depth must be a multiple of 4 (four groups of blocks), got {sizes.depth}.")
    if sizes.embed_dim % sizes.num_heads:
        raise InputError(f"embed_dim {sizes.embed_dim} must be a multiple of num_heads {sizes.num_heads}.")
    if any(side % sizes.patch_size for side in sizes.image):
        raise InputError(f"img_size {sizes.img_size} must be a multiple of patch_size {sizes.patch_size}.")
    if sizes.decoder_dim % 32:
        raise InputError(
            f"decoder_dim must be a multiple of 32 (groups of its norms), got {sizes.decoder_dim}."
        )
    if sizes.feedforward_dim % 2:
        raise InputError(f"feedforward_dim must be even, got {sizes.feedforward_dim}.")


def label(sizes: Sizes) -> str:
    """What people call a network of these sizes."""
    for name, variant in VARIANTS.items():
        if read_sizes(variant) == sizes:
            return f"AdaptiveClick {name}"
    return (
        f"AdaptiveClick with a ViT of {sizes.depth} blocks of width {sizes.embed_dim}, "
        f"patch {sizes.patch_size}, trained at {' x '.join(map(str, sizes.image))}"
    )


def sizes_from_shapes(shapes: Shapes, hints: Mapping[str, Any]) -> Sizes | None:
    """The sizes that these keys and shapes point to; None when an essential key is missing or odd.

    Not a proof: compare the network's own shapes with what was given.

    Parameters
    ----------
    hints : ``num_heads`` and ``img_size``, or as published files name them ``NUM_HEADS`` and ``crop_size``
    """
    try:
        dim, _, patch, _ = shapes["patch_embed_coords.proj.weight"]
        depth = _count(shapes, r"backbone\.blocks\.(\d{1,3})\.")
        hidden = shapes["click_aware_decoder.transformer_ffn_layers.0.linear1.weight"][0]
        queries, decoder_dim = shapes["click_aware_decoder.query_feat.weight"]
        finest = shapes["pixel_decoder.lateral_convs.0.0.weight"][1]
        coarser = [shapes[f"pixel_decoder.input_proj.{i}.0.weight"][1] for i in (2, 1, 0)]
        size = hints.get("img_size", hints.get("crop_size"))
        return read_sizes(
            {
                "img_size": trained_size(shapes["backbone.pos_embed"][1] - 1, patch, size),
                "patch_size": patch,
                "embed_dim": dim,
                "depth": depth,
                "num_heads": heads_of(dim, depth, hints.get("num_heads", hints.get("NUM_HEADS")), VARIANTS),
                "neck_dims": [finest, *coarser],
                "decoder_dim": decoder_dim,
                "feedforward_dim": hidden,
                "encoder_layers": _count(shapes, r"pixel_decoder\.transformer\.encoder\.layers\.(\d{1,2})\."),
                "decoder_layers": _count(shapes, r"click_aware_decoder\.transformer_ffn_layers\.(\d{1,2})\."),
                "queries": queries,
            }
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # InputError is a ValueError
        return None


def _count(shapes: Shapes, numbered: str) -> int:
    """How many numbered parts there are."""
    return 1 + max(int(found[1]) for key in shapes if (found := re.match(numbered, key)))
