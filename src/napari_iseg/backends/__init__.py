"""The published methods: one file each, found here by name; none is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from napari_iseg.errors import InputError, ModelNotFoundError

if TYPE_CHECKING:
    from napari_iseg.backends.base import Backend, Method, PublishedNet, Recognition, Shapes, Variant


class _Backends(Mapping[str, "Method"]):
    """Name -> method, imported on first use: listing models must not load torch."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = MappingProxyType(dict(homes))

    def __getitem__(self, name: str) -> Method:
        module, attribute = self._homes[name].split(":")
        return cast("Method", getattr(import_module(module), attribute)())

    def home(self, name: str) -> str:
        """Where the class of a method is, as "module:class"."""
        return self._homes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes  # the inherited test would import the backend

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


# One line per method: name -> "module:class".
BACKENDS: Final = _Backends(
    {
        "cfr-icl": "napari_iseg.backends.cfr_icl:CfrIcl",
        "mst": "napari_iseg.backends.mst:Mst",
        "adaptiveclick": "napari_iseg.backends.adaptiveclick:AdaptiveClick",
        "ifsenet": "napari_iseg.backends.ifsenet:Ifsenet",
        "sam": "napari_iseg.backends.sam:Sam",
        "is5net": "napari_iseg.backends.is5net:Is5Net",
        "is5net-gt-encoder": "napari_iseg.backends.is5net:GtEncoder",
        "thin": "napari_iseg.backends.thin:Thin",
        "small": "napari_iseg.backends.small:Small",
    }
)
# What the networks of a method are for, where that is not answering clicks and boxes ("click").
ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "is5net": "edges",  # makes a mask that is there exact
        "thin": "thin",  # answers a click model's clicks where the object is too thin for it
        "small": "small",  # finishes small objects for a click model
        "is5net-gt-encoder": "training",  # is needed to train another network, answers nothing itself
    }
)
OURS: Final = ("thin", "small")  # roles of networks of which no checkpoints are about


def role(name: str) -> str:
    """What the networks of a method are for; loads no torch.

    "click" (answers clicks, boxes or both), "edges" (refines a mask), "thin" (stands in for a click model on
    thin structures), "small" (finishes small objects for one), or "training" (helps to train another).
    """
    return ROLES.get(name, "click")


def get(name: str) -> Method:
    """The method of that name.

    Raises
    ------
    ModelNotFoundError
        For an unknown name; the sentence gives the nearest known ones. InputError for what is no name.
    """
    if not isinstance(name, str):
        raise InputError(f"A backend is a name ({', '.join(BACKENDS)}), got {name!r}.")
    if name not in BACKENDS:
        near = get_close_matches(name, BACKENDS, n=3, cutoff=0.3) or list(BACKENDS)
        raise ModelNotFoundError(f"There is no backend {name!r}; use {' or '.join(repr(n) for n in near)}.")
    return BACKENDS[name]


def get_click(name: str) -> Backend:
    """The method of that name, which must answer clicks or boxes.

    Raises
    ------
    ModelNotFoundError
        For an unknown name; InputError for a method with another role.
    """
    method = get(name)
    if role(name) != "click":
        raise InputError(
            f"{method.title} takes no clicks by itself ({method.good_at}); choose a model that answers "
            "clicks or boxes."
        )
    return cast("Backend", method)


def build(name: str, variant: str | Variant | None = None) -> PublishedNet:
    """The network of a backend's variant, with random float32 weights whatever torch's default type is.

    Parameters
    ----------
    name : of the backend, e.g. "cfr-icl"
    variant : a name of that backend's variants, or a mapping with the sizes of a published configuration;
        None: the backend's first variant

    Raises
    ------
    ModelNotFoundError
        For an unknown backend or variant name; InputError for a mapping that describes no network, and for
        what is neither.
    """
    method = get(name)
    return method.build(next(iter(method.variants)) if variant is None else variant).float()


def recognise(shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
    """The published network whose state dict has these keys and shapes, or None.

    Parameters
    ----------
    shapes : published key -> shape
    hints : sizes from the file's own configuration, for what shapes cannot tell (``num_heads``, ``img_size``)
    """
    for backend in BACKENDS.values():
        found = backend.recognise(shapes, hints)
        if found is not None:
            return found
    return None


def differences(shapes: Shapes) -> tuple[str, list[str]]:
    """Why `recognise` found nothing: the nearest known architecture and what differs from it.

    Returns
    -------
    label : of the nearest architecture, e.g. "CFR-ICL vit-b"
    keys : one phrase per differing key ("missing neck.down_16.0.bias", ...), fewest over all backends
    """
    # Ours alone are left out: no foreign file means to be one of them.
    found = [BACKENDS[name].differences(shapes) for name in BACKENDS if role(name) not in OURS]
    return min((near for near in found if near is not None), key=lambda near: len(near[1]))
