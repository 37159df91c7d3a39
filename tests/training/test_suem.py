import numpy as np

from napari_iseg.training.suem import suem


class Never:
    def random(self):
        return 0.99

    def integers(self, high):
        raise AssertionError("no stage runs")


class SecondStage:
    """Runs the second stage only, in exclusion mode."""

    def __init__(self):
        self.draws = iter([0.9, 0.1, 0.9])

    def random(self):
        return next(self.draws)

    def integers(self, high):
        return 0


def picture(value):
    image = np.full((30, 30, 3), value, np.uint8)
    mask = np.zeros((30, 30), bool)
    mask[5:20, 5:20] = True
    return image, mask


def test_nothing_drawn_leaves_the_sample_as_it_is():
    image, mask = picture(50)
    new_image, new_mask = suem(image, mask, lambda: picture(200), Never())
    assert (new_image == image).all()
    assert (new_mask == mask).all()


def test_extra_object_that_would_hide_the_target_is_tried_five_times_only():
    asked = []

    def extra():
        asked.append(1)
        return picture(200)

    image, mask = picture(50)
    new_image, new_mask = suem(image, mask, extra, SecondStage())
    assert len(asked) == 5
    assert (new_image == image).all()
    assert (new_mask == mask).all()


def aside():
    """Another picture whose object hides less than half of ours."""
    image, mask = picture(200)
    return image, np.roll(mask, 8, 1)


def test_inputs_are_not_changed_and_a_numpy_generator_will_do():
    image, mask = picture(50)
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(40):
        new_image, _ = suem(image, mask, aside, rng)
        changed += not (new_image == image).all()
    assert (image == 50).all()
    assert mask.sum() == 225
    assert changed > 25  # each of three stages runs every second time: 7 of 8 samples change
