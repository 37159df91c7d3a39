"""MST's vision transformer (arXiv 2401.04403): plain blocks over middle tokens, some of which first take in
what the best small and large tokens know. State-dict names are the published ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor, nn

from napari_iseg.errors import InputError
from napari_iseg.nn.derived import Derived
from napari_iseg.nn.exact import added
from napari_iseg.nn.mst_score import CrossAttention, ScoreBlock, ScoreRules, Selection
from napari_iseg.nn.mst_tokens import FlexiPatchEmbed, Grid, position_tables
from napari_iseg.nn.plain_vit import Block, Mlp

_FUSE_HEADS = 2


class TakesIn(nn.Module):
    """The scoring part of a block, under the published names: middle tokens take in small and large ones."""

    rules: ScoreRules

    def add_scoring(self, dim: int, rules: ScoreRules) -> None:
        """Add the layers, after the constructor of the rest."""
        self.rules = rules
        self.score = ScoreBlock(dim, rules)
        self.norm3, self.norm4, self.norm6, self.norm7 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(4))
        self.score_cross_attn = CrossAttention(dim, rules.heads)
        self.score_l_s = CrossAttention(dim, _FUSE_HEADS)
        self.gamma = nn.Parameter(torch.full((1, 1, dim), float(rules.gamma_start)))
        if rules.scaled:
            self.gamma2 = nn.Parameter(torch.full((1, 1, dim), float(rules.gamma_start)))
        if rules.score_mlp:
            self.norm5 = nn.LayerNorm(dim, eps=1e-6)
            self.score_mlp = Mlp(dim, 4 * dim)

    def take_in(
        self, base: Tensor, small: Tensor, large: Tensor, cells: Tensor, grid: Grid, places: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Selection, Selection]]:
        """Middle, small and large tokens after the scoring part, and what was chosen.

        Parameters
        ----------
        base, small, large : (B, N, C) tokens, N differs
        cells : (B, P) index of the middle token under each positive click, -1 for none
        grid : (rows, cols) of the middle tokens
        places : positions of the small and of the large tokens, (1, N, C) each
        """
        context = self.score.context(base, grid)
        small = self.score.refresh(small, context, "s")
        large = self.score.refresh(large, context, "l")
        kernel = self.score.kernel(base, cells)
        clicked = (cells >= 0).any(1)
        fine = self.score.select(small, kernel, clicked, places[0])
        coarse = self.score.select(large, kernel, clicked, places[1])
        fused = fine.tokens + self.gamma * self.score_l_s(self.norm6(fine.tokens), self.norm7(coarse.tokens))
        taken = self.score_cross_attn(self.norm3(base), self.norm4(fused))
        base = base + (self.gamma2 * taken if self.rules.scaled else taken)
        if self.rules.score_mlp:
            base = base + self.score_mlp(self.norm5(base))
        if self.rules.loss_fused:
            fine = Selection(fine.kernel, fine.scores, fine.index, fused)
        return base, small, large, (fine, coarse)


class ScoringBlock(TakesIn, Block):
    """An ordinary block that before takes in the kept small and large tokens."""

    def __init__(self, dim: int, heads: int, rules: ScoreRules) -> None:
        super().__init__(dim, heads)
        self.add_scoring(dim, rules)


class MstVit(nn.Module):
    """Tokens of patch / 2, patch and 2 * patch pixels; every block attends over all middle tokens.

    Parameters
    ----------
    img_size : (rows, cols) in pixels that the position embedding was trained for
    patch : side of a middle patch in pixels, even
    dim, depth, heads : width, number of blocks, attention heads
    scoring : 0-based numbers of the blocks that score
    rules : how they do it
    """

    def __init__(
        self,
        img_size: tuple[int, int],
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        scoring: Collection[int],
        rules: ScoreRules,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.least = 2 * patch * max(1, rules.reduce // 2)
        self.trained_grid = (img_size[0] // patch, img_size[1] // patch)
        # Row 0 belongs to a class token that segmentation never uses; published files carry it.
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.trained_grid[0] * self.trained_grid[1], dim))
        self.patch_embed = FlexiPatchEmbed(3, dim, patch)
        self.blocks = nn.ModuleList(
            ScoringBlock(dim, heads, rules) if i in scoring else Block(dim, heads) for i in range(depth)
        )
        self._tables = Derived(most=12)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def grid(self, height: int, width: int) -> Grid:
        """Middle tokens (rows, cols) of an input of that many pixels.

        Raises
        ------
        InputError
            When a side is no multiple of the large patch, or too short for the reducing convolution.
        """
        step = 2 * self.patch
        for side, name in ((height, "rows"), (width, "columns")):
            if side % step or side < self.least:
                below = side // step * step
                fitting = [n for n in (below, below + step) if n >= self.least] or [self.least]
                raise InputError(
                    f"This network cannot take an input of {side} {name}; use "
                    f"{' or '.join(map(str, fitting))}."
                )
        return height // self.patch, width // self.patch

    def positions(self, grid: Grid) -> list[Tensor]:
        """Position tables of the middle, small and large tokens for a middle grid; kept per size."""
        rows, cols = grid
        grids = {"middle": grid, "small": (2 * rows, 2 * cols), "large": (rows // 2, cols // 2)}
        return [
            self._tables.get(
                (name, grid),
                self.pos_embed,
                lambda table, own=own: position_tables(table, self.trained_grid, grid, [own])[0],  # type: ignore[misc]
            )
            for name, own in grids.items()
        ]

    def prepare(self, height: int, width: int) -> None:
        """Make the position tables of an input size and the resampled kernels, once."""
        self.positions(self.grid(height, width))
        for patch in (self.patch // 2, 2 * self.patch):
            self.patch_embed.kernel(patch)

    def forward(
        self, image: Tensor, extra: Tensor, cells: Tensor
    ) -> tuple[Tensor, list[tuple[Selection, Selection]]]:
        """Features of an image, and what each scoring block chose of the small and the large tokens.

        Parameters
        ----------
        image : (B, 3, H, W), normalised
        extra : (B, N, dim) tokens to add to the middle ones, raster order
        cells : (B, P) index of the middle token under each positive click, -1 for none

        Returns
        -------
        (B, dim, H/patch, W/patch), channels last in memory; and one pair per scoring block
        """
        grid = self.grid(image.shape[-2], image.shape[-1])
        middle, *places = self.positions(grid)
        # Added to the new tensors in place, as in `Block`.
        tokens = added(added(self.patch_embed(image), extra), middle)
        small = added(self.patch_embed.at(image, self.patch // 2), places[0])
        large = added(self.patch_embed.at(image, 2 * self.patch), places[1])
        chosen = []
        for block in self.blocks:
            if isinstance(block, ScoringBlock):
                tokens, small, large, pair = block.take_in(tokens, small, large, cells, grid, places)
                chosen.append(pair)
            tokens = cast("Tensor", block(tokens))
        features = tokens.view(tokens.shape[0], *grid, -1).permute(0, 3, 1, 2)
        return features, chosen


def click_cells(clicks: Tensor, grid: Grid, patch: int) -> Tensor:
    """The middle token under each positive click: (B, N) whole numbers, -1 for unused rows.

    Parameters
    ----------
    clicks : (B, 2N, 3), rows (row, col, order), N positive then N negative, in pixels
    """
    positive = clicks[:, : clicks.shape[1] // 2, :2]
    last = positive.new_tensor([grid[0] - 1, grid[1] - 1])
    cell = torch.minimum((positive / patch).floor().clamp(min=0), last).long()
    index = cell[..., 0] * grid[1] + cell[..., 1]
    return index.masked_fill(positive.amax(-1) < 0, -1)


def within(clicks: Tensor, height: int, width: int) -> Tensor:
    """Clicks (B, 2N, 3) with those outside the window made unused rows (-1), as in MST's evaluation."""
    rows, cols = clicks[..., 0], clicks[..., 1]
    # A mirrored click may lie up to a pixel before the edge, and one there still belongs to the window.
    outside = (rows <= -1) | (cols <= -1) | (rows >= height) | (cols >= width)
    return clicks.masked_fill(outside[..., None], -1)
