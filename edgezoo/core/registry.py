"""Find models, exporters, runtimes and targets by searching their folders: no list to edit."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from edgezoo.core import lfs
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import MissingError, RefusedError, UsageError, did_you_mean, interpreting
from edgezoo.core.escapes import shell
from edgezoo.core.files import not_a_file, require_utf8
from edgezoo.core.spec import SAVED_MODEL_FILE, ModelSpec

if TYPE_CHECKING:
    from edgezoo.core.anatomy import AnatomyReader
    from edgezoo.core.protocols import Exporter, Runtime, Target
    from edgezoo.core.reader_protocol import Reader

T = TypeVar("T")
_ANATOMY = "edgezoo.runtimes._anatomy."


def _modules(package: str) -> Iterator[ModuleType]:
    """Import every module of a package whose name does not start with "_"."""
    folder = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        if not module.name.startswith("_"):
            yield importlib.import_module(f"{package}.{module.name}")


def _collect(package: str, attribute: str) -> list[Any]:
    return [getattr(module, attribute) for module in _modules(package)]


@lru_cache(maxsize=1)
def models() -> dict[str, ModelSpec]:
    """Return all models of the zoo by name."""
    specs = [spec for group in _collect("edgezoo.models", "SPECS") for spec in group]
    return {spec.name: spec for spec in specs}


@lru_cache(maxsize=1)
def exporters() -> dict[str, Exporter]:
    """Return all exporters by the name of their format."""
    return {exporter.name: exporter for exporter in _collect("edgezoo.exporters", "EXPORTER")}


@lru_cache(maxsize=1)
def runtimes() -> dict[str, Runtime]:
    """Return all runtimes by name."""
    return {runtime.name: runtime for runtime in _collect("edgezoo.runtimes", "RUNTIME")}


@lru_cache(maxsize=1)
def targets() -> dict[str, Target]:
    """Return all targets by name; a file holds one TARGET, or a family as TARGETS."""
    found: list[Target] = []
    for module in _modules("edgezoo.targets"):
        found += getattr(module, "TARGETS", None) or (module.TARGET,)
    return {target.name: target for target in found}


@lru_cache(maxsize=1)
def readers() -> dict[str, Reader]:
    """Return all readers by name; a file holds them as READERS."""
    found = [reader for group in _collect("edgezoo.readers", "READERS") for reader in group]
    return {reader.name: reader for reader in found}


def reader(name: str) -> Reader:
    """Return a reader by its name, upper or lower case; UsageError if that is unknown."""
    return _named("reader", name, readers())


def _named(
    kind: str, name: str, known: dict[str, T], hint: Callable[[str, list[str]], str] = did_you_mean
) -> T:
    """Return what has a name, upper or lower case."""
    if name.lower() not in known:
        raise UsageError(f"There is no {kind} {name!r}.", hint(name, list(known)))
    return known[name.lower()]


def target(name: str) -> Target:
    """Return a target by its name, upper or lower case; UsageError if that is unknown."""
    return _named("target", name, targets())


def target_for(artifact: Artifact, name: str) -> Target:
    """Return a target by its name; it must take files of the artifact's format.

    Raises:
        UsageError: the name is unknown.
        RefusedError: it takes other formats.
    """
    found = target(name)
    if artifact.format not in found.formats:
        raise RefusedError(
            f"{found.name} takes {' or '.join(found.formats)} files, "
            f"{artifact.path} is {artifact.format}.",
            f"Export it with --target {found.name}.",
        )
    return found


def model(name: str) -> ModelSpec:
    """Return a model by its name, upper or lower case; UsageError if that is unknown."""
    return _named("model", name, models(), _hint)


def _hint(name: str, known: list[str]) -> str:
    """Return a hint for a word that is not the name of a model: often it is a path."""
    if os.path.isfile(name) or os.path.isfile(os.path.join(name, SAVED_MODEL_FILE)):
        return f"`edgezoo inspect {shell(name)}` shows what is in a file."
    if os.path.isdir(name):
        return f"The folder of that name has no SavedModel ({SAVED_MODEL_FILE})."
    return did_you_mean(name, known)


def exporter(name: str) -> Exporter:
    """Return an exporter by the name of its format; UsageError if that is unknown."""
    return _named(
        "format", name, exporters(), lambda word, known: did_you_mean(word, [*known, "all"])
    )


def runtime_for(path: Path, name: str | None = None) -> Runtime:
    """Return the runtime for a file, by its ending, or another one of its format by name.

    Raises:
        UsageError: no runtime knows that ending, or the named one has another format.
    """
    known = runtimes()
    if name is not None and name not in known:
        raise UsageError(f"There is no runtime {name!r}.", did_you_mean(name, list(known)))
    by_suffix = {suffix: runtime for runtime in known.values() for suffix in runtime.suffixes}
    usual = by_suffix.get(path.suffix.lower())
    if usual is None:
        hint = f"Known endings: {', '.join(sorted(by_suffix))}."
        raise UsageError(f"{path} is not an artifact that EdgeZoo can open.", hint)
    found = usual if name is None else known[name]
    if found.format != usual.format:
        raise UsageError(
            f"The runtime {name} does not open {usual.format} files such as {path}.",
            f"Leave it out for {usual.name}.",
        )
    return found


def anatomy_reader(path: Path) -> AnatomyReader:
    """Return the reader of quantized files of this kind: the module named as their runtime.

    Raises:
        RefusedError: EdgeZoo cannot read the quantization of such files.
    """
    runtime = runtime_for(path)
    readable = [r for r in runtimes().values() if has_package(_ANATOMY + r.name)]
    if runtime not in readable:
        endings = " or ".join(suffix for known in readable for suffix in known.suffixes)
        raise RefusedError(
            f"{path} cannot be explained: EdgeZoo does not know how {runtime.format} files store "
            "their quantization.",
            f"Explain a {endings} file.",
        )
    reader: AnatomyReader = importlib.import_module(_ANATOMY + runtime.name).READER
    return reader


def require_device(word: str) -> None:
    """Raise a UsageError for a word of `--device` that no runtime supports, present or not."""
    devices = [device for runtime in runtimes().values() for device in runtime.supported_devices]
    known = list(dict.fromkeys(devices))
    if word not in known:
        raise UsageError(f"There is no device {word!r}.", did_you_mean(word, known))


def load_artifact(
    path: Path | str, contract: InputContract | None = None, trust: bool = False
) -> Artifact:
    """Read the format, the files and the contract of an artifact.

    Args:
        path: the main file, or the folder of a SavedModel.
        contract: what to assume where the file has no contract.
        trust: code in the file may run.

    Raises:
        DataError: the file does not exist or is damaged.
        MissingError: the package that reads the format is not installed.
    """
    path = Path(path)
    # Path.is_file raises where a name is too long to be one.
    if os.path.isfile(path / SAVED_MODEL_FILE):
        path /= SAVED_MODEL_FILE
    if not os.path.isfile(path):
        raise not_a_file(path)
    require_utf8(path)
    runtime = runtime_for(path)
    lfs.require_content(path)
    with interpreting(path):
        files = runtime.files(path)
        for file in files:
            lfs.require_content(file)
        facts = runtime.read_contract(path)
        inside = InputContract.from_json(facts) if facts is not None else contract
    return Artifact(path, runtime.format, files, inside, trust)


def require_packages(packages: tuple[str, ...], extra: str, purpose: str) -> None:
    """Raise a MissingError, with the pip command, for packages that cannot be imported."""
    missing = [name for name in packages if not has_package(name)]
    if missing:
        raise MissingError(
            f"{purpose} needs {', '.join(missing)}, which is not installed.",
            f'Run: pip install "edgezoo[{extra}]"',
        )


def has_package(name: str) -> bool:
    """Return whether a (dotted) module can be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


# Packages that every file needs to run: the name that Python imports, the name that pip installs.
_NEEDED = {"numpy": "numpy", "PIL": "pillow"}


def lacking_for_files() -> list[str]:
    """Return the packages that every file needs and that are not installed, as imported."""
    return [name for name in _NEEDED if not has_package(name)]


def needed_error(lacking: Sequence[str]) -> MissingError:
    """Return the error for packages of `lacking_for_files` that are not installed."""
    names = " and ".join(_NEEDED[name] for name in lacking)
    verb = "is" if len(lacking) == 1 else "are"
    return MissingError(
        f"Running a file needs {names}, which {verb} not installed.",
        f"Run: pip install {' '.join(_NEEDED[name] for name in lacking)}",
    )
