"""What is held out of groups of unequal size is near the share, whatever their order by the hash."""

from __future__ import annotations

import pytest

from napari_iseg.evaluation.splits import Key, split_items


def series(**counts: int) -> list[Key]:
    return [(f"{name}_{i:03d}", "", None) for name, count in counts.items() for i in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(8))
def test_a_long_series_is_not_held_out_where_a_short_one_fits(seed: int) -> None:
    items = series(expA=190, expB=10)
    train, held_out = split_items(items, 0.2, seed)
    assert len(train) == 190
    assert {items[i][0][:4] for i in held_out} == {"expB"}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_few_long_series_are_cut_like_volumes(seed: int, share: float) -> None:
    items = series(day1=100, day2=80)
    train, held_out = split_items(items, share, seed)
    assert len(held_out) == round(180 * share)
    for day in ("day1", "day2"):
        inside = [i for i in held_out if items[i][0].startswith(day)]
        assert inside == list(range(inside[0], inside[0] + len(inside)))
    assert min(abs(i - j) for i in train for j in held_out if items[i][0][:4] == items[j][0][:4]) > 1
    assert len(train) > 0.6 * len(items)


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_is_far_too_large_is_passed_over(seed: int) -> None:
    items = series(a=60, b=6, c=6, d=6, e=6, f=6, g=6)
    held_out = {items[i][0][0] for i in split_items(items, 0.2, seed)[1]}
    assert "a" not in held_out
    assert len(held_out) == 3


@pytest.mark.parametrize("seed", range(8))
def test_short_series_stay_whole(seed: int) -> None:
    items = series(a=2, b=2)
    train, held_out = split_items(items, 0.2, seed)
    assert (len(train), len(held_out)) == (2, 2)
    assert {items[i][0][0] for i in train}.isdisjoint(items[i][0][0] for i in held_out)
