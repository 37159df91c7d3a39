import json

import numpy as np
import pytest
from PIL import Image

from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.cli import main


class WholeNet(ClickNet):
    """Everything is object."""

    def forward(self, image, prev_mask, clicks):
        return prev_mask * 0 + 5


@pytest.fixture
def data(tmp_path):
    labels = np.zeros((40, 40), np.uint16)
    labels[1:39, 1:39] = 1
    for part, pixels in (("images", (labels * 100).astype(np.uint8)), ("labels", labels)):
        (tmp_path / "set" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / part / "x.png")
    return tmp_path / "set"


@pytest.fixture
def loaded(monkeypatch):
    models = []

    def load(name, *, device="auto", **_options):
        model = Model(
            ModelCard(name, "cfr-icl", "vit-b"), WholeNet(), device="cpu", inference=Inference(size=(32, 32))
        )
        models.append(model)
        return model

    monkeypatch.setattr("napari_iseg.weights.store.load_model", load)
    return models


def test_table_files_and_json(data, loaded, tmp_path, capsys):
    out = tmp_path / "out"
    main(
        [
            "evaluate",
            "whole",
            str(data),
            "--max-clicks",
            "2",
            "--baseline",
            "random-walker",
            "--out",
            str(out),
        ]
    )
    text = capsys.readouterr().out
    assert "| set | whole | 1 |" in text
    assert "| set | random-walker | 1 |" in text
    assert sorted(p.name for p in out.iterdir()) == [
        "report.json",
        "report.md",
        "set_curve.png",
        "set_noc.png",
    ]
    main(["evaluate", "whole", str(data), "--max-clicks", "2", "--json"])
    stored = json.loads(capsys.readouterr().out)
    assert stored["reports"][0]["iou"]["1"] == pytest.approx(38**2 / 40**2)
    assert stored["reports"][0]["noc"]["0.90"] == 1
    assert "objects" not in stored["reports"][0]


def test_by_scale_prints_bins_with_their_bounds(data, loaded, capsys):
    main(["evaluate", "whole", str(data), "--max-clicks", "2", "--by-scale", "--scale-bounds", "0.2,0.9"])
    text = capsys.readouterr().out
    assert "Bins end at 0.2, 0.9 and 1" in text
    assert "| set | whole | 0.9 to 1 | 1 |" in text  # 38 of 40 pixels
    main(["evaluate", "whole", str(data), "--max-clicks", "2"])
    assert "Bins end" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--scale-bounds", "0.5,0.2"], "must ascend between 0 and 1"),
        (["--scale-bounds", "small"], "--scale-bounds 0.05,0.1,0.3"),
        (["--split", "test"], "'all' or 'validation'"),
        (["--baseline", "grabcut"], "available: random-walker"),
        (["--baseline", "random-walker:x"], "no number"),
        (["--refine-clicks", "two"], "a number or 'all'"),
        (["--target-iou", "0.3"], "target-iou"),
    ],
)
def test_bad_options_leave_with_two_and_one_sentence(data, loaded, capsys, options, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "whole", str(data), *options])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert sentence in message
    assert "\n" not in message


def test_refinement_options_reach_the_model(data, loaded, capsys, monkeypatch):
    asked = {}

    def remember(self, **options):
        asked.update(options)
        return self

    monkeypatch.setattr(Model, "with_inference", remember)
    main(
        [
            "evaluate",
            "whole",
            str(data),
            "--max-clicks",
            "1",
            "--refine",
            "4",
            "--adaptive",
            "--refine-clicks",
            "all",
        ]
    )
    assert asked == {"refine_steps": 4, "refine_adaptive": True, "refine_clicks": None}
