"""Files compiled for the Coral Edge TPU, and the library that runs them.

A compiled file is a TFLite file whose mapped operations are replaced by one custom operation. Its
options are a package in Google's DarwiNN format, a flatbuffer whose schema is in libedgetpu
(executable/executable.fbs). The few fields below are read with the standard library.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from edgezoo.core.errors import DataError, EdgeZooError, MissingError
from edgezoo.system import process
from edgezoo.system.hardware import EDGETPU_VARIABLE
from edgezoo.system.libraries import find_library

T = TypeVar("T")
LIBRARY_VARIABLE = EDGETPU_VARIABLE
_IDENTIFIER = b"DWN1"
# Indices of the fields in their tables.
_PACKAGE = {"min_runtime": 0, "executables": 1, "compiler": 4}
_EXECUTABLE = {"parameters": 6, "type": 13}
_MOST_EXECUTABLES = 64
_CACHING = 1  # this executable's parameters stay on the chip; those of others are streamed
_INSTALL = "See https://coral.ai/software/#debian-packages for how to install libedgetpu1-std."


@dataclass(frozen=True, slots=True)
class CompiledPackage:
    """The header of a file compiled for the Edge TPU.

    Attributes:
        minimum_runtime: the oldest Edge TPU runtime, such as 13 (not the version of libedgetpu's
            package: release 16.0 of the compiler requires runtime 14).
        compiler: the compiler's own identification.
        cached_bytes: parameters that stay on the chip.
        streamed_bytes: parameters that are sent at every inference.
    """

    minimum_runtime: int
    compiler: str
    cached_bytes: int
    streamed_bytes: int


def read_package(path: Path) -> CompiledPackage:
    """Read the header of a compiled file.

    Raises:
        DataError: the package in the file is damaged.
    """
    data = path.read_bytes()
    try:
        return _package(data[data.index(_IDENTIFIER) - 4 :])
    except (struct.error, ValueError) as error:
        raise DataError(f"{path} is a damaged file of the Edge TPU compiler.") from error


def _package(data: bytes) -> CompiledPackage:
    package = _Table(data)
    sizes = {True: 0, False: 0}
    for content in _Table(package.content(_PACKAGE["executables"])).strings(0):
        executable = _Table(content)
        cached = executable.number(_EXECUTABLE["type"], "<h") == _CACHING
        sizes[cached] += len(executable.content(_EXECUTABLE["parameters"]))
    compiler = package.content(_PACKAGE["compiler"]).decode(errors="replace")
    runtime = package.number(_PACKAGE["min_runtime"], "<i")
    return CompiledPackage(runtime, compiler, sizes[True], sizes[False])


class _Table:
    """The root table of a flatbuffer: fields by index."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._start = self._read("<I", 0)

    def _read(self, form: str, place: int) -> int:
        return int(struct.unpack_from(form, self._data, place)[0])

    def _field(self, place: int) -> int | None:
        layout = self._start - self._read("<i", self._start)
        if 4 + 2 * place >= self._read("<H", layout):
            return None
        offset = self._read("<H", layout + 4 + 2 * place)
        return self._start + offset if offset else None

    def number(self, place: int, form: str) -> int:
        """Read a scalar; an absent field is 0, the default of the format."""
        field = self._field(place)
        return 0 if field is None else self._read(form, field)

    def content(self, place: int) -> bytes:
        """Read a string or a vector of bytes."""
        field = self._field(place)
        return self._vector(field) if field is not None else b""

    def strings(self, place: int) -> list[bytes]:
        """Read a vector of strings."""
        field = self._field(place)
        if field is None:
            return []
        start = field + self._read("<I", field)
        count, first = self._read("<I", start), start + 4
        if count > _MOST_EXECUTABLES:
            raise ValueError(f"{count} executables")
        return [self._vector(first + 4 * i) for i in range(count)]

    def _vector(self, place: int) -> bytes:
        length_at = place + self._read("<I", place)
        length, start = self._read("<I", length_at), length_at + 4
        if start + length > len(self._data):
            raise ValueError("a vector extends past the end")
        return self._data[start : start + length]


def library() -> str | None:
    """Return the name or path of libedgetpu, from the variable or from the system."""
    named = os.environ.get(LIBRARY_VARIABLE)
    return named or find_library("edgetpu")


@lru_cache(maxsize=4)
def device_count(name: str) -> int:
    """Count Edge TPUs with a library; it is loaded in a child, since a wrong one may crash.

    Raises:
        MissingError: the library cannot be loaded.
    """
    return _guarded(name, process.job(count_devices, name))


