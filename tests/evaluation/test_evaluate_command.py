import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_iseg.backends.base import ClickNet
from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.backends.model import Model
from napari_iseg.cli import main
from napari_iseg.evaluation.boxes import BoxReport
from napari_iseg.evaluation.datasets import open_dataset


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
            ModelCard(name, "cfr-icl", "vit-b", inference={"size": [32, 32]}), WholeNet(), device="cpu"
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
        (["--split-share", "0.1"], "need --split validation"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_options_leave_with_two_and_one_sentence(data, loaded, capsys, options, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "whole", str(data), *options])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip()
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("model", "options", "ignored"),
    [
        ("whole", ["--draws", "5", "--supports", "4", "--fine", "x"], "--fine, --supports, --draws"),
        ("whole", ["--boxes", "--max-clicks", "3", "--by-scale"], "--max-clicks, --by-scale"),
        ("whole", ["--dis", "--baseline", "x", "--input-size", "64"], "--baseline, --input-size"),
        ("whole", ["--dis", "--boxes", "--dis-clicks", "1", "--refine", "2"], "--refine, --dis-clicks"),
        (
            "copy-nearest",
            ["--boxes", "--max-objects", "1", "--min-area", "9", "--refine", "3", "--by-scale"],
            "--max-objects, --refine, --boxes, --min-area, --by-scale",
        ),
    ],
)
def test_options_of_another_protocol_are_refused(data, loaded, capsys, model, options, ignored):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", model, str(data), *options])
    assert stopped.value.code == 2
    assert f"makes no use of {ignored}; leave out" in capsys.readouterr().err


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
    limit = [] if "--boxes" in arguments else ["--max-clicks", "1"]
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *map(str, arguments), *limit])
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
    assert not out.exists()


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


def test_the_report_says_what_was_run(data, loaded, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--max-clicks", "1", "--min-area", "9", "--seed", "5", "--max-objects", "1", "--out", str(out)]
    main(["evaluate", "whole", str(data), *options, "--refine", "1", "--refine-clicks", "all"])
    report = json.loads((out / "report.json").read_text())[0]
    assert report["method"] == "whole (refine_steps = 1, refine_clicks = all)"
    protocol = report["protocol"]
    told = {name: protocol[name] for name in ("min_area", "seed", "max_objects", "split", "threshold")}
    assert told == {"min_area": 9, "seed": 5, "max_objects": 1, "split": "all", "threshold": 0.49}
    assert (protocol["inference"]["refine_steps"], protocol["inference"]["size"]) == (1, [32, 32])
    assert {"version", "weights_sha256", "precision"} <= set(protocol)
    text = (out / "report.md").read_text()
    assert "min_area 9" in text
    assert "refine_steps 1" in text


def test_masks_of_published_sets_are_read_by_options(data, loaded, tmp_path, capsys):
    labels = np.zeros((40, 40), np.uint8)
    labels[1:39, 1:20], labels[1:39, 20:39], labels[0] = 100, 255, 128
    Image.fromarray(np.stack([labels] * 3, -1)).save(data / "labels" / "x.png")
    published = ["--kind", "binary", "--ignore", "128", "--min-area", "1", "--input-size", "64"]
    main(["evaluate", "whole", str(data), "--max-clicks", "1", *published, "--json"])
    report = json.loads(capsys.readouterr().out)["reports"][0]
    assert report["object_count"] == 1
    assert report["iou"]["1"] == pytest.approx(38**2 / (39 * 40))  # the row of 128 counts neither way
    assert report["protocol"]["inference"]["size"] == [64, 64]


@pytest.mark.parametrize(("kind", "objects"), [(None, 1), ("semantic", 1), ("instances", 2)])
def test_what_labels_mean_can_be_said(loaded, tmp_path, capsys, kind, objects):
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 4:14, 4:14] = labels[0, 24:36, 24:36] = 7  # an instance in two places is two objects of a slice
    tifffile.imwrite(tmp_path / "cells.tif", labels * 20)
    tifffile.imwrite(tmp_path / "cells_labels.tif", labels)
    asked = [] if kind is None else ["--kind", kind]
    main(["evaluate", "whole", str(tmp_path / "cells.tif"), "--max-clicks", "1", *asked, "--json"])
    assert json.loads(capsys.readouterr().out)["reports"][0]["object_count"] == objects


def test_a_kind_of_labels_that_there_is_not_is_refused(data, loaded, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "whole", str(data), "--kind", "instance"])
    assert "'instances', 'semantic', 'binary'" in capsys.readouterr().err


