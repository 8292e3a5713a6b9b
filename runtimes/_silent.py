"""Import packages with their telemetry disabled.

openvino sends a message when it is imported, onnxruntime (1.32) some seconds after a session was
created. Both read the environment only while they are imported.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

from edgezoo.system.process import SILENT

_lock = threading.Lock()  # the environment is shared by all threads


def load(package: str) -> Any:
    """Import a package without telemetry; the environment is restored afterwards."""
    if package in sys.modules:
        return sys.modules[package]
    with _lock:
        before = {name: os.environ.get(name) for name in SILENT}
        os.environ.update(SILENT)
        try:
            return importlib.import_module(package)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
