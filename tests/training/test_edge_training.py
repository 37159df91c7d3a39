"""Training of IS5Net and its GT encoder: coarse masks, samples, thin scenes, a few steps, a resumed run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.edge_contrast import contrasted
from napari_iseg.errors import InputError
from napari_iseg.evaluation.coarse import degraded, stroke_width
from napari_iseg.training import synthetic_thin
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.edge_samples import EdgeSampleOptions, EdgeSamples, draw_sample, sample_options
from napari_iseg.training.edge_task import EdgeTask, TruthTask
from napari_iseg.training.enrichment import enriched
from napari_iseg.training.export import export
from napari_iseg.training.fit import Trainer
from napari_iseg.training.recipe import DataRecipe, LossRecipe, OptimRecipe, Recipe, ValidationRecipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step, task_for

NARROW = {"in_channels": 5, "width": 0.0625}
RECIPE = Recipe(
    "edges",
    backend="is5net",
    variant=NARROW,
    data=(DataRecipe("made"),),
    samples={"size": 32, "vary": 0.0},
    optim=OptimRecipe(steps=12, batch=2, rate=3e-3, warmup=1),
    loss=LossRecipe(terms={"features": 0.0}),
    validation=ValidationRecipe(every=100),
    workers=1,
    keep_every=6,
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bank():
    made = Bank()
    scenes = [random_scene(np.random.default_rng(i), 96, synthetic_thin.OUTLINES) for i in range(4)]
    made.add("made", [picture(image, labels, min_area=60) for image, labels in scenes], 1.0)
    return made


@pytest.mark.parametrize("make", [make for make, _ in synthetic_thin.OUTLINES])
def test_thin_shapes_are_thin_and_hang_together(make):
    from scipy import ndimage

    for seed in range(3):
        mask = make(np.random.default_rng(seed), 80.0)
        assert mask.dtype == bool
        assert 30 < mask.sum() < 0.9 * mask.size
        assert not mask[0].any()
        assert ndimage.label(mask, np.ones((3, 3)))[1] <= 2
        assert max(mask.shape) < 400


def test_coarse_masks_are_wrong_but_still_the_object(record_property):
    rng = np.random.default_rng(0)
    truth = np.zeros((120, 120), bool)
    truth[30:90, 30:60] = True
    truth[50:54, 60:100] = True
    ious = []
    for _ in range(60):
        mask = degraded(truth, rng)
        assert mask.dtype == bool
        ious.append((mask & truth).sum() / (mask | truth).sum())
    assert min(ious) >= 0.35
    assert 0.6 < np.mean(ious) < 0.97
    assert any(iou == 1 for iou in ious)
    worse = [degraded(truth, rng, strength=3.0) for _ in range(60)]
    coarser = [(mask & truth).sum() / (mask | truth).sum() for mask in worse]
    assert min(coarser) >= 0.35
    assert np.mean(coarser) < np.mean(ious) - 0.05


def test_thin_masks_are_made_coarse_by_their_strokes_and_not_lost():
    truth = np.zeros((300, 300), bool)
    for start in range(20, 280, 40):
        truth[20:280, start : start + 5] = truth[start : start + 5, 20:280] = True
    assert stroke_width(truth) == pytest.approx(5, rel=0.15)
    rows, cols = np.mgrid[:80, :80]
    assert stroke_width((rows - 40) ** 2 + (cols - 40) ** 2 < 30**2) == pytest.approx(30, rel=0.2)
    rng = np.random.default_rng(0)
    masks = [degraded(truth, rng, strength=2.0) for _ in range(30)]
    assert sum(bool(np.array_equal(mask, truth)) for mask in masks) < 6


def test_tiles_of_a_large_object_keep_about_its_scale():
    labels = np.zeros((400, 400), np.int32)
    labels[20:380, 100:104] = labels[200:204, 20:380] = 1
    source = picture(np.zeros((400, 400, 3), np.uint8), labels)
    options = EdgeSampleOptions(size=64, tiles=1.0, enrich=False, vary=0.0)
    rng = np.random.default_rng(1)
    made = [draw_sample(source, options, rng) for _ in range(20)]
    widths = [stroke_width(m["truth"][0].numpy() > 0) for m in made if m is not None]
    assert len(widths) > 10
    assert 2 < min(widths) < max(widths) < 10
    whole = [draw_sample(source, replace(options, tiles=0.0, close=1.0), rng) for _ in range(20)]
    assert max(stroke_width(m["truth"][0].numpy() > 0) for m in whole if m is not None) < 2


def test_whole_pictures_are_flipped_and_nothing_else():
    labels = np.zeros((60, 90), np.int32)
    labels[:20, :30] = 1
    shown = np.repeat((labels * 200).astype(np.uint8)[..., None], 3, 2)
    options = EdgeSampleOptions(size=32, whole=1.0, enrich=False, vary=0.0, drop_mask=0.0, drop_box=0.0)
    made = [draw_sample(picture(shown, labels), options, np.random.default_rng(s)) for s in range(30)]
    corners = {(int(m["truth"][0, 0, 0]), int(m["truth"][0, 0, -1]), int(m["truth"][0, -1, 0])) for m in made}
    assert corners == {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)}  # the last: both flips
    assert {int(m["truth"].sum()) for m in made} <= {100, 110, 121}  # a third of either side
    assert all(((m["image"][0] > 0.4) != (m["truth"][0] > 0)).float().mean() < 0.05 for m in made)


def test_enrichment_takes_parts_and_the_whole():
    mask = np.zeros((100, 100), bool)
    mask[5:25, 5:25] = mask[60:90, 60:90] = True
    mask[50, 50] = True
    areas = [int(part.sum()) for part in enriched(mask)]
    assert areas == [400, 900, 1301]
    mask[60:90, 60:90] = False
    assert [int(part.sum()) for part in enriched(mask)] == [400]
    assert enriched(np.zeros((9, 9), bool)) == []


def test_samples_follow_from_seed_and_index(bank):
    options = EdgeSampleOptions(size=64, drop_mask=0.3, drop_box=0.3)
    samples, again = (EdgeSamples(bank, options, 3, 40) for _ in range(2))
    dropped = {"mask": 0, "box": 0}
    for index in range(40):
        sample = samples[index]
        assert all(torch.equal(value, again[index][key]) for key, value in sample.items())
        assert sample["image"].shape == (3, 64, 64)
        assert sample["truth"].sum() >= 24
        for name in dropped:
            assert sample[name].shape == (1, 64, 64)
            dropped[name] += not sample[name].any()
        assert sample["mask"].any() or sample["box"].any()
    assert all(3 < count < 25 for count in dropped.values())
    with pytest.raises(IndexError):
        samples[40]


def test_a_few_steps_lower_the_loss_and_a_killed_run_ends_the_same(bank, tmp_path):
    losses = []
    whole = Trainer(RECIPE, bank, tmp_path / "whole", task=EdgeTask()).run(lambda p: losses.append(p))
    assert np.mean([p.loss for p in losses[-3:]]) < 0.9 * np.mean([p.loss for p in losses[:3]])
    assert set(losses[0].terms) == {"bce", "iou", "orthogonality"}
    half = replace(RECIPE, optim=replace(RECIPE.optim, decay_from=8))
    first = Trainer(half, bank, tmp_path / "half", task=EdgeTask())

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.step == 7:
            raise StopError

    with pytest.raises(StopError):
        first.run(stop)
    resumed = Trainer(half, bank, tmp_path / "half", task=EdgeTask()).run()
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(value, resumed.state_dict()[key], rtol=0, atol=0)


def test_gt_encoder_guides_the_network(bank, tmp_path):
    encoder = replace(
        RECIPE,
        name="guide",
        backend="is5net-gt-encoder",
        variant={"width": 0.0625},
        loss=LossRecipe(),
        optim=replace(RECIPE.optim, steps=2),
    )
    trained = Trainer(encoder, bank, tmp_path / "run", task=TruthTask()).run()
    export(encoder, trained.state_dict(), tmp_path / "guide", {})
    loss = LossRecipe(guide=str(tmp_path / "guide"), terms={"orthogonality": 0.0})
    recipe = replace(RECIPE, loss=loss, optim=replace(RECIPE.optim, steps=2))
    seen = []
    Trainer(recipe, bank, tmp_path / "guided", task=task_for("is5net")).run(seen.append)
    assert set(seen[0].terms) == {"bce", "iou", "features"}
    assert seen[0].terms["features"] > 0


def test_coarse_masks_may_come_from_the_model_that_stands_before(bank, monkeypatch):
    from napari_iseg.backends.base import ClickNet, Inference
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.backends.model import Model

    class Bright(ClickNet):
        def forward(self, image, prev_mask, clicks):
            return image.new_full((len(image), 1, *image.shape[2:]), 4.0)

    card, inference = ModelCard("whole", "cfr-icl", "vit-b"), Inference(size=(64, 64))
    model = Model(card, Bright(), device="cpu", inference=inference)
    asked = []
    monkeypatch.setattr("napari_iseg.weights.store.load_model", lambda name, **_: asked.append(name) or model)
    options = EdgeSampleOptions(size=64, drop_mask=0.0, first_stage="whole", first_share=1.0)
    samples = EdgeSamples(bank, options, 3, 30)
    seen = [samples[index] for index in range(12)]
    whole = [bool(sample["mask"].all()) for sample in seen]
    assert whole == [float(sample["truth"].mean()) >= 0.35 for sample in seen]  # or it lost the object
    assert not all(whole)
    monkeypatch.setattr("napari_iseg.training.edge_samples.WORST_IOU", 0.0)
    assert all(samples[index]["mask"].all() for index in range(12))
    assert asked == ["whole"]


def batch_of(bank):
    from torch.utils.data import default_collate

    samples = EdgeSamples(bank, EdgeSampleOptions(size=32), 0, 2)
    return default_collate([samples[0], samples[1]])


def test_guides_that_are_missing_or_do_not_fit_are_refused(bank, tmp_path):
    batch, rng = batch_of(bank), np.random.default_rng(0)
    net = backends.build("is5net", NARROW)
    with pytest.raises(InputError, match="names no GT encoder"):
        EdgeTask().loss(Step(net, batch, replace(RECIPE, loss=LossRecipe()), rng, int))
    wide = backends.build("is5net-gt-encoder", {"width": 0.125})
    recipe = replace(RECIPE, name="wide", backend="is5net-gt-encoder", variant={"width": 0.125})
    export(recipe, wide.state_dict(), tmp_path / "wide", {})
    loss = LossRecipe(guide=str(tmp_path / "wide"))
    with pytest.raises(InputError, match="other feature sizes"):
        EdgeTask().loss(Step(net, batch, replace(RECIPE, loss=loss), rng, int))
    with pytest.raises(InputError, match="unknown term 'focal'"):
        EdgeTask().loss(Step(net, batch, replace(RECIPE, loss=LossRecipe(terms={"focal": 1.0})), rng, int))


def test_a_three_channel_start_is_widened(tmp_path):
    narrow = {"in_channels": 3, "width": 0.0625}
    start = backends.build("is5net", narrow)
    recipe = replace(RECIPE, name="isnet", variant=narrow)
    export(recipe, start.state_dict(), tmp_path / "isnet", {})
    net = EdgeTask().build(replace(RECIPE, start=str(tmp_path / "isnet"))).eval()
    image = torch.rand(1, 3, 64, 64)
    rest = torch.rand(2, 1, 1, 64, 64)
    plain = start.half().float().eval()(image)[0]
    torch.testing.assert_close(net(image, *rest)[0], plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"size": 30}, "multiple of 32"), ({"side": 3}, "side"), ({"drop_box": 2.0}, "not more")],
)
def test_bad_sample_options_are_refused(bank, options, words):
    with pytest.raises(InputError, match=words):
        EdgeTask().samples(replace(RECIPE, samples=options), bank, 4)


def test_a_whole_run_from_data_to_a_model_that_refines(tmp_path):
    from PIL import Image

    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.training.run import train
    from napari_iseg.weights.store import load_model

    for index in range(4):
        labels = np.zeros((72, 72), np.uint16)
        labels[10:60, 12 + index : 50] = 1
        for part, pixels in (("images", (labels * 200).astype(np.uint8)), ("labels", labels)):
            (tmp_path / "set" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "set" / part / f"{index}.png")
    base = replace(
        RECIPE,
        data=(DataRecipe("set"),),
        optim=replace(RECIPE.optim, steps=2),
        validation=ValidationRecipe(every=1, share=0.5, objects=2),
    )
    encoder = replace(
        base, name="guide", backend="is5net-gt-encoder", variant={"width": 0.0625}, loss=LossRecipe()
    )
    card = train(encoder, tmp_path / "a", tmp_path)
    assert set(card.prompts) == {"mask"}
    assert "max_f" in (tmp_path / "a" / "log.csv").read_text().splitlines()[0]
    guided = replace(base, loss=LossRecipe(guide=str(tmp_path / "a" / "guide")), inference={"size": 64})
    card = train(guided, tmp_path / "b", tmp_path)
    assert set(card.prompts) == {"box", "mask"}
    head = (tmp_path / "b" / "log.csv").read_text().splitlines()[0]
    assert {"boundary_iou", "coarse_boundary_iou"} <= set(head.split(","))
    model = load_model(tmp_path / "b" / "edges", device="cpu")
    assert isinstance(model, EdgeModel)
    assert model.size == 64


def test_samples_in_colours_fitted_to_their_own_coarse_mask(bank):
    plain, shown = (
        EdgeSamples(bank, EdgeSampleOptions(size=64, vary=0.0, drop_mask=0.0, preparation=name), 3, 6)
        for name in ("data-set", "contrast")
    )
    for index in range(6):
        before, after = plain[index], shown[index]
        assert all(torch.equal(before[name], after[name]) for name in ("mask", "box", "truth"))
        expected = contrasted(before["image"].permute(1, 2, 0).numpy(), before["mask"][0].numpy())
        assert np.allclose(after["image"].permute(1, 2, 0).numpy(), expected, atol=1e-5)
        assert not torch.equal(before["image"], after["image"])


def test_an_unknown_preparation_of_samples_is_refused():
    recipe = Recipe("x", backend="is5net", samples={"size": 64, "preparation": "demo"})
    with pytest.raises(InputError, match="'data-set' or 'contrast', got 'demo'"):
        sample_options(recipe)
