"""Sizes of MST's click models: the published branches, key tables, and the way back from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from napari_iseg.backends.base import Shapes, Variant
from napari_iseg.backends.cfr_icl_variants import VitSizes
from napari_iseg.backends.cfr_icl_variants import published_shapes as plain_shapes
from napari_iseg.backends.published import is_whole, listed, whole
from napari_iseg.backends.vit_sizes import checked_values, trunk_of
from napari_iseg.errors import InputError
from napari_iseg.nn.mst_score import ScoreRules

QUALITY_WIDTH: Final = 64
_SCORING: Final = re.compile(r"backbone\.blocks\.(\d{1,3})\.score\.norm1\.weight")

_MAIN = ScoreRules(4, 1, 1, 4, 4, 1.0, True, False, 16, True, True, False, dropout=0.01)
_448 = ScoreRules(6, 4, 4, 4, 8, 0.0, False, True, 8, True, True, False, dropout=0.01)
_1024 = ScoreRules(8, 4, 1, 4, 8, 0.0, False, True, 8, False, False, True)
_224 = ScoreRules(8, 4, 1, 1, 8, 0.0, False, True, 8, False, False, True)
_LARGE = ScoreRules(8, 4, 1, 4, 8, 0.0, True, False, 8, False, False, True)

# How each published branch scores ...
RULES: Final[Mapping[str, ScoreRules]] = MappingProxyType(
    {
        "main": _MAIN,
        "mst-448": _448,
        "mst-224": _224,
        "mst-224-6s": _224,
        "mst-224-large": _LARGE,
        "mst-1024": _1024,
    }
)
# ... and in which blocks: every n-th, counted from 0 or (last = True) so that the n-th is the first.
_EVERY: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        "main": (4, True),
        "mst-448": (4, True),
        "mst-224": (4, False),
        "mst-224-6s": (2, False),
        "mst-224-large": (8, False),
        "mst-1024": (4, False),
    }
)


def scoring_blocks(branch: str, depth: int) -> tuple[int, ...]:
    """0-based numbers of the scoring blocks of a published branch."""
    every, last = _EVERY[branch]
    if branch == "main" and depth != 12:
        every = 8
    return tuple(range(every - 1 if last else 0, depth, every))


@dataclass(frozen=True, slots=True)
class MstSizes(VitSizes):
    """A checked variant; field names are the mapping's keys, those of the plain click model and:

    Parameters
    ----------
    branch : of the authors' repository; decides how tokens are scored
    scoring : 0-based numbers of the blocks that score; default: the branch's
    quality : whether the network also predicts how good its mask is; ours, in the starter
    """

    branch: str = "main"
    scoring: tuple[int, ...] = ()
    quality: bool = False

    @property
    def rules(self) -> ScoreRules:
        """How the branch scores."""
        return RULES[self.branch]


def read_sizes(variant: Variant) -> MstSizes:
    """Check a variant's mapping.

    Raises
    ------
    InputError
        For unknown or missing keys and for sizes that describe no network.
    """
    branch = variant.get("branch", "main")
    if branch not in list(RULES):  # which compares; a dictionary would want it to be hashable
        raise InputError(f"branch must be one of {', '.join(RULES)}, got {branch!r}.")
    trained = 224 if "224" in branch else 1024 if "1024" in branch else 448
    defaults = {"img_size": trained, "upsample": "x1", "head_channels": 256, "branch": branch}
    values = checked_values(variant, MstSizes.__dataclass_fields__, {**defaults, "quality": False})
    if values["upsample"] != "x1":
        raise InputError(f"upsample can only be 'x1' in MST, got {values['upsample']!r}.")
    values["head_channels"] = whole("head_channels", values["head_channels"])
    values["scoring"] = _scoring(values.get("scoring"), branch, values["depth"])
    values["quality"] = bool(values["quality"])
    sizes = MstSizes(**values)
    _check(sizes)
    return sizes


def _scoring(value: Any, branch: str, depth: int) -> tuple[int, ...]:
    if value is None:
        return scoring_blocks(branch, depth)
    blocks = listed(value)
    if blocks is None or not all(is_whole(block) and 0 <= block < depth for block in blocks):
        raise InputError(f"scoring must be numbers of blocks from 0 to {depth - 1}, got {value!r}.")
    return tuple(sorted({int(block) for block in blocks}))


def _check(sizes: MstSizes) -> None:
    rules = sizes.rules
    for heads, name in (
        (sizes.num_heads, "num_heads"),
        (rules.refresh_heads, f"the heads of {sizes.branch}'s token refresh"),
        (rules.heads, f"the heads of {sizes.branch}'s score attention"),
    ):
        if sizes.embed_dim % heads:
            raise InputError(f"embed_dim {sizes.embed_dim} must be a multiple of {name}, {heads}.")
    if sizes.patch_size % 2:
        raise InputError(f"patch_size must be even, got {sizes.patch_size}: small tokens have half of it.")
    if any(side % (2 * sizes.patch_size) for side in sizes.image):
        raise InputError(f"img_size {sizes.img_size} must be a multiple of twice patch_size.")


def _named(branch: str, img: int, dim: int, depth: int, heads: int, widths: Sequence[int]) -> Variant:
    values = {"img_size": img, "embed_dim": dim, "depth": depth, "num_heads": heads, "neck_dims": [*widths]}
    return MappingProxyType(read_sizes({**values, "branch": branch}).mapping())


# The sizes in each branch's training script; a published 1024 file's own configuration goes before.
VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        "main": _named("main", 448, 768, 12, 12, (128, 256, 512, 1024)),
        "mst-448": _named("mst-448", 448, 768, 12, 12, (128, 256, 512, 1024)),
        "mst-224": _named("mst-224", 224, 768, 12, 12, (256, 256, 256, 256)),
        "mst-224-6s": _named("mst-224-6s", 224, 768, 12, 12, (256, 256, 256, 256)),
        "mst-224-large": _named("mst-224-large", 224, 1024, 24, 16, (192, 384, 768, 1536)),
        "mst-1024": _named("mst-1024", 1024, 768, 12, 12, (256, 256, 256, 256)),
    }
)


def published_shapes(sizes: MstSizes) -> dict[str, tuple[int, ...]]:
    """Published key -> shape of everything the network uses; the entries of `UNUSED` are left out."""
    shapes = plain_shapes(sizes)
    for i in sizes.scoring:
        shapes |= _block_shapes(f"backbone.blocks.{i}", sizes.embed_dim, sizes.rules)
    if sizes.quality:
        shapes |= {
            "quality.0.weight": (QUALITY_WIDTH, 3 * sizes.embed_dim),
            "quality.0.bias": (QUALITY_WIDTH,),
        }
        shapes |= {"quality.2.weight": (1, QUALITY_WIDTH), "quality.2.bias": (1,)}
    return shapes


def _block_shapes(block: str, d: int, rules: ScoreRules) -> dict[str, tuple[int, ...]]:
    attn, reduce = f"{block}.score.cross_attn", rules.reduce
    weights: dict[str, tuple[int, ...]] = {f"{block}.score.norm{i}": (d,) for i in (1, 2, 3)}
    for expert in ("expert_s", "expert_l"):
        weights[f"{attn}.proj.{expert}.0"] = (rules.expert_ratio * d, d)
        weights[f"{attn}.proj.{expert}.2"] = (d, rules.expert_ratio * d)
    if reduce > 1:
        weights |= {f"{attn}.sr": (d, d, reduce, reduce), f"{attn}.norm": (d,)}
    weights[f"{block}.score.cross_mlp.fc1"] = (rules.refresh_ratio * d, d)
    weights[f"{block}.score.cross_mlp.fc2"] = (d, rules.refresh_ratio * d)
    weights |= {f"{block}.norm{i}": (d,) for i in ((3, 4, 5, 6, 7) if rules.score_mlp else (3, 4, 6, 7))}
    weights |= {f"{block}.score_cross_attn.proj": (d, d), f"{block}.score_l_s.proj": (d, d)}
    if rules.score_mlp:
        weights |= {f"{block}.score_mlp.fc1": (4 * d, d), f"{block}.score_mlp.fc2": (d, 4 * d)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in weights.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in (attn, f"{block}.score_cross_attn", f"{block}.score_l_s"):
        shapes |= {f"{name}.q.weight": (d, d), f"{name}.kv.weight": (2 * d, d)}
    shapes[f"{block}.gamma"] = (1, 1, d)
    return shapes | ({f"{block}.gamma2": (1, 1, d)} if rules.scaled else {})


def sizes_from_shapes(shapes: Shapes, hints: Mapping[str, Any]) -> MstSizes | None:
    """The sizes that these keys and shapes point to; None when an essential key is missing or odd.

    Not a proof: compare `published_shapes` of the answer with what was given. The branches' head counts are
    in no shape and follow from the branch.
    """
    try:
        trunk = trunk_of(shapes, hints.get("img_size"), hints.get("num_heads"), VARIANTS)
        scoring = sorted(int(m[1]) for key in shapes if (m := _SCORING.fullmatch(key)))
        return read_sizes(
            {
                **trunk,
                "neck_dims": [shapes[f"head.convs.{i}.conv.weight"][1] for i in range(4)],
                "head_channels": shapes["head.conv_seg.weight"][1],
                "branch": _branch(shapes, scoring, trunk["embed_dim"], trunk["depth"]),
                "scoring": scoring,
                "quality": "quality.0.weight" in shapes,
            }
        )
    except (KeyError, IndexError, ValueError):  # InputError is a ValueError
        return None


def _branch(shapes: Shapes, scoring: Sequence[int], dim: int, depth: int) -> str:
    """The branch whose scoring blocks have these keys; they differ in what they contain, not in its names."""
    block = f"backbone.blocks.{scoring[0]}"
    hidden = shapes[f"{block}.score.cross_attn.proj.expert_s.0.weight"][0]
    refresh = shapes[f"{block}.score.cross_mlp.fc1.weight"][0]
    if f"{block}.score.cross_attn.sr.weight" not in shapes:
        return "mst-224-6s" if tuple(scoring) == scoring_blocks("mst-224-6s", depth) else "mst-224"
    if f"{block}.gamma2" in shapes:
        return "main" if hidden == dim else "mst-224-large"
    return "mst-448" if refresh == 4 * dim else "mst-1024"
