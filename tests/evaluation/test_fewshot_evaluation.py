"""Few-shot evaluation: scores by hand, cases that repeat, volumes, reports, the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.cli import main
from napari_iseg.cli.evaluate_fewshot import is_fewshot
from napari_iseg.errors import InputError
from napari_iseg.evaluation import fewshot_metrics as metrics
from napari_iseg.evaluation.datasets import Dataset, Item, open_dataset
from napari_iseg.evaluation.fewshot_cases import cases_of
from napari_iseg.evaluation.fewshot_protocol import evaluate_queries
from napari_iseg.evaluation.fewshot_report import write_fewshot_report
from napari_iseg.evaluation.fewshot_stacks import Stack, scene_of, tiles_of, volumes_of
from napari_iseg.evaluation.fewshot_tables import comparison, fewshot_table
from napari_iseg.evaluation.fewshot_user import SupportUser, clicked_support
from napari_iseg.evaluation.fewshot_volumes import VolumeReport, evaluate_volume
from napari_iseg.evaluation.pascal import FOLDS, pascal5i, pascal_cases, sbd
from napari_iseg.fewshot.base import UNKNOWN, Prediction, Support
from napari_iseg.fewshot.baselines import CopyNearest, Interpolation


class Bright:
    """Knows that objects are bright, once a support has shown one; its own masks grow with the clicks."""

    identity, divisor = "bright", 1

    class Features:
        def __init__(self, image: np.ndarray) -> None:
            self.image, self.nbytes, self.shape = image, image.nbytes, image.shape[:2]

    def encode(self, image: np.ndarray) -> Bright.Features:
        return self.Features(image)

    def segment_support(
        self, support: Support, features: Bright.Features, labels: Sequence[int]
    ) -> Prediction:
        positive = sum(click.positive for _, click in support.clicks)
        found = features.image.mean(2) > (0.5 if positive > 1 else 0.95)
        return self._prediction(found)

    def embed(self, support: Support, features: Bright.Features, labels: Sequence[int]) -> Support:
        return support

    def predict(self, features, positions, embeddings, labels, previous=None):  # type: ignore[no-untyped-def]
        clicks = sum(len(e.clicks) for e in embeddings)
        painted = any((e.mask != UNKNOWN).any() for e in embeddings)
        level = 0.5 if painted or clicks > 1 else 0.9
        return [self._prediction(f.image.mean(2) > level) for f in features]

    @staticmethod
    def _prediction(found: np.ndarray) -> Prediction:
        probability = np.stack([~found, found]).astype(np.float32)
        return Prediction(probability, 1.0, np.array([float(found.any())], np.float32))


def spots(count: int = 6) -> Dataset:
    def make(i: int) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = np.mgrid[:64, :64]
        labels = np.zeros((64, 64), np.uint16)
        labels[(rows - 20 - i) ** 2 + (cols - 30) ** 2 < 100] = 1
        image = np.full((64, 64), 20, np.uint8)
        image[labels > 0] = 200
        image[(rows - 20 - i) ** 2 + (cols - 30) ** 2 < 36] = 255
        return image, labels

    items = [
        Item(f"spot{i}", "instances", lambda i=i: make(i)[0], lambda i=i: make(i)[1]) for i in range(count)
    ]
    return Dataset("spots", tuple(items))


def test_iou_is_accumulated_before_it_is_averaged() -> None:
    scores = metrics.Accumulated()
    truth = np.zeros((4, 4), np.int8)
    truth[0] = 1
    half = np.zeros((4, 4), bool)
    half[0, :2] = True
    scores.add("a", half, truth)  # 2 of 4
    scores.add("a", truth == 1, truth)  # 4 of 4
    scores.add("b", ~half & (truth == 1), truth)  # 2 of 4
    assert scores.class_iou == {"a": 6 / 8, "b": 0.5}
    assert scores.miou == pytest.approx(0.625)
    assert scores.fb_iou == pytest.approx((8 / 12 + 36 / 40) / 2)
    assert np.isnan(scores.alarm)


def test_empty_queries_count_for_the_alarm_only() -> None:
    scores = metrics.Accumulated()
    nothing = np.zeros((10, 10), np.int8)
    scores.add("a", np.zeros((10, 10), bool), nothing)
    scores.add("a", np.ones((10, 10), bool), nothing)
    assert scores.alarm == 0.5
    assert np.isnan(scores.miou)


def test_ignored_pixels_do_not_count() -> None:
    scores = metrics.Accumulated()
    truth = np.full((2, 4), -1, np.int8)
    truth[0] = [1, 1, 0, 0]
    mask = np.ones((2, 4), bool)
    mask[0, 2:] = False
    scores.add("a", mask, truth)
    assert scores.miou == 1


def test_the_area_is_that_of_straight_lines() -> None:
    assert metrics.area_under({1: 0.0, 20: 1.0}) == pytest.approx(0.5)
    assert metrics.area_under({1: 0.4}) == pytest.approx(0.4)
    assert metrics.clicks_to_share({1: 0.1, 5: 0.46, 10: 0.5}, 0.5, 0.9) == 5
    assert metrics.clicks_to_share({1: 0.1}, 0.5, 0.9) is None
    assert metrics.dice(0, 0, 0) == 1


def test_cases_repeat_and_keep_query_and_supports_apart() -> None:
    one, other = (cases_of(spots(), 8, 2, seed=4) for _ in range(2))
    assert len(one) == 8
    for a, b in zip(one, other, strict=True):
        assert a.query.name == b.query.name
        assert np.array_equal(a.query.image, b.query.image)
        assert a.query.name not in [s.name for s in a.supports]
        assert all((s.truth == 1).any() for s in a.supports)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match="2 supports and a query need 3"):
        cases_of(spots(2), 4, 2)


def test_queries_improve_with_clicks_and_reach_the_dense_score() -> None:
    cases = cases_of(spots(), 4, 1, empty=0)
    report = evaluate_queries(Bright(), cases, dataset="spots", name="bright", at=(1, 3, 20))
    assert report.dense == 1
    assert report.curve[1] < 0.5 < report.curve[3] == report.curve[20] == 1
    assert report.support_curve[20] == 1
    assert report.ratio == 1
    assert report.to_dict()["clicks_to_90"] == 3


def test_a_budget_is_split_over_supports_and_goes_to_the_worst() -> None:
    cases = cases_of(spots(), 2, 2, empty=0)
    report = evaluate_queries(Bright(), cases, dataset="spots", name="bright", at=(), splits=(1, 2, 4))
    assert set(report.by_supports) == {1, 2}
    user = SupportUser(Bright(), cases[0].supports, [Bright().encode(s.image) for s in cases[0].supports])
    for _ in range(4):
        user.click()
    assert [len(s.clicks) for s in user.supports] == [2, 2]


def cone(depth: int = 20) -> Dataset:
    rows, cols = np.mgrid[:48, :48]

    def labels(z: int) -> np.ndarray:
        return np.where((rows - 24) ** 2 + (cols - 24) ** 2 < (6 + 0.6 * z) ** 2, 5, 0).astype(np.uint16)

    items = tuple(
        Item(
            f"c{z}", "instances", lambda z=z: (labels(z) * 40).astype(np.uint8), lambda z=z: labels(z), "c", z
        )
        for z in range(depth)
    )
    return Dataset("cone", items)


def test_volumes_are_scored_on_the_slices_nobody_annotated() -> None:
    volume = volumes_of(cone())[0]
    assert volume.wanted == (5,)
    assert volume.annotated(0.1) == [5, 15]
    copied = evaluate_volume(CopyNearest(), volume, name="copy", shares=(0.1, 0.2))
    mixed = evaluate_volume(Interpolation(), volume, name="mix", shares=(0.1, 0.2))
    assert copied.annotated == {0.1: 2, 0.2: 4}
    assert copied.dice[0.1] < copied.dice[0.2]
    assert copied.dice[0.1] < mixed.dice[0.1] < 1
    assert copied.dice[0.1] > 0.8


def test_draws_are_other_choices_of_annotated_slices_and_the_score_is_their_mean() -> None:
    volume = volumes_of(cone())[0]
    drawn = [volume.annotated(0.1, draw) for draw in range(3)]
    assert drawn == [[5, 15], [2, 12], [7, 17]]
    both = evaluate_volume(CopyNearest(), volume, name="copy", shares=(0.1,), draws=2)
    alone = [evaluate_volume(CopyNearest(), _only(volume, d), name="copy", shares=(0.1,)) for d in drawn[:2]]
    assert both.dice[0.1] == pytest.approx(np.mean([report.dice[0.1] for report in alone]))
    assert alone[0].dice[0.1] != alone[1].dice[0.1]


def _only(volume: Stack, planes: list[int]) -> Stack:
    """The volume with a fixed choice of annotated slices."""

    class Fixed(Stack):
        def annotated(self, share: float, draw: int = 0) -> list[int]:
            return planes

    return Fixed(**{f.name: getattr(volume, f.name) for f in fields(volume)})


def test_the_report_has_tables_and_plots(tmp_path: Path) -> None:
    queries = [evaluate_queries(Bright(), cases_of(spots(), 2, 1), dataset="spots", name="bright", at=(1, 3))]
    volumes = [evaluate_volume(CopyNearest(), volumes_of(cone())[0], name="copy", shares=(0.1,))]
    files = write_fewshot_report(queries, volumes, tmp_path / "out")
    assert {f.name for f in files} == {"fewshot.json", "fewshot.md", "spots_queries.png", "c_volume.png"}
    content = json.loads(files[0].read_text())
    assert content["volumes"][0]["dice"]["0.1"] == volumes[0].dice[0.1]
    assert "mIoU@3" in fewshot_table(queries, volumes)


def test_the_command_compares_baselines_on_a_volume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = cone()
    tifffile.imwrite(tmp_path / "c_image.tif", np.stack([i.image() for i in data]))
    tifffile.imwrite(tmp_path / "c_labels.tif", np.stack([i.labels() for i in data]).astype(np.uint16))
    main(["evaluate", "interpolation", str(tmp_path / "c_image.tif"), "--baseline", "copy-nearest", "--json"])
    found = json.loads(capsys.readouterr().out)["reports"]["volumes"]
    assert [r["method"] for r in found] == ["interpolation", "copy-nearest"]
    assert found[0]["dice"]["0.1"] > found[1]["dice"]["0.1"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--baseline", "random-walker"], "random-walker"), (["--split", "half"], "half")],
)
def test_the_command_refuses_what_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "interpolation", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names = [f"2007_00000{i}" for i in range(5)]
    for i, name in enumerate(names):
        labels = np.zeros((80, 100), np.uint8)
        labels[10:60, 10:60] = 3
        labels[10:60, 62:98] = 9 if i % 2 else 255
        Image.fromarray(np.full((80, 100, 3), 40 * i, np.uint8)).save(base / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(labels).save(base / "SegmentationClass" / f"{name}.png")
    for part, listed in (("train", names), ("val", names[:3])):
        (base / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(listed) + "\n")
    return tmp_path


def test_a_fold_shows_its_own_classes_only(voc: Path) -> None:
    assert [c for fold in FOLDS.values() for c in fold] == list(range(1, 21))
    held = pascal5i(voc, 0)[1].labels()
    assert set(np.unique(held)) == {0, 3}
    trained = pascal5i(voc, 0, part="train")
    assert [item.name for item in trained] == ["2007_000003", "2007_000004"]  # no validation image
    assert set(np.unique(trained[0].labels())) == {0, 9}
    cases = pascal_cases(pascal5i(voc, 0), 3, 1, side=50)
    assert {c.category for c in cases} == {"bird"}
    assert cases[0].query.image.shape == (40, 50, 3)
    assert cases[0].query.name != cases[0].supports[0].name


def test_training_takes_sbds_masks_where_they_are(voc: Path) -> None:
    base = voc / "VOCdevkit" / "VOC2012"
    shutil.copytree(base / "SegmentationClass", base / "SegmentationClassAug")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(base / "SegmentationClassAug" / "2008_9.png")
    names = [item.name for item in pascal5i(voc, 0, part="train")]
    assert names == ["2007_000003", "2007_000004", "2008_9"]
    lists = base / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").write_text(
        "/JPEGImages/2008_9.jpg /SegmentationClassAug/2008_9.png\n2007_000000\n"
    )
    assert [item.name for item in pascal5i(voc, 0, part="train")] == ["2008_9"]


def test_what_is_not_pascal_is_refused(tmp_path: Path, voc: Path) -> None:
    with pytest.raises(InputError, match="folds 0 to 3"):
        pascal5i(voc, 4)
    with pytest.raises(InputError, match="JPEGImages"):
        pascal5i(tmp_path / "nothing", 0)
    with pytest.raises(InputError, match="inst"):
        sbd(tmp_path)


def test_sbd_instances_are_objects(tmp_path: Path) -> None:
    from scipy.io import savemat

    for folder in ("img", "inst"):
        (tmp_path / "dataset" / folder).mkdir(parents=True)
    labels = np.zeros((40, 50), np.uint8)
    labels[5:25, 5:25], labels[26:38, 26:48], labels[0, :3] = 1, 2, 3
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "dataset" / "img" / "a.jpg")
    savemat(tmp_path / "dataset" / "inst" / "a.mat", {"GTinst": {"Segmentation": labels}})
    (tmp_path / "dataset" / "val.txt").write_text("a\n")
    assert list(sbd(tmp_path).objects()) == [(0, 1), (0, 2), (0, 3)]  # however small


def test_volumes_keep_their_ids_when_asked(tmp_path: Path) -> None:
    labels = np.zeros((3, 20, 20), np.uint16)
    labels[:, 2:8, 2:8] = labels[:, 12:18, 12:18] = 7
    tifffile.imwrite(tmp_path / "v_image.tif", labels.astype(np.uint8))
    tifffile.imwrite(tmp_path / "v_labels.tif", labels)
    assert set(np.unique(open_dataset(tmp_path / "v_image.tif", components=False)[0].labels())) == {0, 7}


def test_a_scene_is_cut_to_equal_tiles_with_one_range_of_greys() -> None:
    rows, cols = np.mgrid[:300, :400]
    labels = (((rows // 40) % 2 == 0) & ((cols // 40) % 2 == 0)).astype(np.uint16) * 7
    ramp = (rows * 10 + 100).astype(np.uint16)
    scene = Dataset("field", (Item("field", "instances", lambda: ramp, lambda: labels, "field"),))
    tiles = tiles_of(scene)
    assert len(tiles) == 4 * 6  # 256 gives one tile, 128 six, 64 at last 24
    assert {tile.labels().shape for tile in tiles} == {(64, 64)}
    assert tiles[0].image().mean() < tiles[-1].image().mean() - 100  # not stretched tile by tile
    stack = scene_of(scene)
    assert (stack.wanted, stack.scene, len(stack)) == ((1,), True, 24)
    assert [len(stack.annotated(share)) for share in (0.01, 0.05, 0.1)] == [1, 1, 2]
    inside = (stack.labels > 0).mean((1, 2))
    assert abs(inside[stack.annotated(0.01)[0]] - 0.5) == np.abs(inside - 0.5).min()
    assert stack.annotated(0.01, 1) != stack.annotated(0.01)
    report = evaluate_volume(CopyNearest(), stack, name="copy", shares=(0.05, 1.0 / 3))
    assert 0 < report.dice[0.05] < 1


def test_nothing_to_tile_is_refused() -> None:
    nothing = np.zeros((200, 200), np.uint8)
    with pytest.raises(InputError, match="no two tiles with labels"):
        scene_of(Dataset("bare", (Item("bare", "semantic", lambda: nothing, lambda: nothing, "bare"),)))


class Counted(Bright):
    """Counts its work."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, image: np.ndarray) -> Bright.Features:
        self.encoded += 1
        return super().encode(image)


