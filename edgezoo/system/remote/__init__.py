"""A device across the network: one connection of OpenSSH's own client, nothing to install there.

What runs on a device is the same function that runs here, called by its name in a process of its
own (`edgezoo.system.process`), with the files that it takes copied there.
"""

from __future__ import annotations

from edgezoo.system.remote.about import Remote
from edgezoo.system.remote.copied_files import Tree, only
from edgezoo.system.remote.device import call, call_limited

__all__ = ["Remote", "Tree", "call", "call_limited", "only"]
