"""``segment --refine-edges``: each mask is made exact before it is committed."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile


class WiderRefiner:
    """Takes a row more above and below."""

    size, threshold = 256, 0.5

    def probability(self, image, mask, box=None):
        return (mask | np.roll(mask, 1, 0) | np.roll(mask, -1, 0)).astype(np.float32)


@pytest.fixture
def wider(monkeypatch):
    asked = []

    def load(name, **options):
        asked.append((name, options["device"]))
        return WiderRefiner()

    monkeypatch.setattr("napari_iseg.weights.store.load_edge_model", load)
    return asked


def test_masks_are_refined_before_they_are_written(run, bright, wider, squares_file, tmp_path):
    out = tmp_path / "mask.tif"
    asked = ["segment", squares_file, "--click", "30,40", "-o", out, "--json", "--device", "cpu"]
    plain = run(*asked)
    assert plain.code == 0, plain.err
    refined = run(*asked, "--refine-edges", "some-refiner", "--overwrite")
    assert refined.code == 0, refined.err
    (before,), (after,) = plain.json["objects"], refined.json["objects"]
    assert after["box"] == [before["box"][0] - 1, before["box"][1], before["box"][2] + 1, before["box"][3]]
    assert np.count_nonzero(tifffile.imread(out)) == after["area"]
    assert refined.json["refine_edges"] == "some-refiner"
    assert wider == [("some-refiner", "cpu")]


def test_a_model_for_clicks_is_refused_as_refiner(run, bright, squares_file, tmp_path):
    out = tmp_path / "mask.tif"
    ended = run("segment", squares_file, "--click", "30,40", "-o", out, "--refine-edges", "cfr-icl-starter")
    assert ended.code == 2
    assert "does not refine edges" in ended.err
    assert not out.exists()