def test_volumes_from_clicks_encode_each_slice_once() -> None:
    volume, model = volumes_of(cone(10))[0], Counted()
    asked: list[tuple[int, int]] = []
    report = evaluate_volume(
        model,
        volume,
        name="bright",
        shares=(0.1, 0.11, 0.2),
        clicks=2,
        on_slice=lambda done, total: asked.append((done, total)),
    )
    assert model.encoded == 10
    assert report.annotated == {0.1: 1, 0.11: 1, 0.2: 2}
    assert report.dice[0.2] == report.clicked[0.2] == 1
    assert asked[-1] == (2 * (9 + 8), 2 * (9 + 8))  # equal annotations are evaluated once


def test_clicks_on_two_labels_are_made_on_each_alone() -> None:
    image, labels = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.int32)
    labels[4:14, 4:14], labels[18:30, 18:30] = 3, 8
    image[labels > 0] = 1
    model = Bright()
    made = clicked_support(model, model.encode(image), image, labels, [3, 5, 8], 1, key="a")
    assert [(label, labels[int(c.row), int(c.col)], c.positive) for label, c in made.clicks] == [
        (3, 3, True),
        (8, 8, True),
    ]
    assert made.labels == (3, 8)
    assert not made.is_painted


def test_nobody_clicks_on_what_is_right() -> None:
    case = cases_of(spots(), 1, 1, empty=0)[0]
    user = SupportUser(Bright(), case.supports, [Bright().encode(case.supports[0].image)])
    for _ in range(6):
        user.click()
    assert user.iou() == 1
    assert len(user.supports[0].clicks) == 2


