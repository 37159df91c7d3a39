"""Encodings kept in memory and on disk, and what else a second run takes over from the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from few_shot_scenes import blobs, tiny_model
from run_fakes import GreyPredictor, sparse
from run_fakes import blobs as volume_of_blobs

import napari_iseg as iseg
from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import InputError
from napari_iseg.fewshot import record
from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.base import Support
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.feature_cache import FeatureCache
from napari_iseg.fewshot.frame import Frame
from napari_iseg.fewshot.models import load_fewshot
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.fewshot.scratch import Draft, Scratch
from napari_iseg.fewshot.support_store import SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Window


@pytest.fixture(scope="module", params=["training-free", "ifsenet"])
def model(request: pytest.FixtureRequest) -> object:
    return tiny_model(eager=0.0) if request.param == "ifsenet" else load_fewshot(request.param, device="cpu")


def support(position: tuple[float, ...] = (), shift: int = 0) -> Support:
    image, labels = blobs(shift)
    return Support(f"s{shift}", image, labels, (), position, True, 7, bool(position))


class Counting:
    """A model that counts what it encodes, and hands on the rest."""

    def __init__(self, model: object) -> None:
        self._model, self.encoded = model, 0

    def encode(self, image: np.ndarray) -> object:
        self.encoded += 1
        return self._model.encode(image)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)


def answer(model: object, cache: FeatureCache) -> np.ndarray:
    predictor = ModelPredictor(model, cache)  # type: ignore[arg-type]
    supports = [support((0.0,)), support((8.0,), 8)]
    return predictor.predict_unit(blobs(4)[0], (4.0,), supports, [1]).probability


def test_answers_are_the_same_bits_with_features_from_disk(model: object, tmp_path: Path) -> None:
    counting = Counting(model)
    plain = answer(counting, FeatureCache(2**30))
    first = answer(counting, FeatureCache(0, DiskCache(tmp_path)))
    made = counting.encoded
    second = answer(counting, FeatureCache(0, DiskCache(tmp_path)))  # as another process would
    assert counting.encoded == made
    assert np.array_equal(plain, first)
    assert np.array_equal(plain, second)


def test_a_damaged_file_is_encoded_anew(model: object, tmp_path: Path) -> None:
    counting = Counting(model)
    plain = answer(counting, FeatureCache(0, DiskCache(tmp_path)))
    made = counting.encoded
    for path in tmp_path.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(bytes(content))
    assert np.array_equal(plain, answer(counting, FeatureCache(0, DiskCache(tmp_path))))
    assert counting.encoded == 2 * made


def test_a_disk_that_cannot_be_written_ends_no_run(model: object, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    cache = FeatureCache(2**30, DiskCache(blocked / "features"))
    assert answer(model, cache).shape == (2, 96, 96)
    assert cache.disk is None


def test_a_run_finds_its_features_again_and_answers_the_same(tmp_path: Path) -> None:
    volume, truth = volume_of_blobs(side=64)
    labels, counting = sparse(truth, 2), Counting(tiny_model(eager=0.0))
    outs = {}
    for name, room in (("plain", 0), ("first", "50 MB")):
        outs[name] = tmp_path / f"{name}.zarr"
        propagate(volume, labels, outs[name], counting, features=room)  # type: ignore[arg-type]
    made = counting.encoded
    labels[2, 0, 0] = 1  # a correction, in a process that has encoded nothing yet
    report = propagate(volume, labels, outs["first"], counting, features="50 MB", existing="resume")  # type: ignore[arg-type]
    assert report.computed == 5
    assert counting.encoded == made
    propagate(volume, labels, outs["plain"], counting, existing="resume")  # type: ignore[arg-type]
    assert counting.encoded > made
    one, other = (np.asarray(LabelStore.open(out).levels[0][...]) for out in outs.values())
    assert np.array_equal(one, other)
    assert not (tmp_path / "plain.zarr.run" / "features").exists()


def test_an_embedding_is_made_anew_for_another_position(model: object) -> None:
    predictor = ModelPredictor(model, FeatureCache(2**30))  # type: ignore[arg-type]
    kept = [(0.0,), (8.0,)]
    wide = [(0.0,), (80.0,)]
    image = blobs(4)[0]
    places = {}
    for name, positions in (("kept", kept), ("wide", wide), ("again", kept)):
        supports = [support(positions[0]), support(positions[1], 8)]
        places[name] = predictor.predict_unit(image, (4.0,), supports, [1]).probability
    assert np.array_equal(places["kept"], places["again"])
    assert not np.array_equal(places["kept"], places["wide"])


def test_embeddings_keep_no_images_and_stay_within_their_share() -> None:
    model = tiny_model(eager=0.0)
    one = support((0.0,))
    made = model.embed(one, model.encode(one.image), [1])
    assert made.support.image.strides == (0, 0, 0), "one black pixel, however large the support"
    assert np.array_equal(made.support.mask, one.mask)
    predictor = ModelPredictor(model, FeatureCache(2**20))  # type: ignore[arg-type]
    image = np.full((16, 16, 3), 0.5, np.float32)
    many = [Support(str(z), image + z / 100, np.eye(16, dtype=np.int32), (), (float(z),)) for z in range(40)]
    for other in many:
        predictor.reliability(other, [1])
    kept = predictor._embeddings
    assert len(kept) == 32
    assert next(reversed(kept))[0] == "39"


def test_a_key_that_comes_back_is_another_support() -> None:
    model = tiny_model(eager=0.0)
    fewshot, plain = iseg.FewShot(model), iseg.FewShot(model)
    (first, labels), (second, others) = blobs(0), blobs(12)
    fewshot.add_support(first, mask=labels, key="a")
    fewshot.segment(blobs(6)[0])
    fewshot.remove_support("a")
    fewshot.add_support(second, mask=others, key="a")
    plain.add_support(second, mask=others, key="a")
    assert np.array_equal(fewshot.segment(blobs(6)[0]).probability, plain.segment(blobs(6)[0]).probability)


def test_another_spacing_makes_a_finished_run_stale(tmp_path: Path) -> None:
    volume, truth = volume_of_blobs()
    out = tmp_path / "rest.zarr"
    computed = []
    for scale in ((1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (5.0, 1.0, 1.0)):
        report = propagate(
            volume,
            sparse(truth, 2),
            out,
            GreyPredictor(),
            scale=scale,
            existing="resume" if computed else "ask",
        )
        computed.append(report.computed)
        predicted = round(report.megapixels_per_second * report.seconds * 1e6)
        assert predicted == (4 * 24 * 24 if report.computed else 0), "the annotated slice is no prediction"
    assert computed == [5, 5, 0]


def test_supports_in_memory_are_not_read_again(tmp_path: Path) -> None:
    volume, truth = volume_of_blobs()
    source, frame = PlaneSource.wrap(volume), Frame.of(volume.shape)
    window = Window.of_shape(frame.plane_shape)
    one = 24 * 24 * (3 * 4 + 4)
    store = SupportStore(tmp_path, 2 * one)
    refs = [store.add(source, (z,), window, (float(z),), truth[z].astype(np.int32)) for z in range(3)]
    held = [store.read(ref, source) for ref in refs[::-1]]
    again = [store.read(ref, source) for ref in refs[::-1]]
    assert again[0] is not held[0], "the third was let go of when the first was read"
    other = SupportStore(tmp_path).read(refs[0], source)
    assert np.array_equal(other.image, again[2].image)
    assert (other.whole, other.position, other.labels) == (again[2].whole, (0.0,), again[2].labels)


@pytest.mark.parametrize("size", [0, 0.5])
def test_a_support_that_a_power_cut_left_half_written_is_written_again(tmp_path: Path, size: float) -> None:
    volume, truth = volume_of_blobs()
    source, frame, store = PlaneSource.wrap(volume), Frame.of(volume.shape), SupportStore(tmp_path)
    given = (source, (0,), Window.of_shape(frame.plane_shape), (0.0,), truth[0].astype(np.int32))
    ref = store.add(*given)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(size * len(whole))])
    with pytest.raises(InputError, match="start the run again"):
        SupportStore(tmp_path).read(ref, source)
    assert SupportStore(tmp_path).add(*given) == ref
    assert np.array_equal(SupportStore(tmp_path).read(ref, source).mask, given[-1])


def test_clicks_in_numpy_numbers_are_the_same_clicks(tmp_path: Path) -> None:
    volume, truth = volume_of_blobs()
    source, frame, store = PlaneSource.wrap(volume), Frame.of(volume.shape), SupportStore(tmp_path)
    given = (source, (0,), Window.of_shape(frame.plane_shape), (0.0,), truth[0].astype(np.int32))
    plain = store.add(*given, [(1, Click(5, 6.5))])
    ours = store.add(*given, [(np.int64(1), Click(np.int64(5), np.float64(6.5), np.bool_(True)))])  # type: ignore[arg-type]
    assert ours == plain


@pytest.mark.parametrize("change", [1, 14, 255])
def test_a_damaged_draft_or_support_counts_as_missing(tmp_path: Path, change: int) -> None:
    scratch, store = Scratch(tmp_path / "drafts"), SupportStore(tmp_path / "supports")
    scratch.folder.mkdir()
    scratch.write("u", Draft(np.ones((1, 4, 4), np.float32), 0.5, np.ones(1, np.float32)))
    given = PlaneSource.wrap(blobs()[0]), (), Window(0, 0, 8, 8), (), np.ones((8, 8), np.int32)
    ref = store.add(*given)
    files = [*scratch.folder.iterdir(), *store.folder.iterdir()]
    for path in files:
        content = bytearray(path.read_bytes())
        content[content.rfind(b"PK\x01\x02") + 10] ^= change  # how the last array is compressed
        path.write_bytes(content)
    assert scratch.read("u") is None
    with pytest.raises(InputError, match="start the run again"):
        SupportStore(store.folder).read(ref, None)
    assert store.add(*given) == ref, "it is written anew"
    assert SupportStore(store.folder).read(ref, None).labels == (1,)


def test_a_journal_that_is_mostly_out_of_date_is_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, truth = volume_of_blobs()
    labels, out = sparse(truth, 2), tmp_path / "rest.zarr"
    journal = tmp_path / "rest.zarr.run" / "journal.jsonl"
    propagate(volume, labels, out, GreyPredictor())
    whole = len(journal.read_text().splitlines())
    monkeypatch.setattr(record, "_MOST_LINES", 2 * whole)
    lengths = []
    for round_ in range(8):
        labels[2, 0, round_] = 1
        propagate(volume, labels, out, GreyPredictor(), existing="resume")
        lengths.append(len(journal.read_text().splitlines()))
    assert max(lengths) < 6 * whole
    assert min(lengths[3:]) <= 2 * whole
    again = propagate(volume, labels, out, GreyPredictor(), existing="resume")
    assert (again.computed, again.kept) == (0, 5)


def test_the_plane_in_view_comes_next_whatever_was_begun(tmp_path: Path) -> None:
    volume, truth = volume_of_blobs(depth=8)
    control, fake = Control(), GreyPredictor()
    seen: list[int] = []

    def look_elsewhere(entry: Progress | Written) -> None:
        if isinstance(entry, Written):
            seen.append(entry.plane[0])
            control.focus = ((7,), (3,))[len(seen) > 3]

    propagate(
        volume, sparse(truth, 0), tmp_path / "rest.zarr", fake, control=control, listener=look_elsewhere
    )
    assert sorted(seen) == list(range(8))
    assert seen.index(7) < seen.index(6)


def test_a_head_is_fitted_to_a_bounded_number_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_iseg.fewshot import free_fit

    seen = []

    class Watched(free_fit.PixelHead):
        def __init__(self, rows: object, *rest: object) -> None:
            seen.append(len(rows))  # type: ignore[arg-type]
            super().__init__(rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(free_fit, "PixelHead", Watched)
    model = load_fewshot("training-free", device="cpu")
    supports = [support((float(z),), z) for z in range(0, 8, 2)]
    ModelPredictor(model, FeatureCache(2**30)).predict_unit(blobs(3)[0], (3.0,), supports, [1])  # type: ignore[arg-type]
    assert max(seen) == 2048
    assert sorted(seen)[-2] == 512
