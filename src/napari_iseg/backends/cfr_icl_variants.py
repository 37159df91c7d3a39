"""Sizes of the plain-ViT click models: named variants, key tables, and the way back from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import whole
from napari_iseg.backends.vit_sizes import TrunkSizes, check_trunk, checked_values, trunk_of
from napari_iseg.errors import InputError
from napari_iseg.nn.fpn import UPSAMPLE

# In every published file, never used by a segmentation forward (up_conv: where the head does not upsample).
UNUSED: Final = re.compile(
    r"backbone\.(cls_token|fc_norm\.(weight|bias)|head\.(weight|bias))|head\.up_conv[12]\.[0-3]\.(weight|bias)"
)


@dataclass(frozen=True, slots=True)
class VitSizes(TrunkSizes):
    """A checked variant; field names are the mapping's keys."""

    upsample: str = "x1"
    head_channels: int = 256


def _named(patch: int, dim: int, depth: int, heads: int, widths: tuple[int, int, int, int]) -> Variant:
    sizes = VitSizes(448, patch, dim, depth, heads, widths)
    return MappingProxyType(sizes.mapping())


VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        "vit-b": _named(16, 768, 12, 12, (128, 256, 512, 1024)),
        "vit-l": _named(16, 1024, 24, 16, (192, 384, 768, 1536)),
        "vit-h": _named(14, 1280, 32, 16, (240, 480, 960, 1920)),
        "vit-xtiny": _named(16, 160, 8, 4, (96, 192, 288, 384)),
    }
)


def read_sizes(variant: Variant) -> VitSizes:
    """Check a variant's mapping.

    Raises
    ------
    InputError
        For unknown or missing keys and for sizes that describe no network.
    """
    values = checked_values(variant, VitSizes.__dataclass_fields__, {"upsample": "x1"})
    if values["upsample"] not in list(UPSAMPLE):  # which compares; a dictionary would want it to be hashable
        raise InputError(f"upsample must be one of {', '.join(UPSAMPLE)}, got {values['upsample']!r}.")
    values.setdefault("head_channels", 256 // UPSAMPLE[values["upsample"]])
    values["head_channels"] = whole("head_channels", values["head_channels"])
    sizes = VitSizes(**values)
    check_trunk(sizes)
    return sizes


def published_shapes(sizes: VitSizes) -> dict[str, tuple[int, ...]]:
    """Published key -> shape of everything the network uses; the entries of `UNUSED` are left out."""
    d, patch = sizes.embed_dim, sizes.patch_size
    tokens = (sizes.image[0] // patch) * (sizes.image[1] // patch)
    weights: dict[str, tuple[int, ...]] = {
        "patch_embed_coords.proj": (d, 3, patch, patch),
        "backbone.patch_embed.proj": (d, 3, patch, patch),
    }
    for i in range(sizes.depth):
        block = f"backbone.blocks.{i}"
        weights |= {f"{block}.norm1": (d,), f"{block}.norm2": (d,)}
        weights |= {f"{block}.attn.qkv": (3 * d, d), f"{block}.attn.proj": (d, d)}
        weights |= {f"{block}.mlp.fc1": (4 * d, d), f"{block}.mlp.fc2": (d, 4 * d)}
    weights |= _pyramid_shapes(sizes) | _head_shapes(sizes)
    shapes: dict[str, tuple[int, ...]] = {"backbone.pos_embed": (1, 1 + tokens, d)}
    for name, shape in weights.items():
        shapes[f"{name}.weight"] = shape
        # A transposed convolution keeps its inputs first; it is the only 2x2 kernel but down_32.0.
        transposed = len(shape) == 4 and shape[2] == 2 and name != "neck.down_32.0"
        shapes[f"{name}.bias"] = (shape[1] if transposed else shape[0],)
    return shapes


def _pyramid_shapes(sizes: VitSizes) -> dict[str, tuple[int, ...]]:
    d, (w4, w8, w16, w32) = sizes.embed_dim, sizes.neck_dims
    first, middle, last = max(2 * w4, d // 2), max(w8, d // 2), max(w32, 2 * d)
    half = first // 2
    table: dict[str, tuple[int, ...]] = {
        "0": (d, first, 2, 2),
        "1": (first,),
        "3": (first, half, 2, 2),
        "4": (half,),
    }
    table |= {"5": (w4, half, 1, 1), "6": (w4,)}
    shapes = {f"neck.down_4.{k}": v for k, v in table.items()}
    shapes |= {"neck.down_8.0": (d, middle, 2, 2), "neck.down_8.1": (middle,)}
    shapes |= {"neck.down_8.2": (w8, middle, 1, 1), "neck.down_8.3": (w8,)}
    shapes |= {"neck.down_16.0": (w16, d, 1, 1), "neck.down_16.1": (w16,)}
    shapes |= {"neck.down_32.0": (last, d, 2, 2), "neck.down_32.1": (last,)}
    return shapes | {"neck.down_32.2": (w32, last, 1, 1), "neck.down_32.3": (w32,)}


def _head_shapes(sizes: VitSizes) -> dict[str, tuple[int, ...]]:
    factor = UPSAMPLE[sizes.upsample]
    outer = sizes.head_channels * factor
    shapes: dict[str, tuple[int, ...]] = {
        f"head.convs.{i}.conv": (outer, w, 1, 1) for i, w in enumerate(sizes.neck_dims)
    }
    shapes["head.fusion_conv.conv"] = (outer, 4 * outer, 1, 1)
    for name, wide in (("up_conv1", outer), ("up_conv2", outer // 2))[: {1: 0, 2: 1, 4: 2}[factor]]:
        half = wide // 2
        shapes[f"head.{name}.0"] = (wide, half, 2, 2)
        shapes |= {f"head.{name}.1": (half,), f"head.{name}.2": (half, half, 1, 1), f"head.{name}.3": (half,)}
    return shapes | {"head.conv_seg": (1, sizes.head_channels, 1, 1)}


def sizes_from_shapes(shapes: Shapes, hints: Mapping[str, Any]) -> VitSizes | None:
    """The sizes that these keys and shapes point to; None when an essential key is missing or odd.

    Not a proof: compare `published_shapes` of the answer with what was given.
    """
    try:
        outer = shapes["head.fusion_conv.conv.weight"][0]
        channels = shapes["head.conv_seg.weight"][1]
        return read_sizes(
            {
                **trunk_of(shapes, hints.get("img_size"), hints.get("num_heads"), VARIANTS),
                "neck_dims": [shapes[f"head.convs.{i}.conv.weight"][1] for i in range(4)],
                "upsample": {factor: name for name, factor in UPSAMPLE.items()}[outer // channels],
                "head_channels": channels,
            }
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # InputError is a ValueError
        return None
