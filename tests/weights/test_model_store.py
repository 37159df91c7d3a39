"""Where models are found, and that finding them loads no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError, SaveError
from napari_iseg.weights.fetch import FetchOptions, fetch
from napari_iseg.weights.store import Store, how_to_get, load_model, thin_model_of


def card(name: str, **more) -> ModelCard:
    return ModelCard(name, "cfr-icl", more.pop("variant", "vit-b"), **more)


def put(folder, model: ModelCard, weights: bool) -> None:
    write_card(model, folder / model.name)
    if weights:
        (folder / model.name / model.weights).write_bytes(b"x")


def test_published_cards_ship_with_the_package(tmp_path):
    cards = {c.name: c for c in Store(tmp_path).list_models()}
    assert len(cards["cfr-icl-cocolvis-vit-h"].files) == 3
    published = [c for c in cards.values() if c.names == "published"]
    assert len(published) >= 8
    for model in published:
        assert not model.is_local
        assert model.licence
        assert model.licence_url.startswith("https://")
        assert bool(model.files) != bool(model.manual_url)
    assert Store(tmp_path).problems() == {}


@pytest.mark.parametrize("name", ["simpleclick-vit-xtiny", "is5net-dis-sam"])
def test_of_a_file_whose_name_is_not_known_only_the_place_is_told(tmp_path, name):
    told = how_to_get(Store(tmp_path).find(name))
    assert "whose exact name is not known to us" in told
    assert ".pth" not in told
    assert f"import FILE --name {name}" in told


def test_the_home_folder_follows_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "there"))
    assert Store().user_folder == tmp_path / "there" / "models"
    assert Store(tmp_path / "given").home == tmp_path / "given"


def test_a_miss_names_the_nearest_and_the_list_command(store):
    put(store.shipped, card("cfr-icl-starter"), weights=True)
    with pytest.raises(ModelNotFoundError, match=r"did you mean cfr-icl-starter\?.*napari-iseg models list"):
        store.find("cfr-icl-startr")
    with pytest.raises(ModelNotFoundError, match="did you mean cfr-icl-starter"):
        load_model("CFR-ICL-Starter", store=store)
    with pytest.raises(ModelNotFoundError, match="none has a name like it"):
        store.find("zzzz")
    with pytest.raises(InputError, match="by its name, got a NoneType"):
        store.find(None)


def test_a_user_card_completes_a_published_one_and_never_hides_a_shipped_one(store):
    put(store.shipped, card("published"), weights=False)
    put(store.shipped, card("starter", title="shipped"), weights=True)
    put(store.shipped, card("taken"), weights=False)
    put(store.user_folder, card("published"), weights=True)
    put(store.user_folder, card("starter", title="mine"), weights=True)
    put(store.user_folder, card("taken", variant="vit-h"), weights=True)
    assert store.find("published").is_local
    assert store.find("starter").title == "shipped"
    assert store.find("starter@user").title == "mine"
    assert not store.find("taken").is_local
    assert store.find("taken@user").variant == "vit-h"


def test_a_damaged_card_is_reported_and_hides_no_other(store):
    put(store.user_folder, card("good"), weights=True)
    (store.user_folder / "bad").mkdir()
    (store.user_folder / "bad" / "card.toml").write_text("name = ")
    put(store.user_folder, card("renamed"), weights=True)
    (store.user_folder / "renamed").rename(store.user_folder / "elsewhere")
    assert [c.name for c in store.list_models()] == ["good"]
    assert list(store.problems()) == ["bad", "elsewhere"]


def test_asked_for_by_name_a_damaged_card_says_what_is_wrong_with_it(store):
    put(store.user_folder, card("fine"), weights=True)
    put(store.user_folder, card("bad"), weights=True)
    (store.user_folder / "bad" / "card.toml").write_text("name = ")
    for ask in (store.find, lambda name: load_model(name, store=store)):
        with pytest.raises(CheckpointError, match=r"card .*bad.card\.toml cannot be read"):
            ask("bad")


def test_listing_and_finding_load_no_torch(tmp_path):
    code = (
        "import sys, napari_iseg as iseg; from napari_iseg.weights.store import Store; "
        f"Store({str(tmp_path)!r}).find('cfr-icl-cocolvis-vit-h'); assert iseg.list_models(); "
        "import napari_iseg.cli.models; assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_click_model_brings_the_model_for_thin_structures_that_it_names(store):
    shipped = Store().shipped
    shutil.copytree(shipped / "cfr-icl-starter", store.shipped / "cfr-icl-starter")
    with pytest.raises(ModelNotFoundError, match="no model 'thin-starter'"):
        load_model("cfr-icl-starter", device="cpu", store=store)
    shutil.copytree(shipped / "thin-starter", store.shipped / "thin-starter")
    model = load_model("cfr-icl-starter", device="cpu", store=store)
    helper = model.helpers["thin-starter"]
    assert thin_model_of(model) is helper
    assert thin_model_of(model.with_inference(flip=True)) is helper


@pytest.mark.parametrize("asked", [None, 3, ModelCard("x", "cfr-icl", "vit-b")], ids=repr)
def test_what_is_neither_a_name_nor_a_path_is_refused(asked):
    with pytest.raises(InputError, match="by its name or the path of its file, got a"):
        load_model(asked)


def test_a_path_that_no_file_can_have_is_refused_in_words(store, tmp_path):
    for name in ("a\0b.pth", "a" * 5000 + ".pth", "a" * 5000 + "/b.pth"):
        with pytest.raises(CheckpointError, match=r"cannot be read .*; check the path"):
            load_model(name, store=store)
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(ModelNotFoundError, match="There is no model"):
            load_model(name, store=store)
    for name in ("x.pth", "x.PTH"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_model(tmp_path / name, store=store)


@pytest.mark.parametrize("name", ["folder", "folder.pth"])
def test_a_folder_without_a_card_is_called_so(store, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"has no card\.toml; give the weights file in it"):
        load_model(tmp_path / name, store=store)


def test_an_empty_name_is_no_folder(store):
    with pytest.raises(ModelNotFoundError, match="There is no model ''"):
        load_model("", store=store)


def test_a_setting_that_names_no_model_for_thin_structures_is_refused():
    model = load_model("cfr-icl-starter", device="cpu")
    with pytest.raises(InputError, match="not for thin structures"):
        thin_model_of(model.with_inference(thin="cfr-icl-starter"))
    with pytest.raises(ModelNotFoundError, match="thin-starte"):
        thin_model_of(model.with_inference(thin="thin-starte"))
    assert list(model.helpers) == ["thin-starter"]


@pytest.fixture
def no_home(monkeypatch):
    """An account without a home, as in a container that runs under a number."""
    pwd = pytest.importorskip("pwd")

    def nobody(uid):
        raise KeyError(uid)

    for variable in ("HOME", "XDG_DATA_HOME", "NAPARI_ISEG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(pwd, "getpwnam", nobody)


def test_without_a_home_there_are_the_shipped_models_and_no_place_for_others(no_home, monkeypatch, tmp_path):
    store = Store()
    assert "cfr-icl-starter" in {model.name for model in store.list_models()}
    assert store.problems() == {}
    assert store.weights_of(store.find("cfr-icl-starter")).is_file()
    with pytest.raises(ModelNotFoundError, match=r"models fetch cfr-icl-cocolvis-vit-h`\."):
        store.weights_of(store.find("cfr-icl-cocolvis-vit-h"))
    with pytest.raises(SaveError, match=r"no home folder.*set NAPARI_ISEG_HOME"):
        fetch("cfr-icl-cocolvis-vit-h", store, FetchOptions(accept_licence=True))
    monkeypatch.setenv("NAPARI_ISEG_HOME", "~/mine")  # has no meaning either
    with pytest.raises(SaveError, match="no home folder"):
        _ = Store().user_folder
    with pytest.raises(InputError, match=r"no home folder for '~nobody/x\.pth'"):
        load_model("~nobody/x.pth", store=store)
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path))
    assert Store().user_folder == tmp_path / "models"
