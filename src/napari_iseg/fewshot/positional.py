"""What position alone says of a plane: the supports' masks, interpolated to where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.base import Position, Support, distance
from napari_iseg.fewshot.interpolation import along_axis, blend, neighbours, signed_distance

Half = npt.NDArray[np.float16]
Float = npt.NDArray[np.float32]
LIMIT = 12.0  # of a score: it may be outvoted


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


def position_scores(
    outlines: Sequence[Outlines | None],
    position: Position,
    shape: tuple[int, int],
    previous: Float | None,
    count: int,
) -> Float | None:
    """What the neighbouring slices say of each pixel: (L, H, W) within +-`LIMIT`, or None.

    The neighbour's answer (L + 1, H, W) where one is given; else the interpolated signed distance, in pixels,
    the weaker the further the supports are, see `strength`.
    """
    if previous is not None:
        return odds(previous[1:])
    distances = interpolated_distances(outlines, position, shape)
    if distances is None or len(distances) != count:
        return None
    places = [o.position for o in outlines if o is not None]
    gaps = [min(distance(a, b) for b in places if b != a) for a in set(places) if len(set(places)) > 1]
    unit = float(np.median(gaps)) if gaps else 0.0
    nearest = min(distance(p, position) for p in places)
    return strength(distances, nearest / unit if unit > 0 else 1.0)


def odds(probability: Float) -> Float:
    """Logits of probabilities within +-`LIMIT`."""
    raised = np.clip(probability, 1e-3, 1 - 1e-3)
    made: Float = np.log(raised / (1 - raised)).astype(np.float32)
    return made


def strength(distances: Float, ratio: float) -> Float:
    """Signed distances as scores: a tenth of a gap from a support six times as strong as a whole gap.

    ``ratio`` is the distance to the nearest support over the gap between supports; 1 for a single one.
    """
    made: Float = np.clip(distances / (0.25 + 4 * min(ratio, 4.0)), -LIMIT, LIMIT).astype(np.float32)
    return made
