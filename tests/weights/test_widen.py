"""Importing IS-Net files of 3, 4, 5 and 8 input channels, widened on request."""

from __future__ import annotations

import json

import pytest
import torch

from napari_iseg import backends
from napari_iseg.cli import main
from napari_iseg.weights.store import Store, load_edge_model, load_net

WIDTH = 0.0625


@pytest.fixture
def run(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "home"))

    def call(*arguments):
        try:
            main(["models", "import", *map(str, arguments)])
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capfd.readouterr()
        return code, captured.out, " ".join(captured.err.split())

    return call


@pytest.fixture
def file_of(tmp_path):
    """``file_of(channels, name) -> path`` of a made file as the authors write them: a bare state dict."""

    def make(channels, name="isnet-mine.pth"):
        torch.manual_seed(channels)
        net = backends.build("is5net", {"in_channels": channels, "width": WIDTH})
        torch.save(net.state_dict(), tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize(("channels", "hint"), [(3, "sees the image alone"), (4, "sees image and mask")])
def test_fewer_channels_are_named_and_widen_on_request(run, file_of, channels, hint):
    path = file_of(channels)
    code, _, err = run(path)
    assert code == 0
    assert f"{channels} input channels and {hint}; import it with --widen" in err
    assert Store().find("isnet-mine").variant["in_channels"] == channels
    code, out, err = run(path, "--widen", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["name"] == "isnet-mine-5"
    assert Store().find("isnet-mine-5").variant == {"in_channels": 5, "width": WIDTH}
    narrow, wide = load_net("isnet-mine")[1], load_edge_model("isnet-mine-5").net
    assert not wide.conv_in.weight[:, channels:].any()
    image, mask = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(wide(image, mask, mask)[0], narrow(image, mask)[0], atol=1e-5, rtol=0)


def test_a_published_file_that_is_widened_keeps_its_licence_but_not_its_name(run, file_of):
    path = file_of(3, "isnet-general-use.pth")
    code, _, _ = run(path, "--widen")
    assert code == 0
    card = Store().find("isnet-general-use-5")
    assert card.licence == Store().find("isnet-general-use").licence != "unknown"
    assert not Store().find("isnet-general-use").is_local


@pytest.mark.parametrize(("channels", "words"), [(5, "IS5Net, 5 input channels"), (8, "8 input channels")])
def test_what_cannot_be_widened_is_named_and_nothing_is_written(run, file_of, channels, words):
    path = file_of(channels)
    code, _, err = run(path, "--widen")
    assert code == 2
    assert words in err
    assert "leave --widen out" in err
    assert not (Store().user_folder / "isnet-mine-5").exists()
    code, out, err = run(path, "--json")
    assert (code, err) == (0, "")
    assert words in json.loads(out)["title"]


def test_other_networks_are_not_widened(run, tmp_path):
    net = backends.build("is5net-gt-encoder", {"width": WIDTH})
    torch.save(net.state_dict(), tmp_path / "truth.pth")
    code, _, err = run(tmp_path / "truth.pth", "--widen")
    assert code == 2
    assert "recognised as IS5Net's GT encoder" in err
