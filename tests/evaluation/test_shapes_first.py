"""Images are compared with their labels before the first click, and not decoded for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.evaluation.protocol import choose_objects, evaluate

LABELS = np.zeros((40, 50), np.uint16)
LABELS[5:30, 5:30] = 1


class Counted:
    """A click method that counts its pictures."""

    name, threshold = "counted", 0.5

    def __init__(self) -> None:
        self.started = 0

    def start(self, image: np.ndarray) -> None:
        self.started += 1

    def click(self, row: float, col: float, positive: bool) -> np.ndarray:
        return LABELS.astype(np.float32)


def pictures(folder: Path, **images: np.ndarray) -> Path:
    """A set of pictures "a.png" or, with many bands, "a.tif", all with the same labels."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for name, image in images.items():
        if image.ndim == 2 or image.shape[-1] == 3:
            imsave(folder / "images" / f"{name}.png", image, check_contrast=False)
        else:
            tifffile.imwrite(folder / "images" / f"{name}.tif", image, photometric="minisblack")
        imsave(folder / "labels" / f"{name}.png", LABELS, check_contrast=False)
    return folder


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((50, 40), np.uint8), r"b.png has the shape \(50, 40\) but its labels have \(40, 50\)"),
        (np.zeros((40, 51, 3), np.uint8), r"b.png has the shape \(40, 51, 3\) but its labels"),
        (np.zeros((4, 40, 50), np.uint8), r"b.tif is a stack of shape \(4, 40, 50\)"),
    ],
)
def test_no_click_is_made_on_a_set_with_a_picture_of_another_size(
    tmp_path: Path, bad: np.ndarray, said: str
) -> None:
    data = open_dataset(pictures(tmp_path / "set", a=np.zeros((40, 50), np.uint8), b=bad))
    method = Counted()
    with pytest.raises(InputError, match=said):
        evaluate(method, data, 1)
    assert not method.started
    few = choose_objects(data, max_objects=1, seed=next(s for s in range(9) if chooses_the_first(data, s)))
    assert list(few) == [0]  # a picture that is not played is not asked


def chooses_the_first(data, seed: int) -> bool:
    try:
        return list(choose_objects(data, max_objects=1, seed=seed)) == [0]
    except InputError:
        return False


def test_fitting_pictures_are_not_decoded_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = {"a": np.zeros((40, 50), np.uint8), "b": np.zeros((40, 50, 3), np.uint8)}
    data = open_dataset(pictures(tmp_path / "set", **sound, c=np.zeros((40, 50, 5), np.int16)))
    monkeypatch.setattr("napari_iseg.evaluation.datasets.Item.image", lambda self: pytest.fail("decoded"))
    assert len(choose_objects(data)) == 3


def test_bands_first_in_a_pair_are_no_other_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scene.tif", np.zeros((5, 40, 50), np.int16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "scene_labels.tif", LABELS)
    assert choose_objects(open_dataset(tmp_path / "scene.tif")) == {0: [1]}


def test_a_picture_is_compared_before_it_is_cut(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", a=np.zeros((40, 60), np.uint8))
    with pytest.raises(InputError, match=r"a.png has the shape \(40, 60\) but its labels have \(40, 50\)"):
        open_dataset(folder).split(0.4)
