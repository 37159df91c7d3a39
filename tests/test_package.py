"""The package as a whole: what importing costs, samples, the manifest, made scenes, the house rules."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

import napari_iseg
from napari_iseg.errors import InputError
from napari_iseg.samples import sample, sample_folder, sample_names
from napari_iseg.training.synthetic import MIN_OBJECT, random_scene

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def _fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_nothing_heavy():
    code = "import json, sys, napari_iseg; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(_fresh(code)))
    assert not loaded & {"torch", "napari", "numpy", "scipy", "zarr", "qtpy"}


def test_public_names_are_there():
    for name in napari_iseg.__all__:
        assert getattr(napari_iseg, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = napari_iseg.nothing_like_it


def test_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == napari_iseg.__version__
    assert f"## {napari_iseg.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sample_names())
def test_samples(name):
    made = sample(name)
    assert made.image.dtype in (np.uint8, np.uint16)
    assert made.rgb == (made.image.shape[-1] == 3)
    if made.labels is not None:
        plane_axes = made.image.ndim - made.rgb
        assert made.labels.shape == made.image.shape[:plane_axes]
        assert len(made.scale) == len(made.units) == plane_axes
        assert made.labels.max() > 20
        assert set(np.unique(made.labels)) == set(range(made.labels.max() + 1)), "no gaps"


def test_unknown_sample_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'cells'"):
        sample("cels")


@pytest.mark.parametrize("name", ["cells", "organelles"])
def test_samples_are_what_their_script_makes(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "sample_data"))
    image, labels = importlib.import_module(name).make()
    shipped = sample(name)
    np.testing.assert_array_equal(labels, shipped.labels)
    np.testing.assert_array_equal(image, shipped.image)


def test_sample_files_are_small():
    paths = list(sample_folder().glob("*.tif"))
    assert {"cells.tif", "organelles.tif", "aerial.tif"} <= {path.name for path in paths}
    for path in paths:
        assert path.stat().st_size < 1_000_000, path


@pytest.mark.parametrize("seed", range(12))
def test_made_scenes(seed):
    image, labels = random_scene(np.random.default_rng(seed), (96, 128))
    assert (image.shape, image.dtype) == ((96, 128, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((96, 128), np.int32)
    sizes = np.bincount(labels.ravel())
    assert labels.max() >= 1, "there is something to click"
    assert (sizes[1:] >= MIN_OBJECT).all()
    again = random_scene(np.random.default_rng(seed), (96, 128))
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], labels)


def test_made_scenes_vary():
    scenes = [random_scene(np.random.default_rng(seed), 64)[0] for seed in range(20)]
    means = [float(scene.mean()) for scene in scenes]
    grey = [bool((scene[..., 0] == scene[..., 1]).all()) for scene in scenes]
    assert max(means) - min(means) > 60
    assert 0 < sum(grey) < 20


def test_manifest_names_exist():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(ROOT / "src" / "napari_iseg" / "napari.yaml")
    for command in manifest.contributions.commands:
        module, _, attribute = command.python_name.partition(":")
        assert importlib.util.find_spec(module), command.python_name
        if "samples" in module or "writers" in module:
            assert hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_house_rules(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, "files have one purpose; split this one"
    if "cli" not in path.parts:
        assert "print(" not in text.replace("console.print(", ""), "only the command line prints"


@pytest.mark.parametrize(
    "paper", ["2303.05620", "2401.04403", "2305.04276", "2401.00248", "2403.15089", "2304.02643"]
)
def test_the_paper_of_every_system_can_be_cited(paper):
    """CFR-ICL, MST, AdaptiveClick, IS5Net, IFSENet and SAM."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    (reference,) = [one for one in cited if one["url"].endswith(paper)]
    assert reference["title"]
    assert all(author.get("family-names") or author.get("name") for author in reference["authors"])
    assert paper in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_readme_commands_are_one_line_each(marker):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split(f"<!-- {marker} command -->\n```bash\n")[1].split("```")[0]
    assert block.count("\n") == 1
    assert block.startswith("python3 -m venv .venv && ")
