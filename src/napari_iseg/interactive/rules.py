"""The window rule that a model's inference settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_iseg.errors import InputError
from napari_iseg.interactive.merging import PartMerging
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
        settled = inference.search_settled
        return ScaleSearch(
            sides=inference.search_sides,
            expand=inference.zoom_expand,
            min_side=inference.zoom_min_side,
            keep_iou=inference.zoom_keep_iou,
            threshold=inference.threshold,
            widen=inference.search_widen,
            merging=PartMerging(inference.threshold, settled) if settled > 0 else None,
            flip=inference.search_flip,
            fine=inference.search_fine,
            twice=inference.search_twice,
            coarse=inference.search_coarse,
            stability=inference.search_stability,
            rethink=inference.search_rethink,
            usual=max(inference.size),
        )
    if inference.window == "whole":
        return WholeArea()
    raise InputError(f"Unknown window rule {inference.window!r}; use 'zoom-in', 'scale-search' or 'whole'.")
