import numpy as np
import pytest

from napari_iseg.training.clicks import ClickSampler, add_click, click_candidates


def scene():
    target, other = np.zeros((2, 60, 80), bool)
    target[10:40, 10:40] = True
    other[10:40, 45:75] = True
    return target, other


def split(clicks):
    half = len(clicks) // 2
    return [part[part[:, 0] >= 0] for part in (clicks[:half], clicks[half:])]


def test_positive_clicks_lie_on_the_object_and_negative_ones_beside_it():
    target, other = scene()
    rng = np.random.default_rng(0)
    for _ in range(50):
        positive, negative = split(ClickSampler(max_clicks=6).sample([target], other, rng))
        assert 1 <= len(positive) <= 6
        assert len(negative) <= 6
        assert all(target[int(r), int(c)] for r, c, _ in positive)
        assert not any(target[int(r), int(c)] for r, c, _ in negative)


def test_orders_are_a_permutation_from_two():
    target, other = scene()
    positive, negative = split(ClickSampler().sample([target], other, np.random.default_rng(3)))
    orders = sorted(np.concatenate([positive, negative])[:, 2])
    assert orders == list(range(2, 2 + len(orders)))


def test_numbers_of_clicks_follow_the_published_weights():
    sampler, rng = ClickSampler(max_clicks=3), np.random.default_rng(0)
    counts = np.bincount([sampler.number(3, rng) for _ in range(20000)], minlength=4) / 20000
    weights = 0.8 ** np.arange(4)
    np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.015)


def test_eroded_object_keeps_clicks_off_its_rim():
    target, _ = scene()
    rng = np.random.default_rng(1)
    sampler = ClickSampler(erode_probability=1.0)
    points = np.concatenate([split(sampler.sample([target], None, rng))[0] for _ in range(30)])
    assert points[:, :2].min() >= 13
    assert points[:, :2].max() < 37


def test_small_object_is_not_eroded_away():
    target = np.zeros((20, 20), bool)
    target[5:9, 5:9] = True
    positive, _ = split(ClickSampler(erode_probability=1.0).sample([target], None, np.random.default_rng(0)))
    assert len(positive) >= 1


def test_negative_clicks_come_from_the_published_sources():
    target, other = scene()
    rng = np.random.default_rng(2)
    points = np.concatenate([split(ClickSampler().sample([target], other, rng))[1] for _ in range(300)])
    rows, cols = points[:, 0].astype(int), points[:, 1].astype(int)
    near = (rows >= 7) & (rows < 43) & (cols >= 7) & (cols < 43)  # ceil(0.1 * 30) = 3 steps of dilation
    assert np.mean(near) == pytest.approx(0.5, abs=0.06)
    assert np.mean(other[rows, cols]) == pytest.approx(0.4 + 0.1 * 900 / 3900, abs=0.06)


def test_merged_objects_get_a_click_each():
    target, other = scene()
    for seed in range(20):
        positive, _ = split(ClickSampler().sample([target, other], None, np.random.default_rng(seed)))
        assert any(target[int(r), int(c)] for r, c, _ in positive)
        assert any(other[int(r), int(c)] for r, c, _ in positive)


def test_empty_sample_has_negative_clicks_only():
    rng = np.random.default_rng(4)
    counts = [
        [len(part) for part in split(ClickSampler().sample([], np.zeros((9, 9), bool), rng))]
        for _ in range(20)
    ]
    assert all(positive == 0 for positive, _ in counts)
    assert any(negative > 0 for _, negative in counts)


def test_object_that_fills_the_image_has_no_negative_click():
    rng = np.random.default_rng(5)
    for _ in range(20):
        assert len(split(ClickSampler().sample([np.ones((9, 9), bool)], None, rng))[1]) == 0


def test_unions_of_objects_come_at_the_published_rate():
    rng = np.random.default_rng(6)
    chosen = [ClickSampler().choose_objects(5, rng) for _ in range(4000)]
    assert np.mean([len(c) == 2 for c in chosen]) == pytest.approx(0.15, abs=0.02)
    assert all(len(set(c)) == len(c) for c in chosen)


def test_click_goes_to_the_first_free_row_or_replaces_the_last():
    clicks = np.full((4, 3), -1, np.float32)
    for i in range(3):
        add_click(clicks, i, 10 + i, True)
    add_click(clicks, 7, 7, False)
    np.testing.assert_array_equal(clicks, [[0, 10, 1], [2, 12, 3], [7, 7, 4], [-1, -1, -1]])


def test_perfect_prediction_has_no_candidate():
    target, _ = scene()
    assert len(click_candidates(np.where(target, 0.9, 0.1), target)[0]) == 0
