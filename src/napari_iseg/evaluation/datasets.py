"""Annotated images from a folder, a zip, TIFF volumes or GeoTIFF pairs, read lazily; shared with training.

Layouts understood by `open_dataset`:

* a folder or zip with ``images/`` and ``labels/``, files of the same stem (the extension may differ), perhaps
  in folders of their own (``images/s/0.png``, ``labels/s/0.png``); ``classes/`` and ``index.csv`` may lie
  beside them and are not read;
* a TIFF pair ``X_image.tif``, ``X_flair.tif`` or ``X.tif`` with ``X_labels.tif``: labels of two axes are one
  image, labels of three axes (Z, Y, X) are a volume that is cut into slices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.arguments import check_ignore, check_kind, check_whole
from napari_iseg.evaluation.files import FolderFiles, Header, TiffVolume, ZipFiles, read_tiff, tiff_shape
from napari_iseg.evaluation.label_ids import as_ids, ignored_id
from napari_iseg.evaluation.readers import cropped, image_reader, label_reader
from napari_iseg.evaluation.splits import check_share, split_items

Kind = Literal["instances", "semantic"]
Asked = Literal[
    "instances", "semantic", "binary"
]  # binary: of the classes of an image only whether there is one
Array = npt.NDArray[Any]
_IMAGE_SUFFIX = re.compile(r"_(image|flair)$")


@dataclass(frozen=True)
class Item:
    """One annotated image; nothing is read before it is asked for.

    ``group`` names what near-duplicates share and ``position`` is the place along a volume's axis (None for
    an image of its own); ``kind`` says what the label values mean; ``file`` is where the image
    lies, for people; ``read_header`` tells the image's shape without its pixels.
    """

    name: str
    kind: Kind
    read_image: Callable[[], Array]
    read_labels: Callable[[], Array]
    group: str = ""
    position: int | None = None
    ignore: int | None = None
    file: str = ""
    read_header: Callable[[], Header] | None = None

    def image(self) -> Array:
        """(H, W) or (H, W, C), of the file's dtype; InputError where H and W are not those of the labels."""
        image = self.read_image()
        if not self._fits(image.shape):
            raise InputError(_mismatch(self.file or self.name, image.shape, self._shape))
        return image

    def check_shape(self) -> None:
        """InputError as of `image`, where a header tells; an image that fits is not decoded for it."""
        if self.read_header is not None and not self._fits(self.read_header()[0]):
            self.image()  # whose reader knows of bands that come first

    def labels(self) -> npt.NDArray[np.int32]:
        """(H, W) ids (instances) or classes (semantic), 0 = background, as `as_ids` makes them of the file.

        InputError for any other shape, and for values that are no ids.
        """
        labels = self.read_labels()
        if labels.ndim != 2:
            raise InputError(
                f"The labels of {self.file or self.name} have the shape {labels.shape}; save them with rows "
                "and columns only, one number per pixel."
            )
        vars(self)["_shape"] = labels.shape  # read anyway: spares `image` a reading of its own
        return as_ids(labels, self.file or self.name, classes=self.kind == "semantic", ignore=self.ignore)

    def targets(self) -> npt.NDArray[np.int32]:
        """(H, W) `labels` without what is ignored, which training takes for background."""
        labels = self.labels()
        return labels if self.ignore is None else np.where(labels == self.ignore, 0, labels)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) in (2, 3) and shape[:2] == self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """(H, W) of the labels."""
        return self.labels().shape

    def ids(self, min_area: int) -> list[int]:
        """The labels that are objects: all but 0 with at least ``min_area`` pixels, ascending."""
        values, counts = np.unique(self.labels(), return_counts=True)
        large = zip(values, counts, strict=True)
        return [int(v) for v, n in large if v > 0 and v != self.ignore and n >= min_area]

    def truth(self, label: int, labels: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int8]:
        """(H, W): 1 on the object ``label``, -1 where nothing is counted, 0 elsewhere.

        ``labels`` are this image's labels where they have been read before.
        """
        labels = self.labels() if labels is None else labels
        truth = np.asarray(labels == label).astype(np.int8)
        if self.ignore is not None:
            truth[labels == self.ignore] = -1
        return truth


