"""Packages that report their use over the network unless they are told not to.

openvino sends a message when it is imported, onnxruntime (1.32) some seconds after a session was
made. Both look at the environment while they are imported, and never again.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

from edgezoo.system.process import SILENT

_lock = threading.Lock()


def load(package: str) -> Any:
    """Import a package in silence; the user's environment is as before afterwards."""
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
