"""The plain vision transformer of SimpleClick and CFR-ICL: windowed blocks, the last of a group global.

Windows never move and nothing depends on positions after the first layer, so tokens are put into window order
once, stay in it through windowed and global blocks alike (attention does not care about the order of its
tokens), and are put back into raster order once, at the end. State-dict names are the published ones.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.errors import InputError
from napari_iseg.nn.derived import Derived
from napari_iseg.nn.exact import added
from napari_iseg.nn.fused import Linear, PatchConv

WINDOW_PIXELS = 224  # windows are 224 // patch tokens wide: the input of the pre-training
LEAST_TOKENS = 2  # of a side: the coarsest map of the pyramid behind it has half as many
_CACHED_SIZES = 4  # position tables kept; a table is as small as one activation


class PatchEmbed(nn.Module):
    """Patches to tokens: a convolution with kernel = stride = patch, computed as one matrix product."""

    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = PatchConv(channels, dim, patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, H/patch * W/patch, dim), raster order."""
        return self.proj.tokens(x)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of a row of the batch, scale head_dim ** -0.5."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, count, dim = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, dim))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        out: Tensor = self.fc2(self.fc1(x, gelu=True))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        # Added to the new tensor in place: one allocation and one pass over memory less.
        mixed = added(self.attn(self.norm1(x)), x)
        return added(self.mlp(self.norm2(mixed)), mixed)


def to_windows(tokens: Tensor, grid: tuple[int, int], windows: tuple[int, int]) -> Tensor:
    """(B, rows * cols, C) in raster order -> (B * windows, tokens per window, C), both in raster order."""
    (rows, cols), (down, across) = grid, windows
    cut = tokens.view(-1, down, rows // down, across, cols // across, tokens.shape[-1])
    return cut.transpose(2, 3).reshape(-1, (rows // down) * (cols // across), tokens.shape[-1])


def from_windows(tokens: Tensor, grid: tuple[int, int], windows: tuple[int, int]) -> Tensor:
    """Undo `to_windows`: (B, rows * cols, C) in raster order, from any split of the batch in window order."""
    (rows, cols), (down, across) = grid, windows
    cut = tokens.reshape(-1, down, across, rows // down, cols // across, tokens.shape[-1])
    return cut.transpose(2, 3).reshape(-1, rows * cols, tokens.shape[-1])


class PlainVit(nn.Module):
    """Patches and position embedding, then ``depth`` blocks in groups whose last block attends globally.

    Parameters
    ----------
    img_size : (rows, cols) in pixels that the position embedding was trained for
    patch : side of a patch in pixels
    dim, depth, heads : width, number of blocks (a multiple of 4), attention heads
    """

    def __init__(self, img_size: tuple[int, int], patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patch = patch
        self.trained_grid = (img_size[0] // patch, img_size[1] // patch)
        self.group = 6 if depth == 12 else depth // 4
        # Row 0 belongs to a class token that segmentation never uses; published files carry it.
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.trained_grid[0] * self.trained_grid[1], dim))
        self.patch_embed = PatchEmbed(3, dim, patch)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self._tables = Derived(_CACHED_SIZES)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens (rows, cols) of an input of that many pixels.

        Raises
        ------
        InputError
            When a side is no whole number of patches, of which it needs two, or its tokens do not split
            evenly into windows.
        """
        for side, name in ((height, "rows"), (width, "columns")):
            if not self._fits(side):
                fitting = " or ".join(map(str, self._nearest(side)))
                raise InputError(f"This network cannot take an input of {side} {name}; use {fitting}.")
        return height // self.patch, width // self.patch

    def windows(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Windows (down, across) of a grid of tokens: as many of 224 pixels as fit."""
        side = max(1, WINDOW_PIXELS // self.patch)
        return max(1, grid[0] // side), max(1, grid[1] // side)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, rows * cols, dim) position table, bicubic from the trained grid if it differs; cached."""
        if grid == self.trained_grid:
            table: Tensor = self.pos_embed[:, 1:]
            return table
        return self._tables.get(grid, self.pos_embed, partial(self._resized, grid))

    def forward(self, image: Tensor, extra: Tensor | None = None) -> Tensor:
        """Features of an image.

        Parameters
        ----------
        image : (B, 3, H, W), normalised
        extra : (B, H/patch * W/patch, dim) tokens to add to the patches, raster order

        Returns
        -------
        (B, dim, H/patch, W/patch), channels last in memory
        """
        grid = self.grid(image.shape[-2], image.shape[-1])
        windows = self.windows(grid)
        tokens = self.patch_embed(image)
        if extra is not None:
            tokens = tokens + extra
        tokens = to_windows(tokens + self.positions(grid), grid, windows)
        batch, whole, dim = image.shape[0], grid[0] * grid[1], tokens.shape[-1]
        part = whole // (windows[0] * windows[1])
        for i, block in enumerate(self.blocks):
            is_global = (i + 1) % self.group == 0
            tokens = block(tokens.view(batch, whole, dim) if is_global else tokens.view(-1, part, dim))
        tokens = from_windows(tokens, grid, windows)
        return tokens.view(batch, *grid, dim).permute(0, 3, 1, 2)

    def _resized(self, grid: tuple[int, int], table: Tensor) -> Tensor:
        rows, cols = self.trained_grid
        table = table[:, 1:].transpose(1, 2).reshape(1, -1, rows, cols)
        table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return table.flatten(2).transpose(1, 2)

    def _fits(self, side: int) -> bool:
        tokens, rest = divmod(side, self.patch)
        return rest == 0 and tokens >= LEAST_TOKENS and tokens % self.windows((tokens, tokens))[0] == 0

    def _nearest(self, side: int) -> list[int]:
        """The next side that fits below and above."""
        below = next((n for n in range(side - side % self.patch, 0, -self.patch) if self._fits(n)), None)
        start = max(side - side % self.patch, 0) + self.patch
        above = next(n for n in range(start, start + WINDOW_PIXELS * self.patch, self.patch) if self._fits(n))
        return [n for n in (below, above) if n is not None]
