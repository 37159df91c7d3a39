"""Sizes of Segment Anything's networks: named variants, key tables, and the way back from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.published import is_whole, listed, whole
from napari_iseg.errors import InputError

UNUSED: Final = re.compile(r"pixel_(mean|std)")  # constants that some files carry
MASKS = 4  # one for clear prompts and three for ambiguous ones
HEADS = 8  # of the decoder
_MASK_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class SamSizes:
    """A checked variant; field names are the mapping's keys and, where there is one, segment-anything's.

    ``global_attn_indexes`` are the blocks that attend to the whole picture, the others to windows of
    ``window_size`` tokens; ``prompt_dim`` is the width of embedding, prompts and decoder.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    img_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    prompt_dim: int = 256
    mlp_dim: int = 2048
    iou_dim: int = 256

    @property
    def grid(self) -> int:
        """Tokens a side."""
        return self.img_size // self.patch_size

    def mapping(self) -> dict[str, Any]:
        """As plain values for a card."""
        return {**asdict(self), "global_attn_indexes": list(self.global_attn_indexes)}


@dataclass(frozen=True, slots=True)
class SamConvSizes:
    """A checked variant.

    Parameters
    ----------
    img_size : side of the square, a multiple of 32; the embedding has a cell per 8 pixels
    prompt_dim : width of embedding, prompts and decoder, a multiple of 16 above 64
    mlp_dim, iou_dim : of the decoder
    """

    img_size: int = 192
    prompt_dim: int = 128
    mlp_dim: int = 256
    iou_dim: int = 128

    @property
    def grid(self) -> int:
        """Cells a side."""
        return self.img_size // 8

    def mapping(self) -> dict[str, Any]:
        """As plain values for a card."""
        return {"encoder": "conv", **asdict(self)}


def is_conv(variant: Variant) -> bool:
    """Whether a variant has the starters' encoder."""
    return variant.get("encoder") == "conv"


def read_conv_sizes(variant: Variant) -> SamConvSizes:
    """Check the mapping of a variant with the starters' encoder.

    Raises
    ------
    InputError
        For unknown keys and for sizes that describe no network.
    """
    known = [field.name for field in fields(SamConvSizes)]
    unknown = sorted(set(variant) - {"encoder", *known}, key=str)
    if unknown:
        raise InputError(f"The variant has an unknown key {unknown[0]!r}; its keys are {', '.join(known)}.")
    sizes = SamConvSizes(**{k: whole(k, v) for k, v in variant.items() if k != "encoder"})
    if sizes.img_size % 32:
        raise InputError(f"img_size must be a multiple of 32, got {sizes.img_size}.")
    if sizes.prompt_dim % (2 * HEADS) or sizes.prompt_dim <= 64:
        raise InputError(f"prompt_dim must be a multiple of {2 * HEADS} above 64, got {sizes.prompt_dim}.")
    return sizes


def _named(dim: int, depth: int, heads: int, whole_blocks: tuple[int, ...], **sizes: int) -> Variant:
    return MappingProxyType(SamSizes(dim, depth, heads, whole_blocks, **sizes).mapping())


VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        "vit-b": _named(768, 12, 12, (2, 5, 8, 11)),
        "vit-l": _named(1024, 24, 16, (5, 11, 17, 23)),
        "vit-h": _named(1280, 32, 16, (7, 15, 23, 31)),
        # Ours, for a CPU: see `napari_iseg.backends.sam_conv`.
        "starter": MappingProxyType(SamConvSizes().mapping()),
    }
)


def read_sizes(variant: Variant) -> SamSizes:
    """Check a variant's mapping.

    Raises
    ------
    InputError
        For unknown or missing keys and for sizes that describe no network.
    """
    known = [field.name for field in fields(SamSizes)]
    missing = [key for key in known[:4] if key not in variant]
    unknown = sorted(set(variant) - set(known), key=str)
    if unknown or missing:
        problem = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {', '.join(missing)}"
        raise InputError(f"The variant {problem}; its keys are {', '.join(known)}.")
    blocks = listed(variant["global_attn_indexes"])
    if blocks is None or not all(map(is_whole, blocks)):
        raise InputError(
            f"global_attn_indexes must be a list of block numbers, got {variant['global_attn_indexes']!r}."
        )
    numbers = {key: whole(key, value) for key, value in variant.items() if key != "global_attn_indexes"}
    sizes = SamSizes(global_attn_indexes=tuple(map(int, blocks)), **numbers)
    _check(sizes)
    return sizes


def _check(sizes: SamSizes) -> None:
    if sizes.embed_dim % sizes.num_heads:
        raise InputError(f"embed_dim {sizes.embed_dim} must be a multiple of num_heads {sizes.num_heads}.")
    if sizes.img_size % sizes.patch_size:
        raise InputError(f"img_size {sizes.img_size} must be a multiple of patch_size {sizes.patch_size}.")
    if sizes.prompt_dim % (2 * HEADS):
        raise InputError(f"prompt_dim must be a multiple of {2 * HEADS}, got {sizes.prompt_dim}.")
    if any(not 0 <= index < sizes.depth for index in sizes.global_attn_indexes):
        raise InputError(
            f"global_attn_indexes {list(sizes.global_attn_indexes)} must be blocks 0 to {sizes.depth - 1}."
        )


