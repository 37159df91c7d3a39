"""SUEM compositing against pictures made by the published code from the same draws."""

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.training.suem import suem

GOLDEN = Path(__file__).parent / "data" / "cfr_icl_suem.npz"
CASES = [
    "none",
    "simple_a1",
    "simple_a065",
    "exclusion",
    "union",
    "occlude_blend_a08",
    "mix_a07",
    "simple_union_mix",
]


class Script:
    """Uniform draws from a list, one fixed choice of mode."""

    def __init__(self, uniforms, mode):
        self.uniforms, self.mode = list(uniforms), int(mode)

    def random(self):
        return self.uniforms.pop(0)

    def integers(self, high):
        assert high == 3
        return self.mode


@pytest.mark.parametrize("case", CASES)
def test_composite_is_the_published_one(case):
    with np.load(GOLDEN) as data:
        golden = dict(data)
    extra = golden["extra_image"], golden["extra_mask"] > 0
    script = Script(golden[f"{case}/rand"], golden[f"{case}/choice"])
    image, mask = suem(golden["source_image"], golden["source_mask"] > 0, lambda: extra, script)
    assert not script.uniforms, "every published draw is used"
    np.testing.assert_array_equal(mask, golden[f"{case}/mask"] > 0)
    assert np.abs(image.astype(int) - golden[f"{case}/image"]).max() <= 1
