"""The window rule that a model's inference settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_iseg.errors import InputError
from napari_iseg.interactive.merging import Merging, PartMerging, ReachMerging, WholeMerging
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.zoom import WholeArea, WindowRule, ZoomIn

if TYPE_CHECKING:
    from napari_iseg.backends.base import Inference


def window_rule(inference: Inference) -> WindowRule:
    """The rule of ``inference.window``; raises InputError for an unknown one."""
    if inference.window == "zoom-in":
        return ZoomIn(
            expand=inference.zoom_expand,
            min_side=inference.zoom_min_side,
            keep_iou=inference.zoom_keep_iou,
            threshold=inference.zoom_threshold,
        )
    if inference.window == "scale-search":
        return ScaleSearch(
            sides=inference.search_sides,
            expand=inference.zoom_expand,
            min_side=inference.zoom_min_side,
            keep_iou=inference.zoom_keep_iou,
            threshold=inference.threshold,
            widen=inference.search_widen,
            merging=merging_rule(inference),
            flip=inference.search_flip,
            fine=inference.search_fine,
            usual=max(inference.size),
        )
    if inference.window == "whole":
        return WholeArea()
    raise InputError(f"Unknown window rule {inference.window!r}; use 'zoom-in', 'scale-search' or 'whole'.")


def merging_rule(inference: Inference) -> Merging:
    """How later answers of the window rule "scale-search" are merged."""
    if inference.search_settled > 0:
        return PartMerging(inference.threshold, inference.search_settled)
    if inference.search_reach > 0:
        return ReachMerging(inference.threshold, inference.search_reach, inference.search_elsewhere)
    return WholeMerging()
