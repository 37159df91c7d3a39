"""Reads a pickle as data: the opcodes are interpreted here and nothing that they name is called.

Checkpoints of the field are pickles which refer to classes of the authors' packages. Python's own unpickler
would import and call whatever a file asks for; here every such name becomes an inert `Stub` that remembers
what it was given, and the few names that describe tensors are rebuilt as plain values by the caller.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, cast

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.damage import damaged

MAX_OPCODES = 2_000_000  # the largest published checkpoint needs about 15 000
# fmt: off
_PUSH_ARGUMENT = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
))
# fmt: on
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK = object()


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle refers to; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Stub:
    """Stands for an object of a foreign class: what it was made from, and nothing that can run."""

    origin: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Hashable, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


class Readable(Protocol):
    """The part of a binary stream that reading a pickle needs."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes."""

    def readline(self) -> bytes:
        """Up to the next line break."""

    def tell(self) -> int:
        """The position."""


Rebuild = Callable[[tuple[Any, ...]], Any]
Persistent = Callable[[Any], Any]


def read_pickle(stream: Readable, rebuilders: dict[str, Rebuild], persistent: Persistent) -> Any:
    """The value of the next pickle in ``stream``, which is left behind its end.

    Parameters
    ----------
    stream : binary stream
    rebuilders : dotted name -> function of the argument tuple, for the few globals that are understood
    persistent : turns a persistent id into a value

    Raises
    ------
    CheckpointError
        The pickle is cut off, malformed or larger than any checkpoint.
    """
    return _Machine(rebuilders, persistent).run(stream)


def safe_key(key: Any) -> Hashable:
    """``key`` if it may be hashed at no cost: a nest of tuples can take for ever."""
    scalar = str | bytes | int | float | bool | None
    flat = isinstance(key, tuple) and len(key) < 64 and all(isinstance(part, scalar) for part in key)
    if isinstance(key, scalar | Global | Stub) or flat:
        return key  # type: ignore[no-any-return]
    raise CheckpointError("The file is not a usable checkpoint: it uses a container as a dictionary key.")


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, rebuilders: dict[str, Rebuild], persistent: Persistent) -> None:
        self._rebuilders = {"collections.OrderedDict": _ordered_dict, **_SETS, **rebuilders}
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0

    def run(self, stream: Readable) -> Any:
        for name, argument in _opcodes(stream):
            if name == "STOP":
                return self._pop()
            self._step(name, argument)
        raise damaged("its pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise CheckpointError(
                f"The file is not a usable checkpoint: its pickle uses {name}, which none needs."
            )

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise damaged("its pickle takes more values than it gave")
        return self._stack.pop()

    def _pop_mark(self) -> list[Any]:
        for start in range(len(self._stack) - 1, -1, -1):
            if self._stack[start] is _MARK:
                values = self._stack[start + 1 :]
                del self._stack[start:]
                return values
        raise damaged("its pickle lacks a mark")

    def _discard(self) -> None:
        if self._stack and self._stack[-1] is _MARK:
            self._stack.pop()
        else:
            self._pop()

    def _discard_to_mark(self) -> None:
        self._pop_mark()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _remember(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else int(index)] = self._top()

    def _recall(self, index: int) -> None:
        if int(index) not in self._memo:
            raise damaged("its pickle recalls a value that it never stored")
        self._stack.append(self._memo[int(index)])

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(safe_key(value) for value in values)
        elif isinstance(target, Stub):
            target.elements.extend(values)
        else:
            raise damaged("its pickle appends to something that is not a list")

    def _set_items(self, pairs: list[Any]) -> None:
        target = self._top()
        items = target.items if isinstance(target, Stub) else target
        if not isinstance(items, dict):
            raise damaged("its pickle sets an item of something that is not a dictionary")
        items.update(_pairs(pairs))

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _append(self) -> None:
        value = self._pop()
        self._extend([value])

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise damaged("its pickle names a class by something that is not text")
        self._stack.append(Global(module, name))

    def _reduce(self, with_keywords: bool = False) -> None:
        if with_keywords:
            self._pop()
        args, origin = self._pop(), self._pop()
        self._stack.append(self._make(origin, args))

    def _make(self, origin: Any, args: Any) -> Any:
        args = args if isinstance(args, tuple) else (args,)
        rebuild = self._rebuilders.get(str(origin)) if isinstance(origin, Global) else None
        if rebuild is None:
            return Stub(str(origin) if isinstance(origin, Global) else "an unnamed object", args)
        self._copied += sum(len(arg) for arg in args if isinstance(arg, list | tuple))
        if self._copied > MAX_OPCODES:  # one long list, copied by every opcode, would fill the memory
            raise CheckpointError("The file is not a usable checkpoint: its pickle grows beyond any model's.")
        return rebuild(args)

    def _object(self) -> None:
        values = self._pop_mark()
        if not values:
            raise damaged("its pickle makes an object of nothing")
        self._stack.append(self._make(values[0], tuple(values[1:])))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Stub):
            target.state = state


