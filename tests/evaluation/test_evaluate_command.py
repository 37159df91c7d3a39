import json
import shutil

import numpy as np
import pytest
from PIL import Image

from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.cli import main
from napari_iseg.evaluation.boxes import BoxReport


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
    with pytest.raises(SystemExit):
        main(["evaluate", "whole", str(data), "--out", str(out)])
    assert "give --overwrite to replace it" in " ".join(capsys.readouterr().err.split())
    main(["evaluate", "whole", str(data), "--max-clicks", "2", "--out", str(out), "--overwrite"])
    capsys.readouterr()
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
        (["--baseline", "random-walker:-5"], "no number from 0 up"),
        (["--baseline", "random-walker:nan"], "no number from 0 up"),
        (["--refine-clicks", "two"], "a number or 'all'"),
        (["--target-iou", "0.3"], "target-iou"),
        (["--box-noise", "0.1"], "--box-noise needs --boxes"),
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


def refused(capsys, *arguments):
    """(standard output, the one sentence) of an evaluation that ends with code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *map(str, arguments), "--max-clicks", "1"])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert "\n" not in err.strip()
    return out, err


@pytest.fixture
def second(data):
    """Another set called "set", whose image and labels differ in shape."""
    shutil.copytree(data, data.parent / "other" / "set")
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(data.parent / "other" / "set" / "images" / "x.png")
    return data.parent / "other" / "set"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_refused_before_the_model_is_loaded(data, loaded, capsys, tmp_path, place):
    (tmp_path / "file").write_text("")
    _, err = refused(capsys, "whole", data, "--out", tmp_path / place)
    assert f"Reports cannot be written to {tmp_path / place}" in err
    assert not loaded


def test_a_full_disk_is_seen_before_anything_is_played(data, loaded, capsys, tmp_path, monkeypatch):
    def full(**_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    _, err = refused(capsys, "whole", data, "--out", tmp_path / "out")
    assert "No space left on device" in err
    assert not loaded
    assert not (tmp_path / "out").exists()


def boxed(_model, dataset, **_options):
    """Stands in for the box protocol, which the fake network cannot answer."""
    dataset[0].image()
    return BoxReport("whole", dataset.name, (0.5,), noise=0.0, seconds=0.1)


@pytest.mark.parametrize("boxes", [False, True])
def test_an_error_in_the_second_set_keeps_the_first(
    data, second, loaded, capsys, tmp_path, boxes, monkeypatch
):
    if boxes:
        monkeypatch.setattr("napari_iseg.evaluation.boxes.evaluate_boxes", boxed)
    out = tmp_path / "out"
    text, err = refused(capsys, "whole", data, second, "--out", out, *["--boxes"] * boxes)
    assert "(30, 40)" in err
    assert str(second / "images" / "x.png") in err
    assert "| set | whole |" in text
    stored = json.loads((out / ("boxes.json" if boxes else "report.json")).read_text())
    assert [report["dataset"] for report in stored] == ["set"]


def test_the_table_is_printed_where_the_report_cannot_be_written(data, loaded, capsys, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("os.fsync", lambda _handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    text, err = refused(capsys, "whole", data, "--out", out)
    assert "| set | whole | 1 |" in text
    assert "No space left" in err
    assert list(out.iterdir()) == []


def test_sets_of_one_name_have_rows_and_plots_of_their_own(data, loaded, capsys, tmp_path):
    out = tmp_path / "out"
    main(["evaluate", "whole", str(data), str(data), "--max-clicks", "1", "--out", str(out)])
    text = capsys.readouterr().out
    assert "| set | whole | 1 |" in text
    assert "| set-2 | whole | 1 |" in text
    assert {"set_curve.png", "set-2_curve.png"} <= {p.name for p in out.iterdir()}


def test_a_single_image_without_objects_on_the_right_cannot_validate(data, loaded, capsys):
    labels = np.zeros((40, 40), np.uint16)
    labels[1:39, 1:20] = 1
    Image.fromarray(labels).save(data / "labels" / "x.png")
    _, err = refused(capsys, "whole", data, "--split", "validation")
    assert "single image" in err


def test_the_folder_of_a_training_run_names_its_model(data, loaded, capsys, tmp_path):
    (tmp_path / "run" / "mine").mkdir(parents=True)
    (tmp_path / "run" / "mine" / "card.toml").write_text("")
    _, err = refused(capsys, tmp_path / "run", data)
    assert f"give {tmp_path / 'run' / 'mine'} instead" in err
