"""The GPUs that Vulkan finds, without any package: WebGPU runtimes on Linux use Vulkan."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from edgezoo.core.errors import MissingError
from edgezoo.system import process
from edgezoo.system.libraries import find_library

_CPU_TYPE = 4  # VK_PHYSICAL_DEVICE_TYPE_CPU
_INSTANCE_CREATE_INFO = 1
# VkPhysicalDeviceProperties: four numbers, the type, then the name in 256 bytes.
_TYPE_OFFSET, _NAME_OFFSET, _PROPERTIES_SIZE = 16, 20, 2048


@dataclass(frozen=True, slots=True)
class Adapter:
    """A Vulkan device; `software` if it is emulated on the CPU."""

    name: str
    software: bool


@lru_cache(maxsize=1)
def adapters() -> tuple[Adapter, ...]:
    """Return all Vulkan devices, in the driver's order; empty without Vulkan.

    Drivers are third-party code, so they are loaded in a child process, except in a limited one.
    """
    if not sys.platform.startswith("linux") or find_library("vulkan") is None:
        return ()
    crashed = MissingError(
        "The Vulkan driver crashed the process that looked for GPUs.",
        "Update the driver, or use --device cpu.",
    )
    try:
        return process.guarded(process.job(list_adapters), crashed)
    except MissingError:
        return ()


def chosen() -> tuple[Literal["hardware", "software", "unknown"], str | None]:
    """Return kind and name of the device used by a runtime that does not report it.

    They are known only if Vulkan has one device, or several of one kind (then without a name).
    """
    found = adapters()
    if len({adapter.software for adapter in found}) != 1:
        return "unknown", None
    kind: Literal["hardware", "software"] = "software" if found[0].software else "hardware"
    return kind, found[0].name if len(found) == 1 else None


class _InstanceInfo(ctypes.Structure):
    """VkInstanceCreateInfo: after the type, numbers and pointers, padded alike, which stay zero."""

    _fields_ = (("sType", ctypes.c_int), ("others", ctypes.c_void_p * 7))


def list_adapters() -> tuple[Adapter, ...]:
    """Look for Vulkan devices; called in a child process."""
    vulkan = ctypes.CDLL(find_library("vulkan"))
    instance = ctypes.c_void_p()
    info = _InstanceInfo(sType=_INSTANCE_CREATE_INFO)
    if vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)) != 0:
        return ()
    count = ctypes.c_uint32()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    devices = (ctypes.c_void_p * count.value)()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
    found = []
    for device in devices[: count.value]:
        properties = ctypes.create_string_buffer(_PROPERTIES_SIZE)
        vulkan.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), properties)
        kind = int.from_bytes(properties.raw[_TYPE_OFFSET:_NAME_OFFSET], sys.byteorder)
        name = properties.raw[_NAME_OFFSET : _NAME_OFFSET + 256].split(b"\0")[0].decode()
        found.append(Adapter(name, kind == _CPU_TYPE))
    return tuple(found)