def _opcodes(stream: Readable) -> Iterator[tuple[str, Any]]:
    """(name, argument) of each opcode, at most MAX_OPCODES."""
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
            if count > MAX_OPCODES:
                raise CheckpointError(
                    "The file is not a usable checkpoint: its pickle is larger than any model's."
                )
            yield opcode.name, argument
    except (ValueError, OverflowError, struct.error, EOFError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"The file is damaged or not a checkpoint: its pickle breaks off ({error}); download it again."
        ) from None


def _pairs(values: list[Any]) -> dict[Hashable, Any]:
    if len(values) % 2:
        raise damaged("its pickle holds a key without a value")
    return {safe_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _ordered_dict(args: tuple[Any, ...]) -> dict[Hashable, Any]:
    pairs = args[0] if args else []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise damaged("it makes a dictionary of something else than pairs")
    return {safe_key(key): value for key, value in pairs}


def _set(args: tuple[Any, ...]) -> set[Hashable]:
    values = args[0] if args else []
    if not isinstance(values, list | tuple):
        raise damaged("it makes a set of something else than a list")
    return {safe_key(value) for value in values}


def _global(argument: str) -> Global:
    module, _, name = argument.partition(" ")
    return Global(module, name)


_SETS: dict[str, Rebuild] = {
    f"{module}.{kind}": _set for module in ("builtins", "__builtin__") for kind in ("set", "frozenset")
}

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "MARK": lambda m, _: m._push(_MARK),
    "POP": lambda m, _: m._discard(),
    "POP_MARK": lambda m, _: m._discard_to_mark(),
    "DUP": lambda m, _: m._push(m._top()),
    "EMPTY_LIST": lambda m, _: m._push([]),
    "EMPTY_DICT": lambda m, _: m._push({}),
    "EMPTY_SET": lambda m, _: m._push(set()),
    "LIST": lambda m, _: m._push(m._pop_mark()),
    "DICT": lambda m, _: m._push(_pairs(m._pop_mark())),
    "TUPLE": lambda m, _: m._push(tuple(m._pop_mark())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "FROZENSET": lambda m, _: m._push(_set((m._pop_mark(),))),
    "APPEND": lambda m, _: m._append(),
    "APPENDS": lambda m, _: m._extend(m._pop_mark()),
    "ADDITEMS": lambda m, _: m._extend(m._pop_mark()),
    "SETITEM": lambda m, _: m._set_item(),
    "SETITEMS": lambda m, _: m._set_items(m._pop_mark()),
    "GET": lambda m, a: m._recall(a),
    "BINGET": lambda m, a: m._recall(a),
    "LONG_BINGET": lambda m, a: m._recall(a),
    "PUT": lambda m, a: m._remember(a),
    "BINPUT": lambda m, a: m._remember(a),
    "LONG_BINPUT": lambda m, a: m._remember(a),
    "MEMOIZE": lambda m, _: m._remember(None),
    "GLOBAL": lambda m, a: m._push(_global(a)),
    "STACK_GLOBAL": lambda m, _: m._stack_global(),
    "EXT1": lambda m, a: m._push(Global("copyreg", f"extension {a}")),
    "EXT2": lambda m, a: m._push(Global("copyreg", f"extension {a}")),
    "EXT4": lambda m, a: m._push(Global("copyreg", f"extension {a}")),
    "INST": lambda m, a: m._push(m._make(_global(a), tuple(m._pop_mark()))),
    "OBJ": lambda m, _: m._object(),
    "REDUCE": lambda m, _: m._reduce(),
    "NEWOBJ": lambda m, _: m._reduce(),
    "NEWOBJ_EX": lambda m, _: m._reduce(with_keywords=True),
    "BUILD": lambda m, _: m._build(),
    "PERSID": lambda m, a: m._push(m._persistent(a)),
    "BINPERSID": lambda m, _: m._push(m._persistent(m._pop())),
}
