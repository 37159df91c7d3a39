"""The box protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_iseg.backends.base import Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.backends.prompt_net import PromptNet
from napari_iseg.cli import main
from napari_iseg.errors import InputError
from napari_iseg.evaluation.boxes import BoxReport, box_of, box_table, evaluate_boxes, shaken
from napari_iseg.prompts import Box


class FillNet(PromptNet):
    """Object: the box."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.side, self.low = 40, 40

    def encode(self, picture):
        return picture

    def decode(self, embedding, points, labels, boxes=None, memory=None, *, several=False):
        rows, cols = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
        x0, y0, x1, y1 = boxes[0]
        inside = (cols >= x0) & (cols < x1) & (rows >= y0) & (rows < y1)
        return torch.where(inside, 5.0, -5.0)[None, None], torch.ones(1, 1)


def model(prompts: tuple[str, ...] = ("box", "click")) -> Model:
    card = ModelCard("fill", "sam", "starter", prompts=prompts)
    return Model(card, FillNet(), device="cpu", inference=Inference(window="whole", size=(40, 40)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    labels = np.zeros((40, 40), np.uint16)
    labels[1:9, 2:12] = 1  # fills its box
    labels[20:40, 20:40][np.tri(20, dtype=bool)] = 2  # fills half of it
    for part, pixels in (("images", (labels * 100).astype(np.uint8)), ("labels", labels)):
        (tmp_path / "set" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / part / "x.png")
    return tmp_path / "set"


def test_every_object_is_asked_by_its_box(data: Path) -> None:
    report = evaluate_boxes(model(), data)
    assert report.ious == pytest.approx((1.0, 210 / 400))
    assert report.mean_iou == pytest.approx((1 + 0.525) / 2)
    assert (report.share(0.5), report.share(0.75)) == (1.0, 0.5)
    assert report.to_dict()["share"] == {"0.50": 1.0, "0.75": 0.5, "0.90": 0.5}
    assert "| fill (threshold = 0.49, flip = true, size = 40 x 40) | 2 | " in box_table(
        [report]
    )  # unlike its card
    assert " | 2 | 0.762 | 100 % | 50 % | 50 % |" in box_table([report])


def test_noise_moves_boxes_the_same_way_each_time(data: Path) -> None:
    one, two = (evaluate_boxes(model(), data, noise=0.1) for _ in range(2))
    assert one.ious == two.ious
    assert one.ious[0] < 1


def test_a_shaken_box_keeps_its_middle_and_some_area() -> None:
    box, rng = Box(10, 20, 30, 24), np.random.default_rng(0)
    assert shaken(box, 0.0, rng) == box
    boxes = [shaken(box, 5.0, rng) for _ in range(200)]
    assert all(b.row1 > b.row0 and b.col1 > b.col0 for b in boxes)
    assert all(abs(b.row0 - 10) <= 9.001 and abs(b.col0 - 20) <= 1.801 for b in boxes)


def test_the_box_of_a_mask_is_half_open() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:5, 7] = True
    assert box_of(mask) == Box(2, 7, 5, 8)


def test_what_cannot_be_evaluated_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match="does not take boxes"):
        evaluate_boxes(model(("click",)), data)
    with pytest.raises(InputError, match="0 or more"):
        evaluate_boxes(model(), data, noise=-1)
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(data / "labels" / "x.png")
    with pytest.raises(InputError, match="no object"):
        evaluate_boxes(model(), data)


def test_the_command_prints_a_table_and_writes_json(data: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("napari_iseg.weights.store.load_model", lambda *_, **__: model())
    main(["evaluate", "fill", str(data), "--boxes", "--out", str(tmp_path / "out")])
    assert "| mIoU |" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "out" / "boxes.json").read_text())
    assert found["objects"] == 2
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "fill", str(data), "--boxes", "--baseline", "random-walker"])
    assert end.value.code == 2
    assert "baseline takes no boxes" in " ".join(capsys.readouterr().err.split())


def test_reports_need_no_loop_to_be_made() -> None:
    report = BoxReport("m", "d", (0.2, 0.6), 0.1, 1.0)
    assert report.to_dict()["seconds_per_object"] == 0.5
