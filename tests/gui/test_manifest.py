"""The manifest: valid, every command importable without torch, menus and settings as announced."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from npe2 import PluginManifest

MANIFEST = PluginManifest.from_distribution("napari-iseg")
SAMPLES = [sample.key for sample in MANIFEST.contributions.sample_data]


def test_commands_are_imported_without_torch():
    names = [command.python_name for command in MANIFEST.contributions.commands]
    code = (
        "import sys; from importlib import import_module\n"
        f"for name in {[str(name) for name in names]!r}:\n"
        "    module, attribute = name.split(':')\n"
        "    assert callable(getattr(import_module(module), attribute)), name\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_name_categories_and_menus():
    assert MANIFEST.display_name == "napari-iseg"
    assert [str(category) for category in MANIFEST.categories] == ["Segmentation", "Annotation"]
    assert [widget.display_name for widget in MANIFEST.contributions.widgets] == [
        "Click segmentation",
        "Few-shot segmentation",
        "Open a scene (GeoTIFF)",
    ]
    assert [item.command for item in MANIFEST.contributions.menus["napari/layers/segment"]] == [
        "napari-iseg.click",
        "napari-iseg.fewshot",
    ]
    assert [item.command for item in MANIFEST.contributions.menus["napari/file/io_utilities"]] == [
        "napari-iseg.open_scene"
    ]


def test_the_reader_is_asked_about_sessions_only_and_not_about_every_folder(tmp_path, npe2pm):
    npe2pm.register(MANIFEST)
    for name in ("big.ome.zarr", "tiles", "s.iseg"):
        (tmp_path / name).mkdir()
        assert not [*npe2pm.iter_compatible_readers([str(tmp_path / name)])]
    (reader,) = npe2pm.iter_compatible_readers([str(tmp_path / "s.iseg" / "session.toml")])
    assert reader.command == "napari-iseg.open_session"


def test_settings_have_the_defaults_of_the_code(plugin_settings, npe2pm):
    from napari_iseg.widgets.preferences import Preferences

    npe2pm.register(MANIFEST)
    assert Preferences.read() == Preferences()
    from napari.settings import get_plugin_settings

    get_plugin_settings("napari-iseg").computing.device = "cpu"
    get_plugin_settings("napari-iseg").files.cache_folder = "models"
    assert Preferences.read().device == "cpu"
    assert str(Preferences.read().cache_folder) == "models"


@pytest.mark.parametrize("key", SAMPLES)
def test_samples_are_pictures_without_a_download(key, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("a sample was downloaded"))
    sample = next(sample for sample in MANIFEST.contributions.sample_data if sample.key == key)
    command = next(command for command in MANIFEST.contributions.commands if command.id == sample.command)
    module, _, attribute = str(command.python_name).partition(":")
    (data, keywords, kind), *rest = getattr(
        sys.modules.get(module) or __import__(module, fromlist=["x"]), attribute
    )()
    assert (kind, rest) == ("image", [])
    ndim = data.ndim - bool(keywords["rgb"])
    assert min(data.shape[:ndim]) > 8
    assert len(np.unique(np.asarray(data)[..., :50])) > 10
    assert len(keywords.get("scale", (1,) * ndim)) == ndim
