"""What position alone says of a plane: the supports' masks, interpolated to where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.base import Position, Support
from napari_iseg.fewshot.interpolation import along_axis, as_probability, blend, neighbours, signed_distance

Half = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Outlines:
    """The masks of one support as signed distances, for interpolation between whole planes.

    ``distances`` (L, H, W) float16, pixels, positive inside; a label that the support does not have is -inf.
    """

    position: Position
    distances: Half

    @classmethod
    def of(cls, support: Support, masks: Sequence[npt.NDArray[np.bool_]]) -> Outlines | None:
        """Those of a support with one mask per label; None where planes do not lie over each other."""
        if not support.whole or not support.position:
            return None
        return cls(support.position, np.stack([signed_distance(m) for m in masks]).astype(np.float16))

    @property
    def nbytes(self) -> int:
        """Bytes of the distances."""
        return self.distances.nbytes


def interpolated_distances(
    outlines: Sequence[Outlines | None], position: Position, shape: tuple[int, int]
) -> npt.NDArray[np.float32] | None:
    """Signed distances (L, H, W) at ``position``, or None where nothing can be interpolated."""
    usable = [o for o in outlines if o is not None and o.distances.shape[1:] == shape]
    if not usable or not position:
        return None
    places, place = along_axis([o.position for o in usable], position)
    low, high, share = neighbours(places, place)
    pairs = zip(usable[low].distances, usable[high].distances, strict=True)
    return np.stack([blend(a.astype(np.float32), b.astype(np.float32), share) for a, b in pairs])


def nearness(positions: Sequence[Position], position: Position) -> float:
    """exp(-gap / 4), the gap to the nearest support in units of the smallest gap between supports.

    1 right beside a support or where distance means nothing.
    """
    places, place = along_axis(positions, position)
    ordered = np.unique(places)
    unit = float(np.diff(ordered).min()) if len(ordered) > 1 else 0.0
    gap = min((abs(p - place) for p in places), default=0.0)
    return float(np.exp(-gap / (4 * unit))) if unit > 0 else 1.0


def positional_prior(
    outlines: Sequence[Outlines | None], position: Position, shape: tuple[int, int]
) -> npt.NDArray[np.float32] | None:
    """Interpolated probabilities (L, H, W) of the labels, or None where nothing can be interpolated."""
    distances = interpolated_distances(outlines, position, shape)
    return None if distances is None else as_probability(distances)
