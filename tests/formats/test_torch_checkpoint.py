"""Checkpoints of PyTorch's legacy format, written by Python's pickler, and crafted ones."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.core.errors import DataError
from edgezoo.formats import torch_checkpoint

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"int": 4}}
VALUES = np.arange(24, dtype=np.float32)


class Storage:
    """Stands for `torch.FloatStorage` with its key."""

    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values


class Tensor:
    """Pickles as a `torch.Tensor` does."""

    def __init__(self, storage: Storage, shape: tuple[int, ...], **changes: Any) -> None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        self.storage, self.shape = storage, shape
        self.offset, self.strides = changes.get("offset", 0), changes.get("strides", strides)

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        hooks: collections.OrderedDict[str, Any] = collections.OrderedDict()
        return rebuild, (self.storage, self.offset, self.shape, self.strides, False, hooks)


def _dump(value: Any, kind: str = "FloatStorage") -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if not isinstance(item, Storage):
                return None
            return ("storage", getattr(sys.modules["torch"], kind), item.key, "cpu",
                    len(item.values), None)  # fmt: skip

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a checkpoint of an object and its storages, as `torch.save` did before 1.6."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "ComplexFloatStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def make(value: Any, *storages: Storage, kind: str = "FloatStorage") -> Path:
        parts = [_dump(MAGIC), _dump(VERSION), _dump(MACHINE), _dump(value, kind)]
        parts.append(_dump([storage.key for storage in storages]))
        for storage in storages:
            parts += [struct.pack("<q", len(storage.values)), storage.values.tobytes()]
        path = tmp_path / "checkpoint.pth"
        path.write_bytes(b"".join(parts))
        return path

    yield make
    assert "torch" in sys.modules  # nothing but the fixture put it there


def test_tensors_come_back(write: Callable[..., Path]) -> None:
    """Views, transposed ones, scalars and shared storages, as state dictionaries have them."""
    first, second = Storage("1", VALUES), Storage("2", VALUES * 2)
    state = collections.OrderedDict(
        whole=Tensor(first, (2, 3, 4)),
        part=Tensor(first, (3,), offset=5),
        turned=Tensor(second, (4, 6), strides=(1, 4)),
        scalar=Tensor(second, (), offset=7),
        empty=Tensor(first, (0, 3)),
    )
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    found = torch_checkpoint.read(write(state, first, second))
    assert list(found) == ["whole", "part", "turned", "scalar", "empty"]
    np.testing.assert_array_equal(found["whole"], VALUES.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["part"], [5, 6, 7])
    np.testing.assert_array_equal(found["turned"], (VALUES * 2).reshape(6, 4).T)
    assert found["scalar"] == 14 and found["empty"].shape == (0, 3)
    assert not found["whole"].flags.writeable


def test_integers(write: Callable[..., Path]) -> None:
    counts = Storage("0", np.array([3], np.int64))
    found = torch_checkpoint.read(
        write({"batches": Tensor(counts, ())}, counts, kind="LongStorage")
    )
    assert found["batches"] == 3 and found["batches"].dtype == np.int64


def _refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        torch_checkpoint.read(path)
    assert caught.value.exit_code == 5
    return caught.value.message


class Command:
    """What an attacker would put into a checkpoint."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_crafted_pickle_is_refused_and_not_run(write: Callable[..., Path], tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    storage = Storage("1", VALUES)
    state = {"weight": Tensor(storage, (24,)), "more": Command(marker)}
    path = write(state, storage)
    assert "names posix.system, which is not part of a tensor" in _refusal(path)
    assert not marker.exists()
    # The file is what it claims to be: Python's own unpickler runs the command that is in it.
    pickle.loads(pickle.dumps(Command(marker), 2))
    assert marker.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"cbuiltins\neval\nq\x00.",
        b"c__builtin__\ngetattr\nq\x00.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",  # the right name, called with nothing
        b"ctorch._utils\n_rebuild_tensor_v2\n}(X\x08\x00\x00\x00__code__K\x01uNb\x86b.",
        b"(S'echo'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'echo'\no.",  # OBJ
        b"\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x82\x01.",  # EXT1
        b"X\xff\xff\xff\x7fabc.",  # a string longer than the file
        b"(" * 50,
        b".",
        b"",
    ],
)
def test_hostile_programs(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "hostile.pth"
    head = b"".join(map(_dump, (MAGIC, VERSION, MACHINE)))
    path.write_bytes(head + b"\x80\x02" + body + _dump([]))
    assert _refusal(path).startswith(f"{path} is not ")


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 20},
        {"offset": -1},
        {"strides": (100, 1)},
        {"strides": (-4, 1)},
        {"strides": (1,)},
        {"shape": (7, 4)},
    ],
)
def test_tensors_that_reach_out_of_their_storage(
    write: Callable[..., Path], changes: dict[str, Any]
) -> None:
    storage = Storage("1", VALUES)
    shape = changes.pop("shape", (6, 4))
    assert "strides" in _refusal(write({"x": Tensor(storage, shape, **changes)}, storage))


def test_what_is_not_a_checkpoint(write: Callable[..., Path], tmp_path: Path) -> None:
    storage = Storage("1", VALUES)
    tensor = Tensor(storage, (24,))
    other = tmp_path / "other.pth"
    for content in (b"PK\x03\x04 and so on", _dump(1) + _dump(2)):
        other.write_bytes(content)
        _refusal(other)
    assert "more than tensors" in _refusal(write({"x": tensor, "more": 3}, storage))
    complex_numbers = write({"x": tensor}, storage, kind="ComplexFloatStorage")
    assert "torch.ComplexFloatStorage" in _refusal(complex_numbers)
    assert "No such file" in _refusal(tmp_path / "none.pth")


def test_damaged_files(write: Callable[..., Path]) -> None:
    """A cut file gives a message; a changed byte a message or other values: no other exception."""
    storage = Storage("1", VALUES)
    path = write({"x": Tensor(storage, (24,))}, storage)
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        _refusal(path)
    refused = 0
    for place in range(len(whole) - VALUES.nbytes):
        change = (0x01, 0x28, 0x80)[place % 3]
        path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
        try:
            torch_checkpoint.read(path)
        except DataError:
            refused += 1
    assert refused > 150
