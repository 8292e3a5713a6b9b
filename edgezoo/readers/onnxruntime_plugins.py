"""Execution providers that come as plug-ins: every installed package that holds one.

Such a package is named onnxruntime_…, and has the functions get_library_path and get_ep_names
(https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries).
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, MissingError, words_of
from edgezoo.core.ran_on import RanOn
from edgezoo.core.reader_protocol import Opened
from edgezoo.readers._base import SessionReader
from edgezoo.runtimes._session import quiet_native
from edgezoo.runtimes._silent import load
from edgezoo.runtimes.onnxruntime import OnnxSession

if TYPE_CHECKING:
    from edgezoo.core.protocols import Session

_PREFIX, _MARK = "onnxruntime_", "def get_library_path"
# Options without which a provider does not know which of its libraries to use.
_OPTIONS = {"QNNExecutionProvider": (("backend_path", "get_qnn_htp_path"),)}


@dataclass(frozen=True, slots=True)
class PluginReader(SessionReader):
    """The providers of one package; no operation may run on ONNX Runtime's own CPU provider."""

    package: str = ""

    def version(self) -> str | None:
        """See `Reader`."""
        names = metadata.packages_distributions().get(self.package, [])
        return f"{names[0]} {metadata.version(names[0])}" if names else self.package

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        onnxruntime, plugin = load("onnxruntime"), importlib.import_module(self.package)
        names = plugin.get_ep_names()
        with quiet_native():
            onnxruntime.register_execution_provider_library(names[0], plugin.get_library_path())
            devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name in names]
        if not devices:
            raise MissingError(f"{self.package} finds no device for {', '.join(names)}.")
        device = devices[0]
        wanted = {key: getattr(plugin, path)() for key, path in _OPTIONS.get(device.ep_name, ())}
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings.add_provider_for_devices([device], wanted)
        try:
            with quiet_native():
                session = onnxruntime.InferenceSession(str(opened.path), sess_options=settings)
        except Exception as error:  # onnxruntime's own error classes have no common base
            message = f"{opened.path} cannot be opened by {device.ep_name}: {words_of(error)}."
            raise DataError(message) from error
        made = OnnxSession(session, RanOn("cpu", "unknown", device.ep_name))
        made.backend = device.ep_name
        return made


def _packages() -> list[str]:
    """Return the packages with such plug-ins, without importing them."""
    found = []
    for module in pkgutil.iter_modules():
        if module.ispkg and module.name.startswith(_PREFIX):
            with contextlib.suppress(OSError, AttributeError, UnicodeDecodeError):
                text = Path(module.module_finder.path, module.name, "__init__.py").read_text()  # type: ignore[union-attr]
                if _MARK in text:
                    found.append(module.name)
    return sorted(set(found))


def _readers() -> tuple[Any, ...]:
    return tuple(
        PluginReader(
            name.replace("_", "-"), ("onnx",), f"Run: pip install {name}.", 300.0, package=name
        )
        for name in _packages()
    )


READERS = _readers()
