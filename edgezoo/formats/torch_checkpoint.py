"""Reads PyTorch checkpoints of the legacy format, without PyTorch.

The format (before PyTorch 1.6, `_legacy_save` in
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py): five pickles in a row (a magic
number, the version, facts about the machine, the object, the keys of its storages), then each
storage in the order of the keys as a little-endian 64-bit count and that many values.

The unpickler resolves an allow-list of globals, so a pickle builds dictionaries and tensors and
calls nothing else. A crafted pickle could still nest values until Python's stack ends: check the
file's hash first.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2"}
_STORAGES |= {"LongStorage": "<i8", "IntStorage": "<i4"}


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `torch.save(model.state_dict(), path)` wrote before PyTorch 1.6.

    Returns:
        Read-only arrays by name, in the file's order, with the stored dtypes and shapes.

    Raises:
        DataError: another format, a damaged file, or one that holds more than tensors.
    """
    import numpy as np

    try:
        stream = io.BytesIO(path.read_bytes())
        storages: dict[str, NDArray[Any]] = {}
        pickles = (_Unpickler(stream, storages).load() for _ in range(5))
        magic, version, machine, tensors, keys = pickles
        if (magic, version, machine["little_endian"]) != (_MAGIC, _VERSION, True):
            raise pickle.UnpicklingError("it does not start as a little-endian legacy file")
        if not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
            raise pickle.UnpicklingError("it holds more than tensors")
        if set(keys) != set(storages):
            raise pickle.UnpicklingError("its list of storages does not match its tensors")
        for values in map(storages.__getitem__, keys):
            if struct.unpack("<q", stream.read(8)) != values.shape:
                raise pickle.UnpicklingError("a storage has another size than its tensors state")
            if stream.readinto(values.data) != values.nbytes:
                raise pickle.UnpicklingError("it ends early")
    except Exception as error:  # a damaged pickle can lead to nearly any exception
        raise DataError(f"{path} is not a PyTorch checkpoint that can be read: {error}.") from error
    return dict(tensors)


# The implementation in Python keeps its memo in a dictionary. The one in C allocates as many places
# as the highest index in the file, which one changed byte can make 64 GB.
class _Unpickler(pickle._Unpickler):
    """Builds dictionaries, and tensors as views of storages that are filled afterwards."""

    def __init__(self, stream: io.BytesIO, storages: dict[str, NDArray[Any]]) -> None:
        super().__init__(stream)
        self._storages, self._size = storages, len(stream.getbuffer())

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not part of a tensor")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        import numpy as np

        kind, dtype, key, _, count, view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or view is not None:
            raise pickle.UnpicklingError("it refers to something that is not a storage")
        if not 0 <= count * np.dtype(dtype).itemsize <= self._size:
            raise pickle.UnpicklingError("a storage is larger than the file")
        return self._storages.setdefault(key, np.zeros(count, dtype))

    def _rebuild_tensor(
        self, storage: NDArray[Any], offset: int, shape: Any, strides: Any, *_: Any
    ) -> NDArray[Any]:
        import numpy as np

        size = storage.itemsize
        steps = [step * size for step in strides]
        # numpy checks that shape and strides stay within the buffer.
        tensor = np.ndarray(shape, storage.dtype, storage.data, offset * size, steps)
        tensor.flags.writeable = False
        return tensor
