"""A support's own mask, made from its clicks, lies only where its image has values."""

from __future__ import annotations

import numpy as np
import pytest
from few_shot_scenes import blobs

import napari_iseg as iseg
from napari_iseg.errors import InputError


def test_a_support_is_not_labelled_where_it_has_no_value() -> None:
    image, _ = blobs()
    given = image.astype(np.float32)
    given[:, 36:] = np.nan
    fewshot = iseg.FewShot("training-free", device="cpu")
    key = fewshot.add_support(given, clicks=[(35, 34, True), (80, 5, False)])
    found = fewshot.segment_support(key)
    assert found.mask[35, 34] == 1
    assert not found.mask[:, 36:].any()
    assert (found.probability[0, :, 36:] == 1).all()
    fewshot.add_support(image, clicks=[(35, 34, True), (80, 5, False)], key=key)
    assert (fewshot.segment_support(key).probability[0, :, 36:] < 1).any()
    fewshot.remove_support(key)
    assert not fewshot.supports


def test_clicks_where_the_image_has_no_value_teach_nothing() -> None:
    image, _ = blobs()
    given = image.astype(np.float32)
    given[:, 36:] = np.nan
    fewshot = iseg.FewShot("training-free", device="cpu")
    key = fewshot.add_support(given, clicks=[(35, 34, True), (80, 5, False), (35, 60, True)])
    assert [(click.row, click.col) for _, click in fewshot.supports[0].clicks] == [(35, 34), (80, 5)]
    painted = np.where(np.isnan(given).all(-1), 1, -1)
    for arguments in ({"clicks": [(35, 60, True)]}, {"mask": painted}):
        with pytest.raises(InputError, match="lie where the image has no values"):
            fewshot.add_support(given, key=key, **arguments)
    assert len(fewshot.supports[0].clicks) == 2