def check_opens(path: Path, name: str) -> None:
    """Open a compiled file and run it once in a child process.

    Raises:
        MissingError, DataError: it cannot run here.
    """
    _guarded(name, process.job(try_file, name, path))


def _guarded(name: str, job: process.Job[T]) -> T:
    if "/" in name and not Path(name).exists():
        message = f"{LIBRARY_VARIABLE} is {name}, which does not exist."
        raise MissingError(message, "Set it to the path of libedgetpu.so.1, or unset it.")
    crashed = MissingError(
        f"{name} crashed the process that loaded it: it is not compatible with this TFLite "
        "runtime or this system.",
        "Use a libedgetpu built for the installed runtime: tflite-runtime 2.12 and later need "
        "one newer than Google's 16.0.",
    )
    return process.guarded(job, crashed)


def count_devices(library: str) -> int:
    """Load the library and count its devices; called in a child process."""
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        raise cause(str(error), library) from error
    try:
        loaded.edgetpu_list_devices.restype = ctypes.c_void_p
        loaded.edgetpu_free_devices.argtypes = [ctypes.c_void_p]
    except AttributeError as error:
        raise MissingError(
            f"{library} is a library, but not libedgetpu: it has no edgetpu_list_devices.",
            f"Set {LIBRARY_VARIABLE} to the path of libedgetpu.so.1, or unset it. {_INSTALL}",
        ) from error
    count = ctypes.c_size_t()
    devices = loaded.edgetpu_list_devices(ctypes.byref(count))
    loaded.edgetpu_free_devices(devices)
    return count.value


def try_file(library: str, path: Path) -> None:
    """Open a file with the delegate and run it once on zeros; called in a child process."""
    import numpy as np

    interpreter = open_interpreter(path, library, 1)
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()


def open_interpreter(path: Path, library: str, threads: int) -> Any:
    """Return an interpreter with the Edge TPU's delegate and allocated tensors.

    Raises:
        MissingError, DataError: see `cause`.
    """
    from edgezoo.runtimes.litert import load_api

    api = load_api()
    try:
        delegates = {"experimental_delegates": [api.load_delegate(library)]}
        interpreter = api.Interpreter(model_path=str(path), num_threads=threads, **delegates)
        interpreter.allocate_tensors()
    except (OSError, ValueError, RuntimeError) as error:
        raise cause(str(error), str(path)) from error
    return interpreter


# Patterns in a message of the runtimes, its meaning and what to do; the first match counts.
_CAUSES = {
    "libusb-1.0": (
        "libedgetpu needs libusb, which is not installed.",
        "Install the package libusb-1.0-0.",
    ),
    "cannot open shared object file.*libedgetpu|libedgetpu.*cannot open shared object file": (
        "The Edge TPU's library libedgetpu.so.1 is not installed.",
        _INSTALL,
    ),
    "cannot open shared object file": (
        "The Edge TPU's library needs another one that is not installed: {message}.",
        "Install the package that contains it.",
    ),
    "invalid ELF header|file too short": (
        "{where} is not a shared library.",
        f"Set {LIBRARY_VARIABLE} to the path of libedgetpu.so.1. {_INSTALL}",
    ),
    "wrong ELF class": (
        "{where} was built for a different word size than this Python.",
        "Install the libedgetpu for this architecture.",
    ),
    "undefined symbol": (
        "libedgetpu is not compatible with this TFLite runtime: {message}.",
        "Install a libedgetpu that was built for it.",
    ),
    "Failed to load delegate": (
        "libedgetpu found no Edge TPU that it may use.",
        "Plug the device in (USB 3, id 1a6e:089a or 18d1:9302; PCIe: /dev/apex_0), check the group "
        "(plugdev, apex), and that no other process uses it.",
    ),
    "requires runtime version": (
        "The file was compiled for a newer Edge TPU runtime: {message}.",
        "Upgrade libedgetpu, or compile with edgetpu_compiler --min_runtime_version.",
    ),
    "unresolved custom op: edgetpu-custom-op": (
        "The file was compiled for the Edge TPU and runs nowhere else.",
        "Use --device coral on a machine with an Edge TPU, or the file it was compiled from.",
    ),
}


def cause(message: str, where: str) -> EdgeZooError:
    """Return a clear error for a message of the loader or the runtime."""
    first = message.strip().splitlines()[0] if message.strip() else "no reason given"
    for pattern, (meaning, fix) in _CAUSES.items():
        if re.search(pattern, message, re.S):
            return MissingError(meaning.format(message=first, where=where), fix)
    return DataError(f"{where} cannot be run by the Edge TPU: {first}.", "Check the file.")
