"""IS5Net as a method: variants, checkpoints of 3, 4, 5 and 8 channels, inputs, and models ready to refine."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.edge_input import box_of_mask, mask_levels, read_answer
from napari_iseg.backends.edge_model import EdgeModel, EdgeOptions
from napari_iseg.backends.is5net import widened
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError
from napari_iseg.prompts import Box
from napari_iseg.weights.store import Store, load_click_model, load_edge_model, load_model

WIDTH = 0.0625
NARROW = {"in_channels": 5, "width": WIDTH}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return EdgeModel(
        ModelCard("tiny", "is5net", NARROW), backends.build("is5net", NARROW), device="cpu"
    ).with_options(size=64)


@pytest.fixture
def window():
    rng = np.random.default_rng(0)
    mask = np.zeros((50, 70), bool)
    mask[10:40, 20:55] = True
    return rng.random((50, 70, 3), np.float32), mask


def state_of(channels, width=1.0):
    with torch.device("meta"):
        net = backends.build("is5net", {"in_channels": channels, "width": width})
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.mark.parametrize(
    ("channels", "words"), [(3, "image alone"), (4, "image, mask"), (5, "mask, box"), (8, "8 input channels")]
)
def test_checkpoints_are_recognised_by_their_channels(channels, words):
    found = backends.recognise(state_of(channels))
    assert found.backend == "is5net"
    assert found.variant == {"in_channels": channels, "width": 1.0}
    assert words in found.label


def test_narrow_networks_and_other_files_are_told_apart():
    assert "0.25 of the published width" in backends.recognise(state_of(5, 0.25)).label
    wrong = {**state_of(5), "side1.bias": (2,)}
    assert backends.recognise(wrong) is None
    label, differing = backends.differences(wrong)
    assert label.startswith("IS5Net")
    assert differing == ["side1.bias is 2 instead of 1"]


def test_roles_say_what_networks_are_for():
    assert backends.role("is5net") == "edges"
    assert backends.role("is5net-gt-encoder") == "training"
    assert backends.role("cfr-icl") == "click"
    with pytest.raises(InputError, match="takes no clicks"):
        backends.get_click("is5net")
    code = "import sys; from napari_iseg import backends as b; b.role('is5net')"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_answers_six_probability_maps_of_any_size():
    net = backends.build("is5net", NARROW).eval()
    with torch.inference_mode():
        maps = net(torch.rand(2, 3, 50, 71), torch.rand(2, 1, 50, 71), torch.rand(2, 1, 50, 71))
        truth = backends.build("is5net-gt-encoder", {"width": WIDTH}).eval()(torch.rand(1, 1, 50, 71))
    assert len(maps) == len(truth) == 6
    assert all(one.shape == (2, 1, 50, 71) for one in maps)
    assert all(one.min() >= 0 and one.max() <= 1 for one in (*maps, *truth))


@pytest.mark.parametrize("channels", [3, 4])
def test_networks_without_box_or_mask_take_less(channels):
    net = backends.build("is5net", {"in_channels": channels, "width": WIDTH}).eval()
    image, mask, box = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(net(image, mask)[0], net(image, mask, box)[0])


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({"in_channels": 6}, "3, 4, 5, 8"),
        ({"width": 0.01}, "1/16 to 4"),
        ({"depth": 3}, "unknown key 'depth'"),
    ],
)
def test_variants_that_describe_no_network_are_refused(variant, words):
    with pytest.raises(InputError, match=words):
        backends.build("is5net", variant)
    with pytest.raises(ModelNotFoundError, match="narrow"):
        backends.build("is5net", "narow")


def test_inputs_that_do_not_fit_are_refused():
    net = backends.build("is5net", NARROW)
    image, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    with pytest.raises(InputError, match="box map must be"):
        net(image, mask)
    with pytest.raises(InputError, match="coarse mask must be"):
        net(image, mask[..., :9], mask)
    with pytest.raises(InputError, match=r"\(B, 3, H, W\)"):
        net(image[0], mask, mask)
    with pytest.raises(InputError, match="never published"):
        backends.build("is5net", {"in_channels": 8, "width": WIDTH})(image, mask, mask)


def test_three_channel_files_widen_on_request_and_answer_the_same():
    plain = backends.build("is5net", {"in_channels": 3, "width": WIDTH}).eval()
    net = backends.build("is5net", NARROW).eval()
    state = {key: value for key, value in plain.state_dict().items() if "num_batches" not in key}
    with pytest.raises(CheckpointError, match=r"conv_in.weight is 4 x 3 x 3 x 3 instead of 4 x 5 x 3 x 3"):
        net.load_published(state)
    net.load_published(state, widen=True)
    image, rest = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(net(image, rest, rest)[0], plain(image)[0])
    with pytest.raises(CheckpointError, match="cannot be cut to 3"):
        widened(net.conv_in.weight, 3)


def test_masks_in_all_usual_forms_are_the_same(model, window):
    image, mask = window
    answers = [
        model.probability(image, m) for m in (mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255)
    ]
    assert answers[0].shape == mask.shape
    assert answers[0].dtype == np.float32
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_both_preparations_are_close_but_not_the_same(model, window):
    image, mask = window
    ours = model.probability(image, mask)
    demo = model.with_options(preparation="demo").probability(image, mask)
    assert not np.array_equal(ours, demo)
    np.testing.assert_allclose(demo, ours, atol=0.1)
    binary = model.with_options(preparation="demo", cut="otsu").probability(image, mask)
    assert set(np.unique(binary)) == {0.0, 1.0}


def test_a_drawn_box_changes_the_answer(model, window):
    image, mask = window
    drawn = model.probability(image, mask, Box(5, 5, 45, 65))
    assert not np.array_equal(drawn, model.probability(image, mask))
    model.probability(image, np.zeros_like(mask), Box(5, 5, 45, 65))  # a box alone is enough


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_a_constant_map_is_not_stretched(level):
    flat = torch.full((1, 1, 8, 8), level)
    np.testing.assert_array_equal(
        read_answer(flat, (20, 30), "otsu"), np.full((20, 30), level > 0.5, np.float32)
    )


def test_the_published_box_is_open_at_its_end():
    levels = np.zeros((6, 6), np.float32)
    levels[1, 1] = levels[4, 4] = 255
    drawn = box_of_mask(levels)
    assert drawn[1:4, 1:4].min() == 255
    assert drawn[4, 4] == 255
    assert drawn.sum() == 10 * 255


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((50, 70), bool), "empty"),
        (np.full((50, 70), 300.0), "from 300 to 300"),
        (np.full((50, 70), -1.0), "from -1 to -1"),
        (np.full((50, 70), np.nan), "nan"),
        (np.zeros((50, 70, 1), bool), "rows, columns"),
        (np.ones((40, 70), bool), "like the mask"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(model, window, mask, words):
    with pytest.raises(InputError, match=words):
        model.probability(window[0], mask)


def test_boxes_outside_the_window_are_refused(model, window):
    with pytest.raises(InputError, match="outside the window"):
        model.probability(*window, Box(60, 5, 80, 20))


def test_levels_keep_probabilities():
    np.testing.assert_allclose(mask_levels(np.array([[0.0, 0.5, 1.0]])), [[0, 127.5, 255]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, "cut, preparation, size, smooth, threshold"),
        ({"preparation": "paper"}, "'data-set', 'demo' or 'contrast'"),
        ({"size": 100}, "multiple of 32"),
        ({"threshold": 1.0}, "between 0 and 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        EdgeOptions().with_options(**options)


def test_files_are_imported_and_loaded_for_what_they_are(tmp_path):
    from napari_iseg.weights.importer import import_file

    torch.manual_seed(1)
    net = backends.build("is5net", NARROW)
    path = tmp_path / "my_is5net.pth"
    torch.save(net.state_dict(), path)
    store = Store(tmp_path / "home", shipped=tmp_path / "none")
    card = import_file(path, store)
    assert (card.backend, dict(card.variant)) == ("is5net", NARROW)
    assert set(card.prompts) == {"mask", "box"}
    loaded = load_model("my_is5net", device="cpu", store=store)
    assert isinstance(loaded, EdgeModel)
    assert isinstance(load_edge_model(path, device="cpu"), EdgeModel)
    with pytest.raises(InputError, match="takes no clicks"):
        load_click_model("my_is5net", device="cpu", store=store)
    encoder = tmp_path / "gt.pth"
    torch.save(backends.build("is5net-gt-encoder", {"width": WIDTH}).state_dict(), encoder)
    with pytest.raises(InputError, match="only helps to train"):
        load_model(encoder)