@dataclass(frozen=True)
class Dataset:
    """A named sequence of annotated images."""

    name: str
    items: tuple[Item, ...]
    min_area: int = 50
    part: str = "all"  # of the whole set, in words, for reports

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def kind(self) -> Kind:
        """What most of the images hold: instances, or classes."""
        semantic = sum(item.kind == "semantic" for item in self.items)
        return "semantic" if 2 * semantic > len(self.items) else "instances"

    def objects(self) -> Iterator[tuple[int, int]]:
        """(image index, label id) of every object; each class of a semantic image is one object."""
        for index, item in enumerate(self.items):
            for label in item.ids(self.min_area):
                yield index, label

    def split(self, validation: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Training and validation part, the same on every machine; see `splits.split_items` for the rules.

        A single image is cut: its right part validates, with a gap of a twentieth of the width. InputError
        for a share that is not between 0 and 1, or leaves nothing of that image on one side.
        """
        check_share(validation)
        if len(self.items) == 1:
            train, held_out = self._cut(validation)
        else:
            names = [(i.name, i.group, i.position) for i in self.items]
            train, held_out = map(self.subset, split_items(names, validation, seed))
        how = f"share {validation:g}, seed {seed}"
        return train.as_part(f"training, {how}"), held_out.as_part(f"validation, {how}")

    def _cut(self, validation: float) -> tuple[Dataset, Dataset]:
        item = self.items[0]
        item.check_shape()  # its parts may fit where it does not
        width = item.labels().shape[1]
        border, gap = round(width * (1 - validation)), max(1, width // 20)
        if not gap < border < width:
            raise InputError(
                f"An image of {width} columns cannot be cut at a validation share of {validation:g}, which "
                "leaves one part empty; choose a share nearer 0.5."
            )
        ranges = {"left": (0, border - gap), "right": (border, width)}
        left, right = (
            replace(
                item,
                name=f"{item.name}_{side}",
                read_image=cropped(item.read_image, *columns),
                read_labels=cropped(item.read_labels, *columns),
                read_header=None,
            )
            for side, columns in ranges.items()
        )
        return replace(self, items=(left,)), replace(self, items=(right,))

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The images at ``indices``, in that order."""
        return replace(self, items=tuple(self.items[i] for i in indices))

    def as_part(self, part: str) -> Dataset:
        """The same images, told in reports as that part of their set."""
        return replace(self, part=part)


def concatenate(name: str, datasets: Sequence[Dataset]) -> Dataset:
    """Several parts of one data set as one, for example three patients or two zips."""
    items = tuple(item for dataset in datasets for item in dataset.items)
    parts = "; ".join(dict.fromkeys(dataset.part for dataset in datasets)) or "all"
    return Dataset(name, items, min((d.min_area for d in datasets), default=50), parts)


def unique_names(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The data sets, later ones of a name renamed to NAME-2, NAME-3, ...: reports and plots go by names."""
    taken = {dataset.name for dataset in datasets}
    seen: set[str] = set()
    named = []
    for dataset in datasets:
        name = dataset.name
        if name in seen:
            name = next(n for k in count(2) if (n := f"{name}-{k}") not in taken)
            taken.add(name)
        seen.add(dataset.name)
        named.append(_renamed(dataset, name) if name != dataset.name else dataset)
    return named


def _renamed(dataset: Dataset, name: str) -> Dataset:
    """With the volume in it, which is reported under its group."""
    items = (replace(i, group=name) if i.group == dataset.name else i for i in dataset)
    return replace(dataset, name=name, items=tuple(items))


def open_dataset(
    path: str | Path,
    *,
    axis: int = 0,
    min_area: int = 50,
    kind: Asked | None = None,
    components: bool | None = None,
    ignore: int | None = None,
) -> Dataset:
    """Open annotated data; the module's text names the layouts.

    Parameters
    ----------
    path
        A folder, a zip, or the image (or labels) file of a TIFF pair.
    axis
        Axis along which a volume is cut into slices.
    min_area
        Objects of fewer pixels are no click targets.
    kind
        What labels mean; by default 8-bit (and boolean) labels are classes, wider ones instance ids;
        "binary": all that is not 0, in any channel, is one object (DAVIS, Berkeley).
    components
        Whether each connected part of an instance is an object of its own. By default so in volumes, where
        one body crosses a slice in several places.
    ignore
        Label value of pixels that count neither way (128 in GrabCut).

    Raises
    ------
    InputError
        When nothing is there, an image has no labels, two files have one name, or an option cannot be.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"A data set is opened by its path, got a {type(path).__name__}.")
    check_kind(kind)
    check_whole("min_area", min_area, 0)
    check_whole("axis", axis, 0)
    check_ignore(ignore)
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"There is no data set at {path}; give a folder, a zip, or the image file of a TIFF pair."
        )
    if path.suffix.lower() in {".tif", ".tiff"}:
        items, name = _tiff_items(path, axis, kind, components, ignore)
    elif path.is_dir() or path.suffix.lower() == ".zip":
        items, name = _pair_items(path, kind, bool(components), ignore), _name_of(path)
    else:
        raise InputError(f"{path} is no data set; give a folder, a zip, or the image file of a TIFF pair.")
    return Dataset(name, tuple(replace(item, ignore=ignored_id(ignore)) for item in items), min_area)