def test_lines_say_who_is_ahead_and_where() -> None:
    def report(method: str, dataset: str, value: float) -> VolumeReport:
        return VolumeReport(method, dataset, 20, (1,), dice={0.05: value}, clicked={0.05: value / 2})

    volumes = [report(m, d, v) for d, m, v in (("a", "new", 0.8), ("a", "old", 0.6), ("b", "new", 0.5))]
    volumes += [report("old", "b", 0.6), VolumeReport("old", "c", 9, (1,), dice={0.05: 0.9})]
    assert comparison([], volumes) == [
        "new against old: Dice of volumes, 5% painted +0.050 (ahead on 1 of 2); "
        "Dice of volumes, 5% clicked +0.025 (ahead on 1 of 2)."
    ]
    assert "| **mean** | new | 2 | 0.650 | 0.325 |" in fewshot_table([], volumes)


def test_one_command_for_volumes_scenes_and_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = {"training-free": Bright(), "copy-nearest": CopyNearest()}
    monkeypatch.setattr("napari_iseg.fewshot.models.load_fewshot", lambda name, **_: fakes[name])
    for folder in ("images", "labels"):
        (tmp_path / "spots" / folder).mkdir(parents=True)
    for item in spots(5):
        Image.fromarray(item.image()).save(tmp_path / "spots" / "images" / f"{item.name}.png")
        Image.fromarray(item.labels().astype(np.uint16)).save(
            tmp_path / "spots" / "labels" / f"{item.name}.png"
        )
    data = cone()
    tifffile.imwrite(tmp_path / "c_image.tif", np.stack([i.image() for i in data]), photometric="minisblack")
    labels = np.stack([i.labels() for i in data]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "c_labels.tif", labels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "e_image.tif", np.zeros((80, 80), np.uint8))
    tifffile.imwrite(tmp_path / "e_labels.tif", np.zeros((80, 80), np.uint16))
    paths = [str(tmp_path / name) for name in ("c_image.tif", "spots", "e_image.tif")]
    options = [
        "--cases",
        "2",
        "--max-clicks",
        "3",
        "--baseline",
        "copy-nearest",
        "--out",
        str(tmp_path / "out"),
    ]
    main(["evaluate", "training-free", *paths, *options, "--json"])
    printed = json.loads(capsys.readouterr().out)
    found = printed["reports"]
    assert [(r["dataset"], r["method"], r["scene"]) for r in found["volumes"]] == [
        ("c", "training-free", False),
        ("c", "copy-nearest", False),
        ("spots", "training-free", True),
        ("spots", "copy-nearest", True),
    ]
    assert [r["method"] for r in found["queries"]] == ["training-free"]
    assert set(found["queries"][0]["curve"]) == {"1", "2", "3"}
    assert set(found["queries"][0]["by_supports"]) == {"1", "2", "4"}
    assert len(printed["notes"]) == 2  # the empty image can be neither tiled nor asked about
    text = (tmp_path / "out" / "fewshot.md").read_text()
    assert "training-free against copy-nearest: Dice of volumes, 5% painted" in text
    assert "The data set e has" in text
    assert (tmp_path / "out" / "spots_supports.png").is_file()


def test_a_folder_says_itself_what_it_is(tmp_path: Path) -> None:
    for backend in ("ifsenet", "mst"):
        write_card(ModelCard(f"my-{backend}", backend, "starter"), tmp_path / backend)
    assert is_fewshot(str(tmp_path / "ifsenet"))
    assert is_fewshot(str(tmp_path / "ifsenet:no-prior"))
    assert not is_fewshot(str(tmp_path / "mst"))
    assert is_fewshot("two-stage:cfr-icl-starter")
    assert not is_fewshot("cfr-icl-starter")