NAMES = ("oak", "elm", "ash", "fir", "yew", "box", "bay", "fig")


@pytest.fixture
def trees(data):
    """Eight images; the model whose card says that its training left out two of them."""
    for part in ("images", "labels"):
        for name in NAMES:
            shutil.copy(data / part / "x.png", data / part / f"{name}.png")
        (data / part / "x.png").unlink()
    held_out = {"share": 0.1, "seed": 7, "sets": [{"set": "set", "axis": 0, "images": ["elm", "bay"]}]}
    card = ModelCard("mine", "cfr-icl", "vit-b", training={"held_out": held_out})
    write_card(card, data.parent / "mine")
    return data, data.parent / "mine"


def validated(capsys, out, *arguments):
    """The images that were played, and what was said of them."""
    options = ["--split", "validation", "--max-clicks", "1", "--out", str(out), "--overwrite"]
    main(["evaluate", *map(str, arguments), *options])
    report = json.loads((out / "report.json").read_text())[0]
    return {one["image"] for one in report["objects"]}, report["protocol"]["split"], capsys.readouterr().err


def test_validation_is_what_training_left_out(trees, loaded, capsys, tmp_path):
    data, model = trees
    for seed in ("0", "3"):
        images, part, said = validated(capsys, tmp_path / "out", model, data, "--seed", seed)
        assert images == {"elm", "bay"}
        assert part == f"validation, the images that the training of {model} left out"
        assert f"set: 2 of 8 images: {part}." in said
    _, err = refused(capsys, model, data, "--split", "validation", "--split-share", "0.5")
    assert "leave --split-share and --split-seed out" in err


def test_validation_for_other_models_is_chosen_by_share_and_seed_alone(trees, loaded, capsys, tmp_path):
    data, _ = trees
    usual, part, said = validated(capsys, tmp_path / "out", "whole", data, "--seed", "3")
    assert usual == {item.name for item in open_dataset(data).split()[1]}
    assert part == "validation, share 0.2, seed 0"
    assert "what the training of whole left out of it is not known" in said
    other, *_ = validated(
        capsys, tmp_path / "out", "whole", data, "--split-share", "0.4", "--split-seed", "9"
    )
    assert other == {item.name for item in open_dataset(data).split(0.4, 9)[1]}


def test_a_volume_is_validated_along_the_axis_of_its_training(loaded, capsys, tmp_path):
    labels = np.zeros((9, 30, 30), np.uint16)  # with fewer slices along the first axis
    labels[2:7, 2:28, 2:28] = 1
    tifffile.imwrite(tmp_path / "em_image.tif", labels.astype(np.uint8) * 90, photometric="minisblack")
    tifffile.imwrite(tmp_path / "em_labels.tif", labels, photometric="minisblack")
    images = ["em_0010", "em_0011"]
    held_out = {"share": 0.1, "seed": 0, "sets": [{"set": "em", "axis": 2, "images": images}]}
    write_card(ModelCard("mine", "cfr-icl", "vit-b", training={"held_out": held_out}), tmp_path / "mine")
    arguments = tmp_path / "mine", tmp_path / "em_image.tif"
    played, *_ = validated(capsys, tmp_path / "out", *arguments)
    assert played == set(images)
    areas = {one["area"] for one in json.loads((tmp_path / "out" / "report.json").read_text())[0]["objects"]}
    assert areas == {5 * 26}  # a slice along the last axis
    _, err = refused(capsys, *arguments, "--split", "validation", "--axis", "0")
    assert "trained on slices of em along axis 2" in err


def test_of_two_sets_of_one_name_nobody_can_say_which(trees, loaded, capsys, tmp_path):
    data, _ = trees
    sets = [{"set": data.name, "axis": 0, "images": [name]} for name in ("elm", "bay")]
    held_out = {"share": 0.1, "seed": 0, "sets": sets}
    write_card(ModelCard("mine", "cfr-icl", "vit-b", training={"held_out": held_out}), tmp_path / "mine")
    *_, said = validated(capsys, tmp_path / "out", tmp_path / "mine", data)
    assert "left out of it is not known" in said


def test_a_training_that_left_nothing_out_cannot_be_validated(trees, loaded, capsys):
    data, model = trees
    held_out = {"share": 0.0, "seed": 0, "sets": [{"set": "set", "axis": 0, "images": []}]}
    write_card(ModelCard("mine", "cfr-icl", "vit-b", training={"held_out": held_out}), model)
    _, err = refused(capsys, model, data, "--split", "validation")
    assert "left no image of set out" in err