def _name_of(path: Path) -> str:
    """Of a folder or zip; "." and ".." have the name of the folder that they mean."""
    named = path if path.name not in ("", "..") else path.resolve()
    return named.name.removesuffix(".zip")


def _pair_items(path: Path, kind: Asked | None, components: bool, ignore: int | None) -> list[Item]:
    files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    images, labels = files.stems("images"), files.stems("labels")
    if not images:
        raise InputError(
            f"{path} has no images; it needs the folders images/ and labels/ with files of equal names."
        )
    missing = sorted(set(images) - set(labels))
    if missing:
        place = files.place(images[missing[0]])
        raise InputError(f"The image {place} has no labels; add labels/{missing[0]}.png or leave it out.")
    items = []
    for stem in sorted(images):
        entry_kind = kind or _kind_of(files.header(labels[stem])[1])
        read = label_reader(
            partial(files.labels, labels[stem]), files.place(labels[stem]), entry_kind, components, ignore
        )
        image, place = partial(files.image, images[stem]), files.place(images[stem])
        header = partial(files.header, images[stem])
        items.append(Item(stem, _of_ids(entry_kind), image, read, file=place, read_header=header))
    return items


def _tiff_items(
    path: Path, axis: int, kind: Asked | None, components: bool | None, ignore: int | None
) -> tuple[list[Item], str]:
    image, labels, name = _tiff_pair(path)
    shape, dtype = tiff_shape(labels)
    entry_kind = kind or _kind_of(dtype)
    if len(shape) == 2:
        read = label_reader(partial(read_tiff, labels), str(labels), entry_kind, bool(components), ignore)
        planar, header = image_reader(image, shape), partial(tiff_shape, image)
        item = Item(name, _of_ids(entry_kind), planar, read, name, file=str(image), read_header=header)
        return [item], name
    if len(shape) != 3 or not 0 <= axis < 3:
        raise InputError(
            f"{labels.name} has axes {shape}; labels need (Y, X), or (Z, Y, X) and axis 0, 1 or 2."
        )
    pixel_shape = tiff_shape(image)[0]
    if pixel_shape[:3] != shape:
        raise InputError(_mismatch(str(image), pixel_shape, shape))
    pixels, ids = TiffVolume(image), TiffVolume(labels)
    items = [
        Item(
            f"{name}_{z:04d}",
            _of_ids(entry_kind),
            partial(pixels.plane, axis, z),
            label_reader(
                partial(ids.plane, axis, z),
                str(labels),
                entry_kind,
                components is not False,
                ignore,
                lambda: ids.values,
            ),
            name,
            z,
            file=str(image),
        )
        for z in range(shape[axis])
    ]
    return items, name


def _tiff_pair(path: Path) -> tuple[Path, Path, str]:
    name = _IMAGE_SUFFIX.sub("", path.stem).removesuffix("_labels")
    labels = path.with_name(f"{name}_labels{path.suffix}")
    candidates = [path] if not path.stem.endswith("_labels") else []
    candidates += [path.with_name(f"{name}{end}{path.suffix}") for end in ("_image", "_flair", "")]
    image = next((c for c in candidates if c.exists()), None)
    if image is None or not labels.exists():
        lacking = labels.name if image is not None else f"{name}_image{path.suffix}"
        raise InputError(f"{path.name} is half of a pair: {lacking} is missing in {path.parent}.")
    return image, labels, name


def _mismatch(file: str, image: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """Why an image and its labels are no pair, in words."""
    if len(image) > len(labels) == 2 and image[-2:] == labels:
        fix = "single images are expected here, so save its planes one by one, each with its labels"
        return f"{file} is a stack of shape {image} with labels of shape {labels}; {fix}."
    return (
        f"The image {file} has the shape {image} but its labels have {labels}; save both with the same rows "
        "and columns (and planes of a volume)."
    )


def _kind_of(dtype: np.dtype[Any]) -> Kind:
    return "semantic" if dtype.itemsize == 1 else "instances"


def _of_ids(kind: Asked) -> Kind:
    """What the ids mean that `label_reader` makes: one object of an image is a class, as in all others."""
    return "semantic" if kind == "binary" else kind
