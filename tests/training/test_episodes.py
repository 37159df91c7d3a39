"""Few-shot episodes: what is drawn, that it repeats, and that training on it lowers the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from napari_iseg import backends
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.episode_loss import SUPPORT_TERMS, WEIGHTS
from napari_iseg.training.episode_samples import EpisodeOptions, EpisodeSamples
from napari_iseg.training.episodes import draw_episode
from napari_iseg.training.export import export
from napari_iseg.training.fewshot_task import FewShotTask, episode_options
from napari_iseg.training.fit import Trainer, keep_fixed
from napari_iseg.training.log import Progress
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, SceneRecipe, read_recipe
from napari_iseg.training.synthetic_series import scene_series
from napari_iseg.training.task import Step

TINY = {
    "encoder": "conv",
    "widths": (8, 16, 16, 32),
    "depths": (1, 1, 1, 1),
    "channels": 16,
    "rates": (1, 2),
    "tokens": 32,
}


def ball_volume(slices: int = 9) -> Dataset:
    """Slices of a bright ball (id 7) and a dark one (id 9) that is only in the first slices."""
    rows, cols = np.mgrid[:96, :96]

    def slice_at(z: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.zeros((96, 96), np.uint16)
        radius = 26 - 2 * abs(z - slices // 2)
        labels[(rows - 40) ** 2 + (cols - 38) ** 2 < radius**2] = 7
        if z < 3:
            labels[(rows - 78) ** 2 + (cols - 76) ** 2 < 12**2] = 9
        image = np.where(labels == 7, 200, np.where(labels == 9, 30, 110)).astype(np.uint8)
        return image, labels

    items = tuple(
        Item(f"ball_{z}", "instances", lambda z=z: slice_at(z)[0], lambda z=z: slice_at(z)[1], "ball", z)
        for z in range(slices)
    )
    return Dataset("ball", items)


@pytest.fixture(scope="module")
def volume_bank() -> EpisodeBank:
    bank = EpisodeBank()
    bank.add_dataset(ball_volume(), 1.0)
    return bank


@pytest.fixture(scope="module")
def scene_bank() -> EpisodeBank:
    bank = EpisodeBank()
    bank.add_scenes(SceneRecipe(count=8, size=128, weight=1.0), seed=3)
    return bank


def test_volume_episodes_follow_one_body_through_one_window(volume_bank: EpisodeBank) -> None:
    seen_empty = 0
    for seed in range(30):
        episode = draw_episode(volume_bank, 64, 2, np.random.default_rng(seed), superpixels=0, empty=(0.3, 0))
        places = [s.position for s in episode.supports]
        assert episode.aligned
        assert episode.query.position not in places
        assert all(s.mask.any() for s in episode.supports)
        seen_empty += not episode.query.mask.any()
    assert 0 < seen_empty < 30


def test_class_episodes_ask_for_the_same_kind(scene_bank: EpisodeBank) -> None:
    """Within a made world a kind has one surface: support and query objects have about the same colour."""
    gaps = []
    for seed in range(20):
        episode = draw_episode(scene_bank, 64, 1, np.random.default_rng(seed), superpixels=0, empty=(0, 0))
        support, query = episode.supports[0], episode.query
        if query.mask.sum() < 40:
            continue
        own = support.image[support.mask].mean(0)
        gaps.append(np.abs(own - query.image[query.mask].mean(0)).mean() / 255)
    assert len(gaps) > 10
    assert np.median(gaps) < 0.1


def test_close_episodes_fit_their_object(volume_bank: EpisodeBank) -> None:
    shares: dict[float, list[float]] = {0.0: [], 1.0: []}
    for close, found in shares.items():
        for seed in range(30):
            episode = draw_episode(
                volume_bank, 64, 1, np.random.default_rng(seed), superpixels=0, empty=(0, 0), close=close
            )
            found.append(float(episode.supports[0].mask.mean()))
    assert min(shares[1.0]) > 0.02
    assert np.median(shares[1.0]) > np.median(shares[0.0])


def test_a_small_object_is_enlarged(volume_bank: EpisodeBank) -> None:
    areas = [
        draw_episode(volume_bank, 96, 1, np.random.default_rng(seed), superpixels=0, close=1.0)
        .supports[0]
        .mask.mean()
        for seed in range(20)
    ]
    assert max(areas) > 0.4  # at their own scale the balls are at most a quarter of such a window


def test_superpixel_episodes_need_no_annotation(scene_bank: EpisodeBank) -> None:
    episode = draw_episode(scene_bank, 64, 1, np.random.default_rng(0), superpixels=1.0)
    assert episode.supports[0].mask.any()
    assert episode.query.mask.any()


def test_an_episode_follows_from_seed_and_index_alone(scene_bank: EpisodeBank) -> None:
    one, other = (EpisodeSamples(scene_bank, EpisodeOptions(size=64), 5, 40) for _ in range(2))
    one[3]
    for key, value in other[17].items():
        assert torch.equal(value, one[17][key]), key


def test_supports_that_are_left_out_are_marked(scene_bank: EpisodeBank) -> None:
    samples = EpisodeSamples(scene_bank, EpisodeOptions(size=64, supports=3), 5, 40)
    counts = set()
    for i in range(12):
        item = samples[i]
        valid = item["support_valid"].bool()
        counts.add(int(valid.sum()))
        assert (item["support_truth"][~valid] == 0).all()
        assert (item["support_truth"][valid].flatten(1).sum(1) >= 30).all()
        assert (item["support_clicks"][valid][..., :2].amax((1, 2)) >= 0).all()
    assert counts == {1, 2, 3}


def test_predicted_support_masks_take_over_during_training(scene_bank: EpisodeBank) -> None:
    options = EpisodeOptions(size=64, supports=1, truth_from=1.0, truth_to=0.0)
    samples = EpisodeSamples(scene_bank, options, 5, 60)
    given = np.array([float(samples[i]["support_given"][0]) for i in range(60)])
    assert given[:10].mean() > given[-10:].mean() + 0.5


def test_a_made_series_shares_its_kinds() -> None:
    series = scene_series(np.random.default_rng(1), 96, 3)
    assert len(series) == 3
    assert all(image.shape == (96, 96, 3) and classes.max() <= 3 for image, classes in series)
    again = scene_series(np.random.default_rng(1), 96, 3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(series, again, strict=True))


def tiny_recipe(**options: object) -> Recipe:
    recipe = Recipe(
        name="tiny",
        backend="ifsenet",
        variant=TINY,
        seed=1,
        workers=1,
        samples={"size": 64, "supports": 2, "vary": 0.0},
        optim=OptimRecipe(steps=3, batch=2, rate=3e-3, warmup=1),
        loss=LossRecipe(free_forwards=1),
    )
    return replace(recipe, **options)  # type: ignore[arg-type]


def test_a_few_steps_lower_the_loss(volume_bank: EpisodeBank) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task, recipe = FewShotTask(), tiny_recipe()
    net = task.build(recipe).train()
    samples = task.samples(recipe, volume_bank, 100)
    batch = default_collate([samples[i] for i in range(4)])
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for step in range(16):
        rng = np.random.default_rng(step)
        made = task.loss(Step(net, batch, recipe, rng, lambda n, rng=rng: int(rng.integers(n))))
        assert set(made.terms) == set(WEIGHTS) - {"quality"}  # this support path does not judge its masks
        optimizer.zero_grad()
        made.total.backward()
        optimizer.step()
        losses.append(float(made.total.detach()))
    assert np.mean(losses[-3:]) < 0.85 * np.mean(losses[:3])


def test_every_parameter_learns(volume_bank: EpisodeBank) -> None:
    task, recipe = FewShotTask(), tiny_recipe()
    net = task.build(recipe).train()
    samples = task.samples(recipe, volume_bank, 100)
    batch = default_collate([samples[i] for i in range(60, 64)])
    rng = np.random.default_rng(0)
    task.loss(Step(net, batch, recipe, rng, lambda n: 0)).total.backward()
    still = [name for name, p in net.named_parameters() if p.grad is None]
    assert still == []


def test_queries_are_left_out_where_only_supports_learn(volume_bank: EpisodeBank) -> None:
    weights = {name: float(name in SUPPORT_TERMS) for name in WEIGHTS}
    recipe = tiny_recipe(loss=LossRecipe(terms=weights), optim=OptimRecipe(only=("support",)))
    net = FewShotTask().build(recipe).train()
    keep_fixed(net, recipe.optim.only)
    samples = FewShotTask().samples(recipe, volume_bank, 100)
    batch = default_collate([samples[i] for i in range(2)])
    terms = FewShotTask().loss(Step(net, batch, recipe, np.random.default_rng(0), lambda n: 0))
    assert set(terms.terms) == set(SUPPORT_TERMS) - {"quality"}
    terms.total.backward()
    learns = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert learns == {"support"}


def test_a_support_path_of_its_own_starts_from_a_click_starter_and_learns_to_judge_itself(
    volume_bank: EpisodeBank, tmp_path: Path
) -> None:
    widths = {"widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1)}
    clicks = backends.build("cfr-icl", {"trunk": "conv", **widths})
    own = Recipe(name="clicks", variant={"trunk": "conv", **widths})
    export(own, clicks.state_dict(), tmp_path / "clicks", {})
    export(tiny_recipe(), FewShotTask().build(tiny_recipe()).state_dict(), tmp_path / "old", {})
    weights = {name: float(name in SUPPORT_TERMS) for name in WEIGHTS}
    recipe = tiny_recipe(
        variant={**TINY, "fusion": "both"},
        start=str(tmp_path / "old"),
        support_start=str(tmp_path / "clicks"),
        loss=LossRecipe(terms=weights),
        optim=OptimRecipe(only=("own",)),
    )
    net = FewShotTask().build(recipe).train()
    for name, value in clicks.state_dict().items():
        assert torch.allclose(net.own.state_dict()[name], value, atol=2e-3), name  # half precision
    keep_fixed(net, recipe.optim.only)
    batch = default_collate([FewShotTask().samples(recipe, volume_bank, 100)[i] for i in range(2)])
    terms = FewShotTask().loss(Step(net, batch, recipe, np.random.default_rng(0), lambda n: 0))
    assert set(terms.terms) == set(SUPPORT_TERMS)
    terms.total.backward()
    assert net.own.quality[0].weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="starter-both"):
        FewShotTask().build(replace(recipe, variant=TINY))


def test_the_area_of_a_shot_is_the_whole_object_s(volume_bank: EpisodeBank) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        episode = draw_episode(volume_bank, 64, 1, rng, superpixels=0.0, empty=(0.0, 0.0))
        for shot in (*episode.supports, episode.query):
            assert shot.area >= 0.9 * np.count_nonzero(shot.mask)  # the window may cut it, resizing rounds


def test_a_term_is_switched_off_by_its_weight(volume_bank: EpisodeBank) -> None:
    task = FewShotTask()
    recipe = tiny_recipe(
        loss=LossRecipe(free_share=0, terms={name: 0.0 for name in WEIGHTS if name != "aux"})
    )
    net = task.build(recipe)
    samples = task.samples(recipe, volume_bank, 100)
    made = task.loss(Step(net, default_collate([samples[0]]), recipe, np.random.default_rng(0), lambda n: 0))
    assert float(made.total.detach()) == pytest.approx(made.terms["aux"])


def test_a_run_is_trained_validated_and_goes_on_exactly(tmp_path: Path, volume_bank: EpisodeBank) -> None:
    torch.set_num_threads(1)
    recipe = tiny_recipe(keep_every=1)
    validate = FewShotTask().validator(
        replace(recipe, validation=replace(recipe.validation, objects=2)), [ball_volume()]
    )
    whole = Trainer(recipe, volume_bank, tmp_path / "a", validate).run()
    assert (tmp_path / "a" / "best.ckpt").exists()
    scores = validate(whole, 3)
    assert 0 <= scores["score"] <= 1
    assert set(scores) == {"score", "iou", "iou_clicks", "alarm"}

    def killed(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, volume_bank, tmp_path / "b").run(killed)
    again = Trainer(recipe, volume_bank, tmp_path / "b").run()
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_the_recipe_that_ships_is_readable() -> None:
    folder = Path(__file__).parents[2] / "recipes"
    stages = [read_recipe(folder / f"ifsenet-starter{n}.toml") for n in ("-stage1", "-stage2", "")]
    assert all(episode_options(recipe).size % 32 == 0 for recipe in stages)
    assert [recipe.loss.weights(WEIGHTS)["alignment"] for recipe in stages[1:]] == [0.5, 0]
    assert stages[2].optim.only == ("own",)
    assert stages[2].support_start == "cfr-icl-starter"


@pytest.mark.parametrize(
    ("samples", "named"), [({"size": 100}, "100"), ({"sice": 64}, "sice"), ({"supports": 0}, "supports 0")]
)
def test_samples_that_cannot_be_are_refused(samples: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        episode_options(tiny_recipe(samples=samples))


def test_imagenet_needs_a_resnet() -> None:
    with pytest.raises(InputError, match="ResNet"):
        FewShotTask().build(tiny_recipe(start="imagenet"))


def test_the_click_starters_trunk_becomes_the_encoder() -> None:
    from napari_iseg.weights.store import load_model

    net = FewShotTask().build(tiny_recipe(variant="starter", start="cfr-icl-starter"))
    trunk = load_model("cfr-icl-starter", device="cpu").net.state_dict()
    assert all(torch.equal(value, trunk[key]) for key, value in net.encoder.state_dict().items())
