"""Import: recognised from contents, rewritten, refused with what is nearest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_form import SIZES, published_state
from safetensors.torch import load_file, save_file

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard, read_card, write_card
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError, SaveError
from napari_iseg.files import temporary_beside
from napari_iseg.weights import safetensors_writer
from napari_iseg.weights.checkpoint import open_checkpoint
from napari_iseg.weights.importer import ImportOptions, import_file
from napari_iseg.weights.recognise import unwrapped
from napari_iseg.weights.store import Store, load_model
from napari_iseg.weights.verify import sha256_of, verify


def small_input():
    torch.manual_seed(3)
    return (
        torch.rand(1, 3, 224, 224),
        torch.zeros(1, 1, 224, 224),
        torch.tensor([[[50.0, 60.0, 0], [-1, -1, -1]]]),
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_published_file_becomes_a_model_with_the_same_answers(save_published, store, zipped):
    path = save_published("My Weights.pth", _use_new_zipfile_serialization=zipped)
    card = import_file(path, store, ImportOptions(licence="MIT"))
    assert (card.name, card.backend, card.licence, card.names) == (
        "my-weights",
        "cfr-icl",
        "MIT",
        "published",
    )
    assert dict(card.variant) == SIZES
    assert store.find("my-weights") == card == read_card(store.user_folder / "my-weights")
    assert card.sha256 == sha256_of(card.weights_path)
    assert card.size_bytes == card.weights_path.stat().st_size

    stored = load_file(card.weights_path)
    assert all(torch.equal(stored[key], value) for key, value in published_state().items())
    imported = load_model("my-weights", device="cpu", store=store)
    direct = load_model(path, device="cpu", store=store)
    assert torch.equal(imported.logits(*small_input()), direct.logits(*small_input()))
    assert verify(card).ok


def test_half_precision_halves_the_file_and_hardly_changes_the_answer(save_published, store):
    path = save_published()
    whole = import_file(path, store, ImportOptions(name="whole"))
    half = import_file(path, store, ImportOptions(name="half", half=True))
    assert half.size_bytes < 0.6 * whole.size_bytes
    answers = [load_model(n, device="cpu", store=store).logits(*small_input()) for n in ("whole", "half")]
    assert 0 < (answers[0] - answers[1]).abs().max() < 0.02


def test_a_bare_state_dict_is_recognised_from_shapes_alone(tmp_path, store):
    path = tmp_path / "bare.pt"
    torch.save({f"module.{key}": value for key, value in published_state().items()}, path)
    card = import_file(path, store)
    assert {**card.variant, "num_heads": 2} == SIZES


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["pth", "safetensors"])
@pytest.mark.parametrize("prefix", ["model.", "net.module."])
def test_the_name_that_training_code_kept_the_network_under_is_taken_off(tmp_path, store, save, prefix):
    path = tmp_path / "kept"
    save({prefix + key: value for key, value in published_state().items()}, path)
    card = import_file(path, store)
    assert load_file(card.weights_path).keys() == published_state().keys()
    assert load_model(path, device="cpu").card.variant == card.variant
    save({"model.weight": torch.ones(2), "model.bias": torch.ones(1)}, path)
    with open_checkpoint(path) as file:
        assert unwrapped(file).shapes.keys() == {"model.weight", "model.bias"}  # may be its own


def test_a_truth_value_is_no_number_of_heads(tmp_path, store):
    path = tmp_path / "odd.pth"
    torch.save({"state_dict": published_state(), "config": {"num_heads": True, "img_size": [True, 1]}}, path)
    assert import_file(path, store).variant["num_heads"] == 1  # as where nothing is said
    with open_checkpoint(path) as file:
        assert file.hints == {}


@pytest.mark.parametrize("stated", [np.int64(2), np.uint8(2), np.float32(2), 2.0, [2], (2.0, np.int16(2))])
def test_heads_count_however_the_file_states_them(tmp_path, store, stated):
    said = []
    torch.save({"state_dict": published_state(), "config": {"num_heads": stated}}, tmp_path / "a.pth")
    assert dict(import_file(tmp_path / "a.pth", store, ImportOptions(tell=said.append)).variant) == SIZES
    assert said == []


@pytest.mark.parametrize("stated", [5, 2.5, [2, 4], np.int64(-2)])
def test_heads_that_cannot_be_are_named(tmp_path, store, stated):
    said = []
    torch.save({"state_dict": published_state(), "config": {"num_heads": stated}}, tmp_path / "a.pth")
    assert import_file(tmp_path / "a.pth", store, ImportOptions(tell=said.append)).variant["num_heads"] == 1
    (told,) = said
    assert told.startswith(f"The file states {stated} attention heads, which its network cannot have; 1 were")


def test_a_guess_of_the_heads_is_said_and_can_be_corrected(tmp_path, store):
    path = tmp_path / "bare.pt"
    torch.save(published_state(), path)
    said = []
    assert import_file(path, store, ImportOptions(tell=said.append)).variant["num_heads"] == 1
    assert len(said) == 1
    assert "how many attention heads" in said[0]
    assert "1 were assumed" in said[0]
    corrected = ImportOptions(overwrite=True, heads=2, tell=said.append)
    assert dict(import_file(path, store, corrected).variant) == SIZES
    assert len(said) == 1
    with pytest.raises(CheckpointError, match="cannot have 3 attention heads"):
        import_file(path, store, ImportOptions(name="odd", heads=3))


def test_heads_that_the_file_states_are_not_overruled(save_published, store, tmp_path):
    path = save_published()  # its configuration says 2, the header of the imported one too
    card = import_file(path, store, ImportOptions(name="stated", heads=2))
    copy = tmp_path / "moved.safetensors"
    copy.write_bytes(card.weights_path.read_bytes())
    other = ImportOptions(name="other", heads=4)
    for stated in (path, copy, card.weights_path):  # the last lies beside its card
        with pytest.raises(CheckpointError, match="states 2 attention heads, and --heads 4 was given; leave"):
            import_file(stated, store, other)
    torch.save({"state_dict": published_state(), "config": {"num_heads": 5}}, tmp_path / "odd.pth")
    corrected = import_file(tmp_path / "odd.pth", store, other)  # 16 wide, so 5 can only be wrong
    assert corrected.variant["num_heads"] == 4


def test_heads_that_shapes_show_are_not_called_a_guess(store, tmp_path):
    sizes = {"embed_dim": 32, "depth": 1, "num_heads": 2, "global_attn_indexes": [0], "img_size": 64}
    with torch.device("meta"):
        shapes = backends.build("sam", {**sizes, "prompt_dim": 32, "mlp_dim": 8, "iou_dim": 8}).state_dict()
    torch.save({key: torch.zeros(value.shape) for key, value in shapes.items()}, tmp_path / "sam.pth")
    said = []
    assert import_file(tmp_path / "sam.pth", store, ImportOptions(tell=said.append)).variant["num_heads"] == 2
    assert said == []
    with pytest.raises(CheckpointError, match="cannot have 4 attention heads"):
        import_file(tmp_path / "sam.pth", store, ImportOptions(name="other", heads=4))


def test_a_card_without_weights_states_the_heads_of_a_bare_file(store, tmp_path):
    waiting = ModelCard("mine", "cfr-icl", SIZES, weights="bare.safetensors", names="published")
    write_card(waiting, store.shipped / "mine")
    torch.save(published_state(), tmp_path / "bare.pth")
    said = []
    with pytest.raises(CheckpointError, match="states 2 attention heads, and --heads 4"):
        import_file(tmp_path / "bare.pth", store, ImportOptions(heads=4))
    assert import_file(tmp_path / "bare.pth", store, ImportOptions(tell=said.append)).variant == SIZES
    assert said == []


def test_an_imported_card_has_the_prompts_of_shipped_and_trained_ones(save_published, store):
    imported = import_file(save_published(), store)
    shipped = Store().list_models()
    assert imported.prompts == load_model(save_published(), device="cpu").card.prompts == ("click",)
    for card in shipped:
        assert card.prompts == tuple(sorted(backends.get(card.backend).prompts)), card.name


def test_a_file_that_is_damaged_inside_leaves_nothing_behind(save_published, store):
    path = save_published()
    body = bytearray(path.read_bytes())
    at = body.index(published_state()["backbone.blocks.0.mlp.fc1.weight"].numpy().tobytes())
    body[at] ^= 0xFF
    path.write_bytes(bytes(body))
    with pytest.raises(CheckpointError):
        import_file(path, store)
    assert list(store.user_folder.iterdir()) == []


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_with_their_names(tmp_path, save_published, store, number):
    kept = import_file(save_published(), store, ImportOptions(name="mine"))
    state = published_state()
    names = [key for key in state if key.endswith("attn.qkv.weight")][:2]
    for key in names:
        state[key].view(-1)[5] = number
    torch.save(state, tmp_path / "failed.pt")
    with pytest.raises(
        CheckpointError, match=f"NaN or infinity in '{names[0]}', '{names[1]}': it is damaged"
    ):
        import_file(tmp_path / "failed.pt", store, ImportOptions(name="mine", overwrite=True))
    assert sha256_of(kept.weights_path) == kept.sha256  # the model of that name is as it was
    with pytest.raises(CheckpointError):
        import_file(tmp_path / "failed.pt", store, ImportOptions(name="new"))
    assert [folder.name for folder in store.user_folder.iterdir()] == ["mine"]
    with pytest.raises(CheckpointError, match=f"NaN or infinity in '{names[0]}'"):
        load_model(tmp_path / "failed.pt", store=store)


def test_numbers_beyond_16_bits_are_not_halved_to_infinity(tmp_path, store):
    state = published_state()
    state["backbone.blocks.0.mlp.fc1.weight"].view(-1)[0] = 1e6
    torch.save(state, tmp_path / "large.pt")
    with pytest.raises(InputError, match=r"'backbone.blocks.0.mlp.fc1.weight' are too large .*--half"):
        import_file(tmp_path / "large.pt", store, ImportOptions(half=True))
    assert import_file(tmp_path / "large.pt", store).size_bytes


def test_an_own_safetensors_file_describes_itself(save_published, store, tmp_path):
    card = import_file(save_published(), store)
    copy = tmp_path / "moved.safetensors"
    copy.write_bytes(card.weights_path.read_bytes())
    assert dict(import_file(copy, store).variant) == SIZES
    assert load_model(copy, device="cpu", store=store).card.variant == SIZES


WIDE = {**SIZES, "embed_dim": 32}


@pytest.mark.parametrize(
    ("variant", "names", "sentence"),
    [
        (
            "vit-xtiny",
            "published",
            "says CFR-ICL vit-xtiny, but its tensors are those of CFR-ICL plain ViT, 4",
        ),
        (WIDE, "published", "of own sizes, but its tensors are those of CFR-ICL plain ViT, 4 blocks"),
        (
            WIDE,
            "own",
            "does not fit CFR-ICL of own sizes: patch_embed_coords.proj.weight is 16 x 3 x 16 x 16",
        ),
        (
            {**SIZES, "embed_dim": 10**9},
            "own",
            "the embed_dim it states is more than its 100 tensors can hold",
        ),
        ({**SIZES, "depth": 10**9}, "own", "the depth it states is more than its 100 tensors can hold"),
        ({"trunk": "conv", "widths": [-8] * 4}, "own", "the sizes it states describe no network of CFR-ICL"),
        (SIZES, "zzz", "neither 'own' nor 'published'"),
        (None, "own", "the variant in its header cannot be read"),
    ],
)
def test_a_header_that_lies_is_refused_and_takes_no_memory(
    tmp_path, store, monkeypatch, variant, names, sentence
):
    stated = json.dumps(variant) if variant else "[" * 100_000
    path = tmp_path / "lie.safetensors"
    save_file(published_state(), path, {"backend": "cfr-icl", "variant": stated, "names": names})
    built, build = [], backends.build
    monkeypatch.setattr(backends, "build", lambda *sizes: built.append(build(*sizes)) or built[-1])
    for take in (lambda: import_file(path, store), lambda: load_model(path, store=store)):
        with pytest.raises(CheckpointError, match=sentence):
            take()
    assert not store.user_folder.exists()
    assert all(value.is_meta for net in built for value in net.state_dict().values())


def test_a_card_of_other_sizes_than_its_file_is_refused_before_memory_is_taken(tmp_path):
    save_file(published_state(), tmp_path / "model.safetensors")
    write_card(ModelCard("big", "cfr-icl", {**SIZES, "depth": 10**9}), tmp_path)
    with pytest.raises(CheckpointError, match="the depth it states is more than"):
        load_model(tmp_path, device="cpu")


def test_a_file_beside_its_card_keeps_the_card(tmp_path, store):
    folder = tmp_path / "trained"
    net = backends.build("cfr-icl", SIZES)
    folder.mkdir()
    save_file(net.state_dict(), folder / "best.safetensors")
    write_card(
        ModelCard("trained", "cfr-icl", SIZES, title="Mine", licence="CC0", weights="best.safetensors"),
        folder,
    )
    card = import_file(folder / "best.safetensors", store)
    assert (card.name, card.title, card.licence, card.names) == ("trained", "Mine", "CC0", "own")
    assert load_model(folder, device="cpu").card.title == "Mine"
    assert load_model(folder / "best.safetensors", device="cpu").card.title == "Mine"
    (folder / "best.safetensors").rename(folder / "other.safetensors")  # not the one the card is about
    assert load_model(folder / "other.safetensors", device="cpu").card.title != "Mine"

    state = net.state_dict()
    state["surplus"] = torch.zeros(1)
    save_file(state, folder / "best.safetensors")
    with pytest.raises(CheckpointError, match="unexpected surplus"):
        import_file(folder / "best.safetensors", store, ImportOptions(name="other"))


def test_foreign_weights_are_refused_with_the_nearest_network_and_first_differences(tmp_path, store):
    state = published_state()
    state["backbone.blocks.0.gamma"] = torch.zeros(16)
    del state["neck.down_16.0.bias"]
    path = tmp_path / "foreign.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="nearest is CFR-ICL") as caught:
        import_file(path, store)
    assert "missing neck.down_16.0.bias" in str(caught.value)
    assert "unexpected backbone.blocks.0.gamma" in str(caught.value)
    assert not store.user_folder.exists()


def test_weights_of_ours_without_their_card_are_refused_and_the_card_is_named(tmp_path, store):
    shipped = Store().find("cfr-icl-starter")
    shutil.copy(shipped.folder / shipped.weights, tmp_path)
    with pytest.raises(CheckpointError, match=r"put the card\.toml from there beside it"):
        import_file(tmp_path / shipped.weights, store)


def test_another_network_than_demanded_is_refused_with_both(save_published, store):
    path = save_published()
    with pytest.raises(
        CheckpointError, match=r"recognised as CFR-ICL plain ViT, 4 blocks .* vit-b was expected"
    ):
        import_file(path, store, ImportOptions(variant="vit-b"))
    with pytest.raises(InputError, match="no variant 'vit-z'"):
        import_file(path, store, ImportOptions(variant="vit-z"))
    with pytest.raises(ModelNotFoundError, match="no backend"):
        import_file(path, store, ImportOptions(backend="cfr"))
    assert import_file(path, store, ImportOptions(backend="cfr-icl")).name == "published"


def test_a_shipped_card_without_weights_lends_its_words(save_published, store):
    write_card(
        ModelCard(
            "known",
            "cfr-icl",
            SIZES,
            title="Known",
            licence="MIT",
            manual_url="https://example.org",
            weights="published.safetensors",
        ),
        store.shipped / "known",
    )
    with pytest.raises(
        ModelNotFoundError, match=r"https://example.org and run .*import published.pth --name known"
    ):
        load_model("known", store=store)
    card = import_file(save_published(), store)  # found by the published file's name
    assert (card.name, card.title, card.licence) == ("known", "Known", "MIT")
    assert store.find("known").is_local

    other = replace(card, name="other", variant={**SIZES, "depth": 8}, weights="x.safetensors")
    write_card(other, store.shipped / "other")
    with pytest.raises(CheckpointError, match="but the model other is"):
        import_file(save_published(), store, ImportOptions(name="other"))


def test_nobody_is_told_the_name_of_a_file_that_is_not_known(save_published, store):
    where = "https://example.org/folder"
    write_card(ModelCard("unnamed", "cfr-icl", SIZES, manual_url=where), store.shipped / "unnamed")
    with pytest.raises(ModelNotFoundError, match=f"look in {where} for .*, whose exact name is not known"):
        load_model("unnamed", store=store)
    assert import_file(save_published("model.pth"), store).name == "model"  # not taken for that file
    assert import_file(save_published("x.pth"), store, ImportOptions(name="unnamed")).manual_url == where


def test_names_are_checked_and_never_taken_over_silently(save_published, store):
    path = save_published()
    with pytest.raises(InputError, match="cannot be a model's name"):
        import_file(path, store, ImportOptions(name="../up"))
    card = import_file(path, store, ImportOptions(name="mine"))
    with pytest.raises(InputError, match="already"):
        import_file(path, store, ImportOptions(name="mine"))
    again = import_file(path, store, ImportOptions(name="mine", overwrite=True, half=True))
    assert again.size_bytes < card.size_bytes
    write_card(replace(card, name="starter"), store.shipped / "starter")
    (store.shipped / "starter" / card.weights).write_bytes(b"x")
    with pytest.raises(InputError, match="ships with"):
        import_file(path, store, ImportOptions(name="starter", overwrite=True))


def test_a_full_disk_leaves_nothing_behind(save_published, store, monkeypatch):
    path = save_published()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors_writer.struct, "pack", full)
    with pytest.raises(SaveError, match="No space left"):
        import_file(path, store)
    assert list(store.user_folder.iterdir()) == []


def test_a_refused_overwrite_leaves_the_model_of_before(save_published, store, monkeypatch):
    path = save_published()
    card = import_file(path, store, ImportOptions(name="mine"))
    folder = store.user_folder / "mine"
    (folder / "notes.txt").write_text("of the user's")
    (folder / "later.txt").symlink_to("not there yet")
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.exists()}

    def full(*_):
        raise SaveError("The model card could not be written: No space left on device.")

    with monkeypatch.context() as now:
        now.setattr("napari_iseg.weights.importer.write_card", full)
        with pytest.raises(SaveError, match="card could not be written"):
            import_file(path, store, ImportOptions(name="mine", half=True, overwrite=True))
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.exists()} == before
    assert verify(card).ok
    with monkeypatch.context() as now:
        now.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(SaveError, match=f"^{re.escape(str(folder / card.weights))} could not be written"):
            import_file(path, store, ImportOptions(name="mine", half=True, overwrite=True))
    assert [entry.name for entry in store.user_folder.iterdir()] == ["mine"]
    (folder / ".git" / "info").mkdir(parents=True)
    temporary_beside(folder / card.weights).write_text("half")
    again = import_file(path, store, ImportOptions(name="mine", half=True, overwrite=True))
    assert verify(again).ok
    assert (folder / "notes.txt").read_text() == "of the user's"
    assert (folder / "later.txt").is_symlink()
    assert [entry.name for entry in folder.glob(".*")] == [".git"]


def test_an_overwrite_that_was_killed_in_mid_swap_gives_the_model_of_before_back(save_published, store):
    card = import_file(save_published(), store, ImportOptions(name="mine"))
    killed = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from napari_iseg.files import replacing_folder\n"
        "real = Path.rename\n"
        "Path.rename = lambda self, to: (real(self, to), os._exit(9))\n"
        "with replacing_folder(Path(sys.argv[1])) as fresh:\n"
        "    (fresh / 'card.toml').write_text('')\n"
    )
    run = subprocess.run([sys.executable, "-c", killed, str(card.folder)], check=False)
    assert run.returncode == 9
    assert not card.folder.exists()
    assert store.find("mine") == card
    assert [entry.name for entry in store.user_folder.iterdir()] == ["mine"]
    assert store.problems() == {}


def test_the_streamed_writer_agrees_with_the_library(tmp_path):
    torch.manual_seed(0)
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    state = {kind: (torch.rand(3, 5) * 7).to(getattr(torch, kind)) for kind in kinds}
    state |= {"scalar": torch.tensor(1.5), "empty": torch.empty(0, 2)}
    path = tmp_path / "a.safetensors"
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    dtypes = {key: str(value.dtype).removeprefix("torch.") for key, value in state.items()}
    safetensors_writer.write_safetensors(path, shapes, dtypes, state.__getitem__, {"note": "ü"})
    back = load_file(path)
    assert all(
        torch.equal(back[key], value) and back[key].dtype == value.dtype for key, value in state.items()
    )
    header = path.read_bytes()
    assert json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"] == {"note": "ü"}


def test_verify_names_what_is_wrong(save_published, store):
    card = import_file(save_published(), store)
    path: Path = card.weights_path
    whole = path.read_bytes()
    first = published_state()["neck.down_16.0.weight"].numpy().tobytes()[:4]
    path.write_bytes(whole.replace(first, b"\x00\x00\xc0\x7f", 1))  # a NaN
    problems = " ".join(verify(card).problems)
    assert "changed or damaged" in problems
    assert "NaN" in problems
    path.write_bytes(whole[:-100])
    assert any("cut off" in problem for problem in verify(card).problems)
    path.unlink()
    assert verify(card).problems == (
        "the weights file model.safetensors is not there; fetch or import the model again",
    )
