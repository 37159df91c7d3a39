"""Hostile pickles do nothing: each is first shown to strike when Python's own unpickler reads it."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import random
import sys
import types
import zipfile
from collections import OrderedDict

import pytest

from napari_iseg.errors import CheckpointError
from napari_iseg.weights import safe_pickle
from napari_iseg.weights.checkpoint import open_checkpoint
from napari_iseg.weights.safe_pickle import Global, Stub, read_pickle


def read(data: bytes):
    return read_pickle(io.BytesIO(data), {}, lambda identity: identity)


class Calls:
    """Pickles into a call of ``function``."""

    def __init__(self, function, *args):
        self.reduction = function, args

    def __reduce__(self):
        return self.reduction


def text_opcodes(module: str, name: str, argument: str, opcode: bytes) -> bytes:
    """The same attack in opcodes that Python no longer writes."""
    if opcode == b"i":
        return f"(S'{argument}'\ni{module}\n{name}\n.".encode()
    return f"(c{module}\n{name}\nS'{argument}'\no.".encode()


def attacks(marker: str) -> dict[str, bytes]:
    command, statement = f"touch {marker}", f"open({marker!r}, 'w').close()"
    nested = {"state_dict": {"weight": [Calls(eval, statement)]}}
    return {
        "os.system": pickle.dumps(Calls(os.system, command), 2),
        "os.system, protocol 4": pickle.dumps(Calls(os.system, command), 4),
        "eval": pickle.dumps(Calls(eval, statement.replace(".close()", "")), 0),
        "exec": pickle.dumps(Calls(exec, statement), 5),
        "nested": pickle.dumps(nested, 2),
        "reduce in reduce": pickle.dumps(Calls(list, (Calls(exec, statement),)), 2),
        "INST": text_opcodes("os", "system", command, b"i"),
        "OBJ": text_opcodes("os", "system", command, b"o"),
    }


@pytest.mark.parametrize("name", list(attacks("")))
def test_an_attack_strikes_python_and_not_us(name, tmp_path):
    marker = tmp_path / "marker"
    data = attacks(str(marker))[name]
    pickle.loads(data)
    assert marker.exists(), "the attack itself must work"
    marker.unlink()

    read(data)
    path = tmp_path / "hostile.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    with pytest.raises(CheckpointError, match="no state dict"), open_checkpoint(path):
        pass
    assert not marker.exists()


def test_a_foreign_object_becomes_a_stub_that_remembers(monkeypatch):
    module = types.ModuleType("somewhere")

    class Config(dict):
        pass

    Config.__module__, Config.__qualname__ = "somewhere", "Config"
    module.Config = Config
    monkeypatch.setitem(sys.modules, "somewhere", module)
    config = Config(size=3)
    config.note = "hello"
    data = pickle.dumps([config, Config], 2)
    monkeypatch.delitem(sys.modules, "somewhere")

    stub, name = read(data)
    assert isinstance(stub, Stub)
    assert stub.origin == "somewhere.Config"
    assert stub.items == {"size": 3}
    assert stub.state == {"note": "hello"}
    assert name == Global("somewhere", "Config")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back(protocol):
    value = {
        "numbers": [1, -(2**70), 2.5, True, None],
        "text": "ünï",
        "pairs": OrderedDict(a=(1, 2), b=()),
        3: {4, 5},
        "long": "x" * 70000,
    }
    back = read(pickle.dumps(value, protocol))
    assert back == {**value, "pairs": dict(value["pairs"])}


def test_a_shared_list_stays_one_list():
    inner: list = []
    first, second = read(pickle.dumps([inner, inner]))
    assert first is second


def test_a_nest_of_doubling_tuples_is_not_hashed():
    # 60 levels of (x, x): harmless until it is hashed, which then takes 2 ** 60 steps.
    bomb = b"\x80\x02}K\x01" + b"\x32\x86" * 60 + b"K\x01s."
    with pytest.raises(CheckpointError, match="container as a dictionary key"):
        read(bomb)


def test_one_long_list_copied_many_times_is_stopped(monkeypatch):
    monkeypatch.setattr(safe_pickle, "MAX_OPCODES", 20_000)
    pairs = [[i, i] for i in range(500)]
    start = pickle.dumps(pairs, 2)[:-1] + b"q\xf0"  # the list, remembered as 240
    once = b"ccollections\nOrderedDict\nh\xf0\x85R"
    with pytest.raises(CheckpointError, match="grows beyond"):
        read(start + once * 50 + b".")


def test_every_way_of_cutting_a_pickle_is_a_clear_error():
    data = pickle.dumps({"state_dict": OrderedDict(a=[1, 2, (3, "four")]), "b": {5}}, 2)
    for end in range(len(data)):
        with pytest.raises(CheckpointError):
            read(data[:end])


def test_random_damage_gives_a_value_or_a_checkpoint_error():
    data = pickle.dumps({"state_dict": OrderedDict(a=[1.5, (3, "four")]), "b": {5}, "c": Calls(len, (1,))}, 4)
    rng, refused = random.Random(0), 0
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read(bytes(damaged))
        except CheckpointError:
            refused += 1
    assert 100 < refused < 3000


def test_every_opcode_is_understood_or_refused_in_words():
    for opcode in pickletools.opcodes:
        try:
            read(opcode.code.encode("latin-1") + b"\x00" * 16 + b".")
        except CheckpointError as error:
            assert len(str(error)) > 20  # noqa: PT017 - some opcodes are fine alone
