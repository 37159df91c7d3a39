"""Files of torch.save: everything real comes back, everything damaged is one sentence."""

from __future__ import annotations

import random
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.checkpoint import open_checkpoint

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def state() -> OrderedDict:
    torch.manual_seed(1)
    tensors = {name: (torch.rand(3, 4) * 9).to(getattr(torch, name)) for name in DTYPES}
    base = torch.arange(24.0).reshape(4, 6)
    tensors |= {"transposed": base.T, "part": base[1:3, 2:], "same": base, "scalar": torch.tensor(2.5)}
    tensors |= {"empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.rand(2))}
    return OrderedDict(tensors)


def read(path):
    with open_checkpoint(path) as file:
        return file.state()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_of_every_kind_come_back(tmp_path, zipped):
    path, saved = tmp_path / "a.pth", state()
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    back = read(path)
    assert list(back) == list(saved)
    for key, value in saved.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value.detach()), key
        assert back[key].is_contiguous()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_published_form_gives_weights_and_stated_sizes(save_published, zipped):
    path = save_published(_use_new_zipfile_serialization=zipped)
    with pytest.raises(ModuleNotFoundError):
        torch.load(path, weights_only=False)  # the pitfall: it needs the authors' package
    with open_checkpoint(path) as file:
        assert file.hints["num_heads"] == 2
        assert file.hints["img_size"] == [224, 224]
        assert file.shapes["backbone.pos_embed"] == (1, 197, 16)
        assert file.dtypes["backbone.pos_embed"] == "float32"


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["pth", "safetensors"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.module."])
def test_the_prefix_of_parallel_and_compiled_networks_is_taken_off(tmp_path, save, prefix):
    path = tmp_path / "a"
    save({f"{prefix}a": torch.ones(2), f"{prefix}b.c": torch.zeros(1)}, path)
    back = read(path)
    assert {key: value.tolist() for key, value in back.items()} == {"a": [1, 1], "b.c": [0]}
    save({f"{prefix}a": torch.ones(2), "b": torch.zeros(1)}, path)
    assert set(read(path)) == {f"{prefix}a", "b"}


@pytest.mark.parametrize(
    "place", [("model",), ("model_state_dict",), ("ema",), ("ema", "state_dict"), ("model", "state_dict")]
)
def test_a_state_dict_is_found_where_training_code_puts_it(tmp_path, place):
    path, tree = tmp_path / "a.pth", {"w": torch.ones(2)}
    for name in reversed(place):
        tree = {name: tree, "step": torch.zeros(1)} if name == place[0] else {name: tree}
    torch.save(tree, path)
    assert set(read(path)) == {"w"}


def test_keys_that_are_no_names_are_passed_over(tmp_path):
    path = tmp_path / "a.pth"
    odd = {10**5000: torch.ones(2), None: torch.ones(1)}  # Python refuses to write out such a number
    torch.save({**odd, "w": torch.ones(3), "config": {10**5000: 1, "num_heads": 2}}, path)
    with open_checkpoint(path) as file:
        assert (set(file.shapes), file.hints) == ({"w"}, {"num_heads": 2})
    torch.save(odd, path)
    with pytest.raises(CheckpointError, match="no state dict"):
        read(path)


def rewrite(source, target, change, compression=zipfile.ZIP_STORED):
    """Copy a zip; ``change(name, data)`` gives the new content, None leaves the record out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            data = change(info.filename, old.read(info))
            if data is not None:
                new.writestr(info.filename, data)
    return target


@pytest.fixture
def simple(tmp_path):
    path = tmp_path / "simple.pth"
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, d: d[:-4] if "data/" in n else d, "20 bytes, 24 are needed"),
        (lambda n, d: d * 1000 if "data/" in n else d, "24000 bytes, 24 are needed"),
        (lambda n, d: None if "data/" in n else d, "is missing"),
        (lambda n, d: None if n.endswith("pkl") else d, "no data.pkl"),
        (lambda n, d: b"big" if n.endswith("byteorder") else d, "big-endian"),
        (lambda n, d: d[:40] if n.endswith("pkl") else d, "damaged"),
    ],
)
def test_a_changed_record_is_refused(simple, tmp_path, change, message):
    path = rewrite(simple, tmp_path / "changed.pth", change)
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_packed_records_are_refused_since_they_can_be_bombs(simple, tmp_path):
    path = rewrite(simple, tmp_path / "packed.pth", lambda n, d: d, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="packed"):
        read(path)


def test_a_tensor_beyond_its_data_is_refused(simple, tmp_path):
    # (2, 3) becomes (2, 7): K\x02K\x03\x86 is the pickled pair.
    path = rewrite(
        simple, tmp_path / "beyond.pth", lambda n, d: d.replace(b"K\x02K\x03\x86", b"K\x02K\x07\x86")
    )
    with pytest.raises(CheckpointError, match="beyond its data; download or copy it again"):
        read(path)


def test_an_expanded_tensor_cannot_fill_the_memory(tmp_path):
    path = tmp_path / "huge.pth"
    torch.save({"w": torch.ones(1).expand(10**13)}, path)
    with pytest.raises(CheckpointError, match="beyond its data"):
        read(path)


def test_many_copies_of_one_block_cannot_fill_the_memory(tmp_path):
    path, block = tmp_path / "many.pth", torch.ones(300_000)
    torch.save({f"w{i}": block for i in range(40)}, path)
    with pytest.raises(CheckpointError, match="many times over"):
        read(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_cut_is_a_checkpoint_error(tmp_path, zipped):
    path = tmp_path / "whole.pth"
    torch.save({"w": torch.arange(60.0)}, path, _use_new_zipfile_serialization=zipped)
    data, cut = path.read_bytes(), tmp_path / "cut.pth"
    for end in range(0, len(data) - 1, 17):
        cut.write_bytes(data[:end])
        with pytest.raises(CheckpointError):
            read(cut)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_random_damage_is_a_checkpoint_error_or_harmless(tmp_path, zipped):
    path, damaged = tmp_path / "whole.pth", tmp_path / "damaged.pth"
    torch.save({"w": torch.arange(6.0), "b": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    data, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(300):
        content = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        damaged.write_bytes(bytes(content))
        try:
            read(damaged)
        except CheckpointError:
            refused += 1
    assert refused > 30


def test_a_text_that_claims_a_terabyte_takes_no_memory(tmp_path):
    path = tmp_path / "claim.pth"
    path.write_bytes(b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"abc.")
    with pytest.raises(CheckpointError, match="breaks off"):
        read(path)


def test_a_flipped_bit_in_the_weights_is_noticed(simple):
    data = bytearray(simple.read_bytes())
    place = bytes(data).index(torch.arange(6.0).numpy().tobytes())
    data[place + 5] ^= 1
    simple.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        read(simple)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>Sign in</html>", "neither a torch.save nor a safetensors"),
        (b"\x05\x00\x00\x00\x00\x00\x00\x00{{{{{", "damaged"),
        (b"PK\x03\x04 and no more", "damaged"),
        (b"\x80\x02K\x01.", "not one of torch.save"),
    ],
)
def test_other_content_is_refused_in_words(tmp_path, content, message):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read(path)


def test_a_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([1, 2, 3], path)
    with pytest.raises(CheckpointError, match="no state dict"):
        read(path)
