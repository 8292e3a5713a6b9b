"""What results depend on: EdgeZoo's own code, and the packages that its plug-ins load."""

from __future__ import annotations

import email
import hashlib
import importlib.metadata
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.paths import PACKAGE
from edgezoo.core.protocols import Exporter, Runtime
from edgezoo.core.releases import own_version

# What turns images into inputs, whichever plug-ins take part.
_ALWAYS = ("numpy", "PIL")
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the results of plug-ins depend on.

    Attributes:
        code_sha256: of EdgeZoo's own modules: in a checkout the version alone says little.
        packages: versions by distribution, requirements of requirements included.
    """

    code_sha256: str
    packages: dict[str, str]


def dependencies(*plugins: Exporter | Runtime) -> Dependencies:
    """Return what results of these plug-ins depend on, for the keys of caches."""
    modules = (*(name for plugin in plugins for name in plugin.packages), *_ALWAYS)
    return Dependencies(code_sha256(), _with_requirements([*_installed(modules), "edgezoo"]))


def artifact_versions() -> dict[str, str]:
    """Return the versions of all exporters' packages, numpy, Pillow and EdgeZoo, for contracts."""
    # Contracts keep the order: packages of the exporter that needs the fewest come first.
    exporters = sorted(registry.exporters().values(), key=lambda e: len(e.packages))
    modules = (*(name for exporter in exporters for name in exporter.packages), *_ALWAYS)
    return {**_installed(modules), "edgezoo": own_version()}


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Return the SHA-256 of EdgeZoo's own modules."""
    state = hashlib.sha256()
    for folder, folders, names in os.walk(PACKAGE, followlinks=True):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names) if name.endswith(".py")):
            state.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _installed(modules: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that provide importable packages, in order, each once."""
    names = dict.fromkeys(name for module in modules for name in _distributions(module))
    return {name: importlib.metadata.version(name) for name in names}


@lru_cache(maxsize=64)
def _distributions(module: str) -> tuple[str, ...]:
    """Names of the distributions that provide a package: most are called like it."""
    try:
        importlib.metadata.distribution(module)
        found = [module]
    except importlib.metadata.PackageNotFoundError:
        found = _by_module().get(module, [])
    return tuple(dict.fromkeys(_normalized(name) for name in sorted(found)))


@lru_cache(maxsize=1)
def _by_module() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _normalized(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()  # PEP 503


def _with_requirements(names: list[str]) -> dict[str, str]:
    """Versions of distributions and of all that these require and that is installed.

    Only the heads of their metadata are read, so that a description of 100 kB is not parsed.
    """
    found: dict[str, str] = {}
    while names:
        name = _normalized(names.pop())
        if name in found:
            continue
        try:
            text = importlib.metadata.distribution(name).read_text("METADATA") or ""
        except importlib.metadata.PackageNotFoundError:
            continue
        head = email.message_from_string(text.partition("\n\n")[0])
        found[name] = head["Version"]
        for line in head.get_all("Requires-Dist", ()):
            needed = _NAME.match(line)
            if needed and "extra ==" not in line:
                names.append(needed[0])
    return dict(sorted(found.items()))
