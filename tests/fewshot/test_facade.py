"""iseg.FewShot with the shipped training-free profile, an untrained IFSENet and baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_shot_scenes import blobs, iou, tiny_model

import napari_iseg as iseg
from napari_iseg.errors import InputError, ModelNotFoundError
from napari_iseg.fewshot.base import FewShotModel
from napari_iseg.fewshot.models import list_fewshot, load_fewshot
from napari_iseg.prompts import Click


@pytest.fixture(scope="module")
def free() -> FewShotModel:
    return load_fewshot("training-free", device="cpu")  # type: ignore[return-value]


@pytest.fixture(params=["free", "learned"])
def model(request: pytest.FixtureRequest, free: FewShotModel) -> FewShotModel:
    return free if request.param == "free" else tiny_model()


def test_one_annotated_image_is_enough_for_a_like_one(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, labels = blobs()
    fewshot.add_support(image, mask=labels == 1)
    other, truth = blobs(shift=20)
    result = fewshot.segment(other)
    assert iou(result.mask == 1, truth == 1) > 0.85
    assert result.trust > 0.6


def test_two_labels_stay_apart(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, labels = blobs(second=True)
    fewshot.add_support(image, mask=labels)
    other, truth = blobs(shift=12, second=True)
    result = fewshot.segment(other)
    assert result.labels == (1, 2)
    assert iou(result.mask == 1, truth == 1) > 0.7
    assert iou(result.mask == 2, truth == 2) > 0.6
    assert np.allclose(result.probability.sum(0), 1, atol=1e-5)


def test_clicks_alone_find_the_object_in_another_image(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, _ = blobs()
    fewshot.add_support(image, clicks=[(35, 34, True), (30, 28, True), (80, 80, False), (10, 70, False)])
    other, truth = blobs(shift=20)
    assert iou(fewshot.segment(other).mask == 1, truth == 1) > 0.6


def test_a_query_that_is_a_support_gets_the_supports_mask(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    image, labels = blobs(second=True)
    fewshot.add_support(image, mask=labels)
    result = fewshot.segment(image.copy())
    assert np.array_equal(result.mask, labels)
    assert result.trust == 1


def test_clicks_are_never_contradicted_on_their_own_image(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    image, _ = blobs()
    key = fewshot.add_support(image, clicks=[(70, 70, True), (35, 34, False), (0, 0, False)])
    mask = fewshot.segment_support(key).mask
    assert mask[70, 70] == 1
    assert mask[35, 34] == 0
    assert mask[0, 0] == 0


def test_painted_pixels_stay_and_unpainted_ones_are_not_background(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    image, labels = blobs()
    partly = np.full(labels.shape, -1, np.int32)
    partly[30:40, 30:40], partly[80:, 80:] = 1, 0
    key = fewshot.add_support(image, mask=partly)
    mask = fewshot.segment_support(key).mask
    assert (mask[30:40, 30:40] == 1).all()
    assert (mask[80:, 80:] == 0).all()
    assert fewshot.segment(blobs(shift=20)[0]).mask.shape == labels.shape


@pytest.mark.parametrize("kind", ["constant", "nan", "infinite", "black"])
def test_strange_images_give_finite_answers(model: FewShotModel, kind: str) -> None:
    fewshot = iseg.FewShot(model)
    image, labels = blobs()
    fewshot.add_support(image, mask=labels)
    strange = image.copy()
    if kind == "constant":
        strange[:] = 0.5
    elif kind == "nan":
        strange[10:50] = np.nan
    elif kind == "infinite":
        strange[10:50] = np.inf
    else:
        strange[:] = 0
    result = fewshot.segment(strange)
    assert np.isfinite(result.probability).all()
    assert np.isfinite(result.trust)


def test_a_constant_support_is_no_reason_to_fail(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    _, labels = blobs()
    fewshot.add_support(np.full((96, 96, 3), 0.5, np.float32), mask=labels)
    assert np.isfinite(fewshot.segment(blobs()[0]).probability).all()


def test_an_object_at_the_border_and_an_odd_size(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    image, labels = blobs()
    fewshot.add_support(image[20:71, 20:], mask=labels[20:71, 20:])
    result = fewshot.segment(blobs(shift=20)[0][:77, 5:])
    assert result.mask.shape == (77, 91)


def test_without_a_support_one_sentence(model: FewShotModel) -> None:
    with pytest.raises(InputError, match="no support"):
        iseg.FewShot(model).segment(blobs()[0])


def test_only_negative_clicks_are_refused_with_the_fix(model: FewShotModel) -> None:
    fewshot = iseg.FewShot(model)
    fewshot.add_support(blobs()[0], clicks=[(3, 3, False)])
    with pytest.raises(InputError, match="positive click"):
        fewshot.segment(blobs(shift=4)[0])


def test_an_empty_support_beside_a_good_one_does_no_harm(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, labels = blobs()
    fewshot.add_support(image, mask=labels)
    fewshot.add_support(blobs(shift=3)[0] * 0 + 0.35, mask=np.zeros((96, 96), np.int32), accepted=True)
    other, truth = blobs(shift=20)
    assert iou(fewshot.segment(other).mask == 1, truth == 1) > 0.7


def test_a_label_that_is_taken_away_is_no_longer_found(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, labels = blobs(second=True)
    key = fewshot.add_support(image, mask=labels)
    other = blobs(shift=10, second=True)[0]
    assert 2 in np.unique(fewshot.segment(other).mask)
    before = fewshot.supports[0].version
    fewshot.add_support(image, mask=np.where(labels == 2, 0, labels), key=key)
    assert fewshot.supports[0].version > before
    assert set(np.unique(fewshot.segment(other).mask)) <= {0, 1}
    fewshot.remove_support(key)
    with pytest.raises(InputError, match="no support"):
        fewshot.segment(other)


def test_grey_and_16_bit_images_are_taken(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free)
    image, labels = blobs()
    grey = (image[..., 0] * 4000).astype(np.uint16)
    fewshot.add_support(grey, mask=labels)
    other, truth = blobs(shift=20)
    assert iou(fewshot.segment((other[..., 0] * 4000).astype(np.uint16)).mask == 1, truth == 1) > 0.8


def test_features_are_encoded_once_and_within_the_limit(free: FewShotModel) -> None:
    fewshot = iseg.FewShot(free, cache_bytes=2 * 2**20)
    image, labels = blobs()
    fewshot.add_support(image, mask=labels)
    for shift in (20, 20, 20, 4, 8, 12, 16):
        fewshot.segment(blobs(shift)[0])
    assert fewshot.cache.hits >= 2
    assert fewshot.cache.nbytes <= fewshot.cache.limit


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "needs a mask or clicks"),
        ({"clicks": 5}, "clicks are a list, as [(row, col, True), ...], got 5"),
        ({"clicks": Click(3, 3)}, "clicks are a list"),
        ({"mask": np.zeros((5, 5), np.int32)}, "(5, 5)"),
        ({"mask": np.zeros((96, 96), np.float32)}, "float32"),
        ({"clicks": [(200, 3, True)]}, "outside"),
        ({"clicks": [(0, 3, 3, True)]}, "at least 1"),
        ({"clicks": [(2**31, 3, 3, True)]}, "at most 2147483647"),
        ({"clicks": [(3, 3, True)], "label": 2**31}, "at most 2147483647"),
        ({"mask": np.ones((96, 96), bool), "label": 0}, "at least 1"),
        ({"mask": np.full((96, 96), 2**32 + 1, np.uint64)}, "The mask holds the id 4294967297"),
        ({"mask": np.full((96, 96), 2**31 + 5, np.uint32)}, "The mask holds the id 2147483653"),
    ],
)
def test_bad_supports_are_refused(arguments: dict[str, object], named: str) -> None:
    fewshot = iseg.FewShot("copy-nearest")
    with pytest.raises(InputError) as refused:
        fewshot.add_support(blobs()[0], **arguments)  # type: ignore[arg-type]
    assert named in str(refused.value)


def test_a_stack_is_sent_to_propagate() -> None:
    with pytest.raises(InputError, match=r"iseg\.propagate"):
        iseg.FewShot("copy-nearest").add_support(
            np.zeros((4, 20, 20), np.uint8), mask=np.zeros((20, 20), np.int32)
        )


def test_models_are_found_by_name() -> None:
    assert {"training-free", "copy-nearest", "interpolation", "two-stage"} <= set(list_fewshot())
    with pytest.raises(ModelNotFoundError, match="interpolation"):
        load_fewshot("interpolaton")
    with pytest.raises(InputError, match="no few-shot model"):
        load_fewshot("cfr-icl-starter", device="cpu")
    with pytest.raises(InputError, match="takes no clicks by itself"):
        load_fewshot("two-stage:is5net-starter", device="cpu")


def test_two_stage_takes_the_click_models_mask_for_the_truth() -> None:
    fewshot = iseg.FewShot("two-stage", device="cpu")
    image, labels = blobs()
    key = fewshot.add_support(image, clicks=[(35, 34, True)])
    own = fewshot.segment_support(key)
    assert own.trust == 1  # that is the shortcut: it is believed
    assert iou(own.mask == 1, labels == 1) > 0.8


@pytest.mark.parametrize("given", [None, 3, iseg.Session, {"name": "x"}])
def test_what_is_no_few_shot_model_is_refused(given: object, tmp_path: Path) -> None:
    for use in (
        iseg.FewShot,
        lambda model: iseg.propagate(np.zeros((3, 9, 9)), None, tmp_path / "a.zarr", model),
    ):
        with pytest.raises(InputError, match="few-shot model or the name of one is needed"):
            use(given)


@pytest.mark.parametrize(
    ("size", "words"), [(-1, "cache_bytes"), (1.5, "cache_bytes"), ("much", "not understood")]
)
def test_a_cache_is_as_large_as_is_said(size: Any, words: str) -> None:
    assert iseg.FewShot("copy-nearest", cache_bytes="2 GB").cache.limit == 2 * 10**9
    with pytest.raises(InputError, match=words):
        iseg.FewShot("copy-nearest", cache_bytes=size)


def test_an_unknown_option_of_images_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="Unknown option 'chanel_axis'; of an image there are rgb, "):
        iseg.FewShot("copy-nearest", chanel_axis=0)


@pytest.mark.parametrize("point", [(3, 4), 3, "abc", ("x", 4, True), (1, (3, 4)), (1, Click(3, 4))], ids=repr)
def test_a_click_of_another_form_is_refused(point: Any) -> None:
    with pytest.raises(InputError, match=r"is a Click, \(row, col, positive\) or"):
        iseg.FewShot("copy-nearest").add_support(blobs()[0], clicks=[point])


def test_a_click_as_a_session_gives_it_is_taken() -> None:
    fewshot = iseg.FewShot("copy-nearest")
    fewshot.add_support(blobs()[0], clicks=[Click(35, 34), (4, 10, 12, False)], label=3)
    assert fewshot.supports[0].clicks == ((3, Click(35, 34)), (4, Click(10, 12, False)))


@pytest.mark.parametrize("position", ["x", None, [1, 2], (1, "x"), float("nan")], ids=repr)
def test_a_position_is_a_number_or_several(position: Any) -> None:
    fewshot = iseg.FewShot("copy-nearest")
    image, labels = blobs()
    with pytest.raises(InputError, match="A position is a number"):
        fewshot.add_support(image, mask=labels, position=position)
    fewshot.add_support(image, mask=labels, position=(0, 2.5))
    with pytest.raises(InputError, match="A position is a number"):
        fewshot.segment(image, position=position)


def test_a_model_may_be_given_by_its_path() -> None:
    assert iseg.FewShot(Path("copy-nearest")).model is None
