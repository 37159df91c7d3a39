"""MST's three token sets: one patch embedding resampled to half and twice its patch, and their positions.

Resampling is FlexiViT's (Beyer et al., CVPR 2023): a linear map of the kernel alone, so it is done once per
loaded model and not per forward. Key names are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.derived import Derived
from napari_iseg.nn.exact import exact
from napari_iseg.nn.fused import linear
from napari_iseg.nn.plain_vit import PatchEmbed

Grid = tuple[int, int]


def resampling(old: int, new: int) -> Tensor:
    """The matrix that turns a flat ``old x old`` kernel into a ``new x new`` one: (new * new, old * old).

    The pseudo-inverse of how an image is resized (bicubic, antialiased), so that a resized patch gives the
    same token as before, as far as possible. Float32, as published.
    """
    pixels = torch.eye(old * old, dtype=torch.float32).view(-1, 1, old, old)
    resized = F.interpolate(pixels, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    matrix: Tensor = torch.linalg.pinv(resized.flatten(1))
    return matrix


class FlexiPatchEmbed(PatchEmbed):
    """A patch embedding that also takes patches of other sizes than its own, by a resampled kernel."""

    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__(channels, dim, patch)
        self._kernels = Derived()
        self._matrices: dict[int, Tensor] = {}

    def kernel(self, patch: int) -> Tensor:
        """(dim, channels, patch, patch); made once per weights and patch where nothing learns."""
        if patch == self.patch:
            return self.proj.weight
        return self._kernels.get(patch, self.proj.weight, lambda weight: self._resampled(weight, patch))

    def at(self, x: Tensor, patch: int) -> Tensor:
        """(B, channels, H, W) -> (B, H/patch * W/patch, dim), raster order."""
        batch, channels, height, width = x.shape
        cells = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
        rows = cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)
        bias = self.proj.bias
        assert bias is not None  # a plain Conv2d has one; for the type checker
        return linear(rows, self.kernel(patch).flatten(1), bias)

    def _resampled(self, weight: Tensor, patch: int) -> Tensor:
        matrix = self._matrices.get(patch)
        if matrix is None:
            with torch.inference_mode(False), torch.no_grad(), exact(weight):
                matrix = resampling(self.patch, patch)
            self._matrices = {**self._matrices, patch: matrix}
        with exact(weight):
            return (weight.flatten(2) @ matrix.to(weight).T).view(*weight.shape[:2], patch, patch)


def resized_positions(table: Tensor, old: Grid, new: Grid, *, antialias: bool) -> Tensor:
    """(1, rows * cols, dim) on grid ``old`` -> the same on grid ``new``, bicubic; as it is on an equal grid.

    Antialiasing changes the result also when the grid grows: torch's antialiased cubic has another sharpness.
    """
    if old == new:
        return table
    maps = table.transpose(1, 2).reshape(1, -1, *old)
    maps = F.interpolate(maps, size=new, mode="bicubic", antialias=antialias, align_corners=False)
    return maps.flatten(2).transpose(1, 2)


def position_tables(pos_embed: Tensor, trained: Grid, base: Grid, grids: Sequence[Grid]) -> list[Tensor]:
    """Positions of each grid, each (1, rows * cols, dim).

    Parameters
    ----------
    pos_embed : (1, 1 + rows * cols, dim) of the ``trained`` grid; the first row is a class token's, unused
    base : grid of the middle token set; the trained table is first resized to it without antialias, then
        from there to ``grids`` with it, as published
    """
    # Copied: a view of the parameter, kept, would keep networks from being copied.
    middle = resized_positions(pos_embed[:, 1:].clone(), trained, base, antialias=False)
    return [resized_positions(middle, base, grid, antialias=True) for grid in grids]
