"""Sizes of AdaptiveClick's networks: named variants and the way back from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import whole
from napari_iseg.backends.vit_sizes import TrunkSizes, check_trunk, checked_values, count, trunk_of
from napari_iseg.errors import InputError

# In every published file, never used by a forward: parts of the pre-training, a constant of the loss, and
# the lateral and output convolution once more under their first names (the later ones win, as published).
UNUSED: Final = re.compile(
    r"backbone\.(cls_token|fc_norm\.(weight|bias)|head\.(weight|bias))|criterion\.empty_weight"
    r"|pixel_decoder\.(adapter_1|layer_1)\.[01]\.(weight|bias)"
)
_NUMBERS: Final = (
    "decoder_dim",
    "feedforward_dim",
    "encoder_layers",
    "decoder_layers",
    "queries",
)


@dataclass(frozen=True, slots=True)
class Sizes(TrunkSizes):
    """A checked variant; field names are the mapping's keys.

    ``feedforward_dim`` is the decoder's, the encoder has half of it. ``decoder_layers`` does
    not count the prediction before the first layer (published configurations, which do, say 10).
    """

    decoder_dim: int = 256
    feedforward_dim: int = 2048
    encoder_layers: int = 4
    decoder_layers: int = 9
    queries: int = 10


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
    fields = Sizes.__dataclass_fields__
    values = checked_values(variant, fields, {key: fields[key].default for key in _NUMBERS})
    sizes = Sizes(**values | {key: whole(key, values[key]) for key in _NUMBERS})
    check_trunk(sizes)
    if sizes.decoder_dim % 32:
        raise InputError(
            f"decoder_dim must be a multiple of 32 (groups of its norms), got {sizes.decoder_dim}."
        )
    if sizes.feedforward_dim % 2:
        raise InputError(f"feedforward_dim must be even, got {sizes.feedforward_dim}.")
    return sizes


def sizes_from_shapes(shapes: Shapes, hints: Mapping[str, Any]) -> Sizes | None:
    """The sizes that these keys and shapes point to; None when an essential key is missing or odd.

    Not a proof: compare the network's own shapes with what was given.

    Parameters
    ----------
    hints : ``num_heads`` and ``img_size``
    """
    try:
        queries, decoder_dim = shapes["click_aware_decoder.query_feat.weight"]
        hidden = shapes["click_aware_decoder.transformer_ffn_layers.0.linear1.weight"][0]
        finest = shapes["pixel_decoder.lateral_convs.0.0.weight"][1]
        return read_sizes(
            {
                **trunk_of(shapes, hints.get("img_size"), hints.get("num_heads"), VARIANTS),
                "neck_dims": [
                    finest,
                    *(shapes[f"pixel_decoder.input_proj.{i}.0.weight"][1] for i in (2, 1, 0)),
                ],
                "decoder_dim": decoder_dim,
                "feedforward_dim": hidden,
                "encoder_layers": count(shapes, r"pixel_decoder\.transformer\.encoder\.layers\.(\d{1,2})\."),
                "decoder_layers": count(shapes, r"click_aware_decoder\.transformer_ffn_layers\.(\d{1,2})\."),
                "queries": queries,
            }
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # InputError is a ValueError
        return None
