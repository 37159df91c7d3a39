"""DIS metrics on data sets: first stage against refined, degenerate masks, the command line."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.cli import main
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.evaluation.dis import COLUMNS, BoxedMask, DegradedTruth, DisReport, dis_table, evaluate_dis
from napari_iseg.evaluation.dis_metrics import boundary_iou, dis_scores, inner_band, mask_iou
from napari_iseg.evaluation.dis_verdict import verdict_table, verdicts
from napari_iseg.evaluation.hce import human_correction_efforts


class BrightRefiner:
    """What is bright is object."""

    size, threshold = 256, 0.5
    card = ModelCard("bright-edges", "is5net", "narrow")

    def __init__(self, blind=False):
        self.blind = blind
        self.boxes = []

    def probability(self, image, mask, box=None):
        self.boxes.append(box)
        return image[..., 0] * (not self.blind)


@pytest.fixture
def data(tmp_path):
    labels = np.zeros((80, 90), np.uint16)
    labels[20:60, 20:30] = 1
    labels[22:60:6, 30:70] = 1
    labels[23:60:6, 30:70] = 1
    for part, pixels in (("images", (labels * 255).astype(np.uint8)), ("labels", labels)):
        (tmp_path / "set" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / part / "comb.png")
    return tmp_path / "set"


def test_a_refiner_that_sees_the_object_beats_the_coarse_mask(data):
    coarse, fine = evaluate_dis(DegradedTruth(1), open_dataset(data), BrightRefiner(), refiner_name="bright")
    before, after = coarse.values(), fine.values()
    assert set(before) == set(COLUMNS)
    assert after["bIoU"] == after["IoU"] == 1 > before["bIoU"]
    assert after["HCE"] == 0 < before["HCE"]
    assert after["MAE"] == 0 < before["MAE"]
    assert "degraded truth + bright" in dis_table([coarse, fine])


def test_where_refinement_gives_up_the_coarse_mask_counts(data):
    coarse, fine = evaluate_dis(
        DegradedTruth(1), open_dataset(data), BrightRefiner(blind=True), with_hce=False
    )
    assert fine.failures == 1
    assert fine.values()["bIoU"] == coarse.values()["bIoU"]
    assert np.isnan(fine.values()["HCE"])


class BoxMethod:
    """Fills the box."""

    name, threshold = "fill", 0.5

    def start(self, image):
        self.shape = image.shape[:2]

    def box(self, box):
        found = np.zeros(self.shape, np.float32)
        found[int(box.row0) : int(box.row1), int(box.col0) : int(box.col1)] = 1
        return found


@pytest.mark.parametrize("boxed", [True, False])
def test_refinement_is_given_the_box_where_one_was_drawn(data, boxed):
    refiner = BrightRefiner()
    first = BoxedMask(BoxMethod()) if boxed else DegradedTruth(1)
    coarse, fine = evaluate_dis(first, open_dataset(data), refiner)
    assert [box is not None for box in refiner.boxes] == [boxed] * len(refiner.boxes)
    assert fine.values()["bIoU"] == 1 > coarse.values()["bIoU"]


def test_empty_and_full_truths_have_their_published_values():
    empty, full = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    prediction = np.full((20, 30), 0.25)
    prediction[5:10] = 0.75
    on_empty, on_full = dis_scores(prediction, empty), dis_scores(prediction, full)
    assert on_empty.s_measure == pytest.approx(1 - 0.25, abs=0.01)  # the map is stretched to 0 and 1
    assert on_full.s_measure == pytest.approx(0.25, abs=0.01)
    assert on_empty.weighted_f == 0
    assert dis_scores(empty, empty).iou == 1
    assert dis_scores(full, full).mae == 0


def test_what_is_nearly_nothing_is_no_mask():
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    assert dis_scores(truth * 0.005, truth, with_hce=False).iou == 0  # its grey levels are 0 and 1


def test_grey_levels_probabilities_and_masks_agree():
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 50), bool)
    truth[10:30, 10:40] = True
    levels = np.clip(truth * 200 + rng.integers(0, 50, truth.shape), 0, 255).astype(np.uint8)
    from_levels, from_floats = (
        dis_scores(levels, truth),
        dis_scores(levels / 255, truth.astype(np.uint8) * 255),
    )
    np.testing.assert_allclose(from_levels.f_curve, from_floats.f_curve)
    assert from_levels.s_measure == pytest.approx(from_floats.s_measure)
    assert dis_scores(truth, truth).hce == 0
    with pytest.raises(InputError, match="alike"):
        dis_scores(levels[:9], truth)


def test_masks_of_any_kind_have_the_same_scores():
    truth = np.zeros((30, 40), bool)
    truth[5:20, 5:30] = True
    found = np.roll(truth, 2, 1)
    ways = (
        lambda m: m,
        lambda m: m * np.uint8(255),
        lambda m: m.astype(np.uint8),
        lambda m: m.astype(np.float32),
    )
    scores = [dis_scores(one(found), other(truth), with_hce=False) for one in ways for other in ways]
    assert {(score.iou, score.boundary_iou, score.mae) for score in scores} == {
        (mask_iou(found, truth), boundary_iou(found, truth), scores[0].mae)
    }
    for score in (mask_iou, boundary_iou):
        assert len({score(one(found), other(truth)) for one in ways for other in ways}) == 1
        assert score(truth, ways[1](truth)) == 1 > score(found, truth)


@pytest.mark.parametrize("score", [mask_iou, boundary_iou, dis_scores])
@pytest.mark.parametrize(
    ("picture", "named"),
    [
        (np.full((9, 9), np.nan), "got float64 from nan"),
        (np.full((9, 9), 1.5), "got float64 from 1.5 to 1.5"),
        (np.full((9, 9), -3), "got int64 from -3"),
        (np.full((9, 9), 300), "to 300; scale it"),
        (np.full((9, 9), "a"), "values of type"),
        (np.ones((1, 9)), "alike"),
    ],
)
def test_what_is_no_mask_is_refused_by_all_scores(score, picture, named):
    mask = np.ones((9, 9), bool)
    for pair in ((picture, mask), (mask, picture)):
        with pytest.raises(InputError, match=named):
            score(*pair)


def test_boundary_iou_sees_what_iou_does_not():
    truth = np.zeros((200, 200), bool)
    truth[40:160, 40:160] = True
    wavy = truth.copy()
    wavy[40:43, 40:160:2] = False
    assert boundary_iou(wavy, truth) < (wavy & truth).sum() / (wavy | truth).sum()
    band = inner_band(np.ones((50, 50), bool), 3)
    assert band[0, 0]
    assert not band[25, 25]
    assert band.sum() == 50 * 50 - 44 * 44


def test_corrections_grow_with_what_is_wrong():
    truth = np.zeros((120, 120), bool)
    truth[20:100, 20:100] = True
    one, two = truth.copy(), truth.copy()
    one[50:75, 80:100] = False
    two[50:75, 80:100] = two[20:45, 20:50] = False
    efforts = [human_correction_efforts(mask, truth).total for mask in (truth, one, two)]
    assert efforts[0] == 0 < efforts[1] < efforts[2]
    near = np.zeros_like(truth)
    near[22:98, 22:98] = True  # within the relaxation
    assert human_correction_efforts(near, truth).total == 0


def test_the_command_line_measures_clicks_and_refinement(data, tmp_path, monkeypatch, capsys):
    import torch

    from napari_iseg.backends.base import ClickNet

    class BlobNet(ClickNet):
        def forward(self, image, prev_mask, clicks):
            rows = torch.arange(image.shape[2])[None, :, None] - clicks[:, :1, 0, None]
            cols = torch.arange(image.shape[3])[None, None, :] - clicks[:, :1, 1, None]
            return (12 - (rows**2 + cols**2).sqrt())[:, None].float()

    model = Model(
        ModelCard("blob", "cfr-icl", "vit-b", inference={"size": [64, 64], "flip": False}),
        BlobNet(),
        device="cpu",
    )
    models = {"blob": model, "bright-edges": BrightRefiner()}
    monkeypatch.setattr("napari_iseg.weights.store.load_model", lambda name, **_: models[name])
    out = tmp_path / "out"
    main(
        [
            "evaluate",
            "blob",
            str(data),
            "--dis",
            "--refine-edges",
            "bright-edges",
            "--out",
            str(out),
            "--json",
        ]
    )
    printed = json.loads(capsys.readouterr().out)
    coarse, fine = printed["reports"]
    assert (coarse["method"], fine["method"]) == ("blob, 1 click", "blob, 1 click + bright-edges")
    assert set(COLUMNS) <= set(fine)
    assert json.loads((out / "dis.json").read_text()) == printed["reports"]
    assert "bright-edges" in (out / "dis.md").read_text()
    assert [one["verdict"] for one in printed["verdicts"]] == ["better in both"]
    main(["evaluate", "bright-edges", str(data), "--fine", "set"])
    shown = capsys.readouterr().out
    assert "degraded truth + bright-edges" in shown
    assert "Better in both on 1 of 1 data sets with fine outlines." in shown
    with pytest.raises(SystemExit):
        main(["evaluate", "bright-edges", str(data), "--fine", "leaves"])
    assert "no data set 'leaves' among set" in " ".join(capsys.readouterr().err.split())


def test_the_command_line_keeps_the_first_set_where_the_second_fails(data, tmp_path, monkeypatch, capsys):
    shutil.copytree(data, tmp_path / "other" / "set")
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "other" / "set" / "images" / "comb.png")
    monkeypatch.setattr("napari_iseg.weights.store.load_model", lambda *_, **__: BrightRefiner())
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        main(["evaluate", "bright-edges", str(data), str(tmp_path / "other" / "set"), "--out", str(out)])
    shown, err = capsys.readouterr()
    assert "(30, 40)" in err
    assert "| set | degraded truth + bright-edges | 1 |" in shown
    assert {one["dataset"] for one in json.loads((out / "dis.json").read_text())} == {"set"}
    assert "better in both" in (out / "dis.md").read_text()


def report(dataset, boundary, hce):
    scores = dis_scores(np.eye(4, dtype=bool), np.eye(4, dtype=bool), with_hce=False)
    return DisReport("m", dataset, (replace(scores, boundary_iou=boundary, hce=hce),), 0.0)


def test_verdicts_are_per_set_and_count_the_fine_ones():
    pairs = {"a": (0.5, 9, 0.6, 8), "b": (0.5, 9, 0.6, 9), "c": (0.5, 9, 0.4, 8), "d": (0.5, 9, 0.4, 9)}
    reports = [report(name, *p[i : i + 2]) for name, p in pairs.items() for i in (0, 2)]
    found = verdicts(reports, ("a", "b"))
    words = ["better in both", "better in boundary IoU only", "better in HCE only", "not better"]
    assert [one.words for one in found] == words
    assert [one.fine for one in found] == [True, True, False, False]
    lines = verdict_table(found).splitlines()
    assert lines[2] == "| a | yes | 0.500 | 0.600 | 9.0 | 8.0 | better in both |"
    assert lines[-3] == "| **mean** |  | 0.500 | 0.500 | 9.0 | 8.5 |  |"
    assert lines[-1] == "Better in both on 1 of 2 data sets with fine outlines."
    assert all(one.fine for one in verdicts(reports))
    assert verdicts(reports[::2]) == []