def sizes_from_shapes(shapes: Shapes) -> SamSizes | None:
    """The sizes a state dict with these shapes has; None where it is no SAM's."""
    try:
        dim, _, patch, _ = shapes["image_encoder.patch_embed.proj.weight"]
        grid = shapes["image_encoder.pos_embed"][1]
        tables: list[tuple[int, ...]] = []
        while f"image_encoder.blocks.{len(tables)}.attn.rel_pos_h" in shapes:
            tables.append(shapes[f"image_encoder.blocks.{len(tables)}.attn.rel_pos_h"])
        spans = [(length + 1) // 2 for length, _ in tables]
        windows = [span for span in spans if span != grid]
        variant = {
            "embed_dim": dim,
            "depth": len(tables),
            "num_heads": dim // tables[0][1],
            "global_attn_indexes": [index for index, span in enumerate(spans) if span == grid],
            "img_size": grid * patch,
            "patch_size": patch,
            "window_size": windows[0] if windows else 14,
            "prompt_dim": shapes["image_encoder.neck.0.weight"][0],
            "mlp_dim": shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
            "iou_dim": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        }
        return read_sizes(variant)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):  # InputError is a ValueError
        return None


def published_shapes(sizes: SamSizes) -> dict[str, tuple[int, ...]]:
    """Published key -> shape of the whole network."""
    return _encoder(sizes) | _prompts(sizes) | _decoder(sizes)


def _with_biases(weights: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """``name.weight`` and ``name.bias`` of layers; a transposed convolution (marked ``*``) counts its inputs
    first.
    """
    shapes = {}
    for name, shape in weights.items():
        plain = name.removesuffix("*")
        shapes[f"{plain}.weight"] = shape
        shapes[f"{plain}.bias"] = (shape[1] if name.endswith("*") else shape[0],)
    return shapes


def _encoder(sizes: SamSizes) -> dict[str, tuple[int, ...]]:
    d, e, patch, head = (
        sizes.embed_dim,
        sizes.prompt_dim,
        sizes.patch_size,
        sizes.embed_dim // sizes.num_heads,
    )
    layers: dict[str, tuple[int, ...]] = {"image_encoder.patch_embed.proj": (d, 3, patch, patch)}
    shapes: dict[str, tuple[int, ...]] = {"image_encoder.pos_embed": (1, sizes.grid, sizes.grid, d)}
    for i in range(sizes.depth):
        block = f"image_encoder.blocks.{i}"
        layers |= {f"{block}.norm1": (d,), f"{block}.norm2": (d,)}
        layers |= {f"{block}.attn.qkv": (3 * d, d), f"{block}.attn.proj": (d, d)}
        layers |= {f"{block}.mlp.lin1": (4 * d, d), f"{block}.mlp.lin2": (d, 4 * d)}
        span = sizes.grid if i in sizes.global_attn_indexes else sizes.window_size
        shapes |= {f"{block}.attn.rel_pos_{axis}": (2 * span - 1, head) for axis in "hw"}
    layers |= {"image_encoder.neck.1": (e,), "image_encoder.neck.3": (e,)}
    shapes |= {"image_encoder.neck.0.weight": (e, d, 1, 1), "image_encoder.neck.2.weight": (e, e, 3, 3)}
    return shapes | _with_biases(layers)


def _prompts(sizes: SamSizes) -> dict[str, tuple[int, ...]]:
    e, wide, thin = sizes.prompt_dim, _MASK_CHANNELS, _MASK_CHANNELS // 4
    shapes: dict[str, tuple[int, ...]] = {
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, e // 2)
    }
    names = [f"point_embeddings.{i}" for i in range(4)] + ["not_a_point_embed", "no_mask_embed"]
    shapes |= {f"prompt_encoder.{name}.weight": (1, e) for name in names}
    down: dict[str, tuple[int, ...]] = {
        "0": (thin, 1, 2, 2),
        "1": (thin,),
        "3": (wide, thin, 2, 2),
        "4": (wide,),
    }
    down["6"] = (e, wide, 1, 1)
    return shapes | _with_biases({f"prompt_encoder.mask_downscaling.{k}": v for k, v in down.items()})


def _decoder(sizes: SamSizes) -> dict[str, tuple[int, ...]]:
    e, mlp, iou = sizes.prompt_dim, sizes.mlp_dim, sizes.iou_dim
    layers: dict[str, tuple[int, ...]] = {}
    for i in range(2):
        layer = f"mask_decoder.transformer.layers.{i}"
        layers |= {f"{layer}.self_attn.{part}_proj": (e, e) for part in ("q", "k", "v", "out")}
        layers |= {f"{layer}.norm{number}": (e,) for number in range(1, 5)}
        layers |= {f"{layer}.mlp.lin1": (mlp, e), f"{layer}.mlp.lin2": (e, mlp)}
        layers |= _cross(f"{layer}.cross_attn_token_to_image", e)
        layers |= _cross(f"{layer}.cross_attn_image_to_token", e)
    layers |= _cross("mask_decoder.transformer.final_attn_token_to_image", e)
    layers["mask_decoder.transformer.norm_final_attn"] = (e,)
    layers["mask_decoder.output_upscaling.0*"] = (e, e // 4, 2, 2)
    layers["mask_decoder.output_upscaling.1"] = (e // 4,)
    layers["mask_decoder.output_upscaling.3*"] = (e // 4, e // 8, 2, 2)
    for mask in range(MASKS):
        head = f"mask_decoder.output_hypernetworks_mlps.{mask}.layers"
        layers |= {f"{head}.0": (e, e), f"{head}.1": (e, e), f"{head}.2": (e // 8, e)}
    head = "mask_decoder.iou_prediction_head.layers"
    layers |= {f"{head}.0": (iou, e), f"{head}.1": (iou, iou), f"{head}.2": (MASKS, iou)}
    tokens = {"mask_decoder.iou_token.weight": (1, e), "mask_decoder.mask_tokens.weight": (MASKS, e)}
    return tokens | _with_biases(layers)


def _cross(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Attention between tokens and picture, at half width."""
    into = {f"{name}.{part}_proj": (width // 2, width) for part in ("q", "k", "v")}
    return {**into, f"{name}.out_proj": (width, width // 2)}
