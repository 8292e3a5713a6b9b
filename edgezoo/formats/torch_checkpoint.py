"""Reads PyTorch checkpoints of the legacy format, without PyTorch and without trusting them.

The format (before PyTorch 1.6, from `_legacy_save` and `_legacy_load` in
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py): five pickles one after the
other (a magic number, the version, facts of the machine, the object, the keys of its storages),
then each storage in the order of the keys as a little-endian 64-bit count and that many values.

A pickle is a program, and Python's unpickler runs it. Here `pickletools` only splits it into
instructions; those below build numbers, strings, tuples and dictionaries, and two names stand for
an ordered dictionary and for a tensor. Nothing is imported or called. Whatever else a file holds
is refused, and nothing it says makes this code take more memory than a few times its size.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_LARGEST_FILE = 2**30
_MOST_INSTRUCTIONS = 1_000_000
_MOST_AXES = 8
_ZIP = b"PK\x03\x04"
_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
}


class _RefusedError(Exception):
    """What this reader does not allow, in words."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that the pickle names: only ever compared with the names above."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """Values that follow after the pickles."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view into a storage; offset and strides count values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where a group of values on the stack begins."""


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a state dictionary by name.

    Args:
        path: a file that `torch.save(model.state_dict(), path)` wrote before PyTorch 1.6.

    Returns:
        Read-only arrays of the stored types and shapes, in the file's order.

    Raises:
        DataError: another format, a damaged file, or one that holds more than tensors.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _RefusedError(f"it is larger than {_LARGEST_FILE >> 20} MiB")
        content = path.read_bytes()
        if content.startswith(_ZIP):
            raise _RefusedError("it is of the zip format; only the one before PyTorch 1.6 is read")
        return _read(content)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except _RefusedError as error:
        raise DataError(f"{path} is not read as a checkpoint: {error}.") from error
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError) as error:
        # What a cut or changed file leads to in pickletools or in the instructions below.
        raise DataError(f"{path} is not a whole PyTorch checkpoint ({error}).") from error


def _read(content: bytes) -> dict[str, NDArray[Any]]:
    stream = io.BytesIO(content)
    if (_unpickle(stream), _unpickle(stream)) != (_MAGIC, _VERSION):
        raise _RefusedError("it does not start as one of PyTorch's legacy format does")
    if _unpickle(stream)["little_endian"] is not True:
        raise _RefusedError("its numbers are big-endian")
    tensors, keys = _unpickle(stream), _unpickle(stream)
    if not isinstance(tensors, dict) or not isinstance(keys, list):
        raise _RefusedError("it holds no dictionary of tensors")
    for name, value in tensors.items():
        if not isinstance(value, _Tensor):
            raise _RefusedError(f"{name} is not a tensor")
    wanted = {value.storage.key: value.storage for value in tensors.values()}
    storages = _read_storages(content, stream.tell(), keys, wanted)
    return {name: _view(storages[value.storage.key], value) for name, value in tensors.items()}


def _view(values: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    import numpy as np

    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _read_storages(
    content: bytes, place: int, keys: list[Any], wanted: dict[str, _Storage]
) -> dict[str, NDArray[Any]]:
    """Views into the file's content, one a storage."""
    import numpy as np

    found = {}
    for key in keys:
        storage = wanted[_require_type(key, str)]
        (count,) = np.frombuffer(content, "<i8", 1, place)
        if int(count) != storage.count:
            raise _RefusedError(f"storage {key} has {count} values, not {storage.count}")
        place += 8
        found[key] = np.frombuffer(content, storage.dtype, storage.count, place)
        place += found[key].nbytes
    return found


def _unpickle(stream: io.BytesIO) -> Any:
    """One pickle's value; the stream then stands behind it."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if count == _MOST_INSTRUCTIONS:
            raise _RefusedError("its pickle is too long")
        name = instruction.name
        if name == "STOP":
            return stack.pop()
        if name in _IGNORED:
            continue
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name](argument))
        elif name in _SHORT_TUPLES:
            stack[-_SHORT_TUPLES[name] :] = [tuple(stack[-_SHORT_TUPLES[name] :])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _ACTIONS:
            _ACTIONS[name](stack)
        else:
            raise _RefusedError(f"its pickle has the instruction {name}")
    raise _RefusedError("its pickle does not end")


def _group(stack: list[Any]) -> list[Any]:
    """Take the values down to the last mark off the stack."""
    values = []
    while not isinstance(value := stack.pop(), _Mark):
        values.append(value)
    return values[::-1]


def _set_items(stack: list[Any]) -> None:
    values = _group(stack)
    target = _require_type(stack[-1], dict)
    for key, value in zip(values[::2], values[1::2], strict=True):
        target[_require_type(key, str)] = value


def _set_item(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _require_type(stack[-1], dict)[_require_type(key, str)] = value


def _append_items(stack: list[Any]) -> None:
    values = _group(stack)
    _require_type(stack[-1], list).extend(values)


def _reduce(stack: list[Any]) -> None:
    """What would be a call: of the two names that are known."""
    arguments, name = stack.pop(), stack.pop()
    if name == _Name(_ORDERED_DICT) and arguments == ():
        stack.append({})
    elif name == _Name(_REBUILD_TENSOR):
        stack.append(_tensor(*arguments[:4]))
    else:
        raise _RefusedError("it calls something")


def _build(stack: list[Any]) -> None:
    """Attributes of a dictionary (PyTorch keeps versions of its modules there): left out."""
    stack.pop()
    _require_type(stack[-1], dict)


def _storage(stack: list[Any]) -> None:
    """A reference to values outside the pickle: ("storage", type, key, device, count, None)."""
    kind, dtype, key, _, count, view = stack.pop()
    known = isinstance(dtype, _Name) and dtype.name in _STORAGES
    if kind != "storage" or not known or view is not None or not isinstance(key, str):
        raise _RefusedError("it refers to something that is no plain storage")
    if not _is_count(count):
        raise _RefusedError(f"storage {key} has an impossible size")
    stack.append(_Storage(key, _STORAGES[dtype.name], count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """A tensor that lies within its storage and is no larger than it."""
    if not isinstance(storage, _Storage) or not len(shape) == len(strides) <= _MOST_AXES:
        raise _RefusedError("one of its tensors is malformed")
    if not all(map(_is_count, (offset, *shape, *strides))):
        raise _RefusedError("one of its tensors has an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count):
        raise _RefusedError("one of its tensors is larger than its storage")
    return _Tensor(storage, min(offset, storage.count), tuple(shape), tuple(strides))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_FILE


def _require_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _RefusedError(f"it has something else where a {kind.__name__} belongs")
    return value


def _allowed_name(name: str) -> _Name:
    if name not in (_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGES):
        raise _RefusedError(f"it names {name.replace(' ', '.')}, which is no tensor or dictionary")
    return _Name(name)


_IGNORED = frozenset({"PROTO"})
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "MARK": lambda _: _Mark(),
    "GLOBAL": _allowed_name,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), lambda value: value),
}
_ACTIONS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": lambda stack: stack.append(tuple(_group(stack))),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "APPEND": lambda stack: _require_type(stack[-2], list).append(stack.pop()),
    "APPENDS": _append_items,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _storage,
}
