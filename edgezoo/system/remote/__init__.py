"""Call functions on a device over one connection of OpenSSH's client, without an installation.

The device runs the same function in a child process (`edgezoo.system.process`), with the files of
its arguments copied there.
"""

from __future__ import annotations

from edgezoo.system.remote.copied_files import Tree, only
from edgezoo.system.remote.device import call, call_limited

__all__ = ["Tree", "call", "call_limited", "only"]
