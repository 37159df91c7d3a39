"""Pascal-5i folds and SBD for those who have the data; neither is fetched here.

Layouts as published: ``VOCdevkit/VOC2012`` with JPEGImages, SegmentationClass (or SegmentationClassAug, VOC's
masks and SBD's) and ImageSets/Segmentation; SBD's ``dataset`` with img, cls, inst and val.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.evaluation.fewshot_cases import Annotated, Case
from napari_iseg.evaluation.methods import as_source
from napari_iseg.prompts import Window

Array = npt.NDArray[Any]
IGNORE: Final = 255
# Held-out classes of each fold, by VOC's numbers 1..20 (OSLSM, Shaban et al. 2017): five in a row.
FOLDS: Final = MappingProxyType({i: tuple(range(5 * i + 1, 5 * i + 6)) for i in range(4)})
CLASS_NAMES: Final = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def pascal5i(root: str | Path, fold: int, *, part: str = "test") -> Dataset:
    """The images of a fold.

    Parameters
    ----------
    root : ``VOC2012``, or the folder that holds ``VOCdevkit``
    fold : 0..3
    part : "test": VOC's validation images, labels of the fold's five classes; "train": the training images
        (of trainaug.txt or else, with SegmentationClassAug, all that have a mask), without the validation
        images, the fold's classes set to background

    Raises
    ------
    InputError
        For an unknown fold or part, or when a folder or list is missing.
    """
    if fold not in FOLDS or part not in ("test", "train"):
        raise InputError(f"Pascal-5i has folds 0 to 3 and parts 'test' and 'train', got {fold}, {part!r}.")
    base = _voc(Path(root))
    labels = base / "SegmentationClassAug"
    labels = labels if labels.is_dir() else base / "SegmentationClass"
    names = _lines(base / "ImageSets" / "Segmentation" / "val.txt")
    if part == "train":
        tested = set(names)
        names = [name for name in _training_names(base, labels) if name not in tested]
    held = set(FOLDS[fold])
    kept = held if part == "test" else set(range(1, 21)) - held
    items = []
    for name in names:
        read = _filtered(_png(labels / f"{name}.png"), kept)
        items.append(
            Item(name, "semantic", _picture(base / "JPEGImages" / f"{name}.jpg"), read, ignore=IGNORE)
        )
    return Dataset(f"pascal-5{fold}" if part == "test" else f"pascal-5{fold}-train", tuple(items))


def pascal_cases(dataset: Dataset, count: int, supports: int, seed: int = 0, side: int = 473) -> list[Case]:
    """Episodes of a fold: a class, ``supports`` images with it, another image with it as the query.

    Images are resized so that the longer side is ``side`` (published comparisons differ in this; say yours).
    """
    from skimage.transform import resize

    rng = np.random.default_rng((seed, 5))
    by_class: dict[int, list[int]] = {}
    for index, item in enumerate(dataset):
        for value in item.ids(2 * 32 * 32):
            by_class.setdefault(value, []).append(index)
    classes = [c for c in sorted(by_class) if len(by_class[c]) > supports]
    if not classes:
        raise InputError(f"{dataset.name} has no class with {supports + 1} images.")

    def shot(index: int, label: int) -> Annotated:
        item = dataset[index]
        source = as_source(item.image())
        image, truth = source.read(Window.of_shape(source.shape)), item.truth(label)
        factor = side / max(truth.shape)
        size = round(truth.shape[0] * factor), round(truth.shape[1] * factor)
        pixels = resize(image, size, order=1, anti_aliasing=factor < 1).astype(np.float32)
        nearest = resize(truth, size, order=0, preserve_range=True, anti_aliasing=False).astype(np.int8)
        return Annotated(item.name, pixels, nearest)

    cases = []
    for _ in range(count):
        label = classes[int(rng.integers(len(classes)))]
        chosen = rng.choice(by_class[label], supports + 1, replace=False)
        shots = [shot(int(i), label) for i in chosen]
        cases.append(Case(CLASS_NAMES[label - 1], tuple(shots[1:]), shots[0]))
    return cases


def sbd(root: str | Path, part: str = "val") -> Dataset:
    """SBD's instances: every object of every image, however small, for NoC of the support path.

    Parameters
    ----------
    root : the folder with img, inst and val.txt, or the one that holds ``dataset``
    part : name of the list, "val" or "train"

    Raises
    ------
    InputError
        When the list or a folder is missing.
    """
    base = Path(root)
    base = base / "dataset" if (base / "dataset").is_dir() else base
    if not (base / "inst").is_dir():
        raise InputError(f"{root} is not SBD: it needs img/, inst/ and {part}.txt.")
    items = [
        Item(name, "instances", _picture(base / "img" / f"{name}.jpg"), _mat(base / "inst" / f"{name}.mat"))
        for name in _lines(base / f"{part}.txt")
    ]
    return Dataset(f"sbd-{part}", tuple(items), min_area=1)


def _training_names(base: Path, labels: Path) -> list[str]:
    """Images to train on: with SBD's masks beside VOC's more than VOC's own list names."""
    lists = base / "ImageSets" / "Segmentation"
    if labels.name != "SegmentationClassAug":
        return _lines(lists / "train.txt")
    if (lists / "trainaug.txt").is_file():
        return _lines(lists / "trainaug.txt")
    return sorted(path.stem for path in labels.glob("*.png"))


def _voc(root: Path) -> Path:
    for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (place / "JPEGImages").is_dir():
            return place
    raise InputError(f"{root} is not VOC 2012: it needs JPEGImages/, SegmentationClass/ and ImageSets/.")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"The list {path} is missing; copy it from the published data set.")
    # some copies of trainaug.txt have paths of picture and mask
    return [Path(line.split()[0]).stem for line in path.read_text().splitlines() if line.strip()]


def _picture(path: Path) -> Callable[[], Array]:
    def read() -> Array:
        from PIL import Image

        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))

    return read


def _png(path: Path) -> Callable[[], Array]:
    def read() -> Array:
        from PIL import Image

        with Image.open(path) as picture:  # palette images: the indices are the classes
            return np.asarray(picture, np.int32)

    return read


def _filtered(read: Callable[[], Array], kept: set[int]) -> Callable[[], Array]:
    def filtered() -> Array:
        labels = read()
        return np.where(np.isin(labels, [*kept, IGNORE]), labels, 0)

    return filtered


def _mat(path: Path) -> Callable[[], Array]:
    def read() -> Array:
        from scipy.io import loadmat

        content = loadmat(path, squeeze_me=True, struct_as_record=False)
        return np.asarray(content["GTinst"].Segmentation, np.int32)

    return read
