"""Locates the weights of a model before any heavy work starts."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.files import file_sha256, open_regular
from edgezoo.core.paths import expanded, home
from edgezoo.core.spec import (
    IMAGENET_CLASSES,
    BuildArguments,
    Frame,
    ModelSpec,
    WeightsFile,
    WeightsPackage,
)
from edgezoo.networks import pretrained
from edgezoo.system import downloads
from edgezoo.system.downloads import seen

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_WAYS_OUT = (
    "Four ways out: download that file elsewhere and give it with --weights FILE; "
    "copy it to the folder above (or set KERAS_HOME to a Keras folder that has it); "
    "name a mirror in EDGEZOO_MIRROR; "
    "or use --weights random to try everything with an untrained network."
)


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """Weights that are on this machine.

    Attributes:
        source: "imagenet", "file", "random", or "network" for those of a user model.
        path: of the file, or of a copy that was converted for Keras; None for random weights.
        sha256: of the file as published or given.
        file: its name as published or given.
        note: what users should know, as a sentence.
    """

    source: str
    path: Path | None
    sha256: str | None
    file: str | None = None
    note: str | None = None


def keras_home() -> Path:
    """Return Keras' own folder: KERAS_HOME, else ~/.keras."""
    return expanded(os.environ.get("KERAS_HOME") or home("KERAS_HOME") / ".keras")


def locate(spec: ModelSpec, arguments: BuildArguments, weights: str | Path) -> LocatedWeights:
    """Find or download weights.

    Args:
        spec: the model.
        arguments: complete.
        weights: "imagenet", "random" or the path of an HDF5 file.

    Raises:
        RefusedError: there are no ImageNet weights for these arguments.
        MissingError: they are in a package that is not installed.
        DataError: the file cannot be found or downloaded, or is damaged.
        UsageError: `weights` is neither a known word nor a file.
    """
    if weights == "random":
        return LocatedWeights("random", None, None)
    if weights == "imagenet":
        return _locate_imagenet(spec, arguments)
    path = expanded(weights)
    if not path.exists():
        if path.suffix or "/" in str(weights):
            raise DataError(f"There is no weights file {weights}.", "Check the path.")
        raise UsageError(
            f"--weights {weights} is neither imagenet, random nor a file.",
            "Give one of these words, or the path of an .h5 file.",
        )
    check_hdf5(path, "Give another file with --weights FILE.")
    return LocatedWeights("file", path, file_sha256(path), path.name)


def here(spec: ModelSpec) -> bool:
    """Whether ImageNet weights of a model, of any width and size, are on this machine."""
    if isinstance(spec.weights, WeightsPackage):
        return pretrained.find(spec.weights) is not None
    folder = keras_home() / "models"
    return any((folder / name).is_file() for name in _published_names(spec, spec.weights))


def _published_names(spec: ModelSpec, file: WeightsFile) -> list[str]:
    if spec.width is None:
        return [file.name]
    return [
        file.name.format(alpha=code, size=size)
        for code in spec.width.alpha_codes.values()
        for size in spec.width.imagenet_sizes
    ]


def _locate_imagenet(spec: ModelSpec, arguments: BuildArguments) -> LocatedWeights:
    _refuse_untrained(spec, arguments)
    if isinstance(spec.weights, WeightsPackage):
        path = pretrained.as_keras_file(spec, spec.weights)
        published = Path(spec.weights.file).name
        return LocatedWeights("imagenet", path, spec.weights.sha256, published)
    file = _wanted(spec, spec.weights, arguments)
    name, url, note = _imagenet_names(spec, file, arguments)
    path = keras_home() / "models" / name
    md5 = file.hash_for(arguments.alpha)
    if not path.exists():
        _download(url, path, md5, spec.name)
    check_hdf5(path, "Delete it to download it again, or give another file with --weights FILE.")
    sha256 = file_sha256(path)
    again = "Delete it to download it again, or give it with --weights FILE if you trust it."
    if md5 and _md5(path) != md5:
        raise DataError(
            f"{path} is not the file that Keras publishes for {spec.name} (its MD5 differs).", again
        )
    if not md5 and seen.known().get(url, sha256) != sha256:
        raise DataError(f"{path} is not used: {seen.differs(url)}.", again)
    return LocatedWeights("imagenet", path, sha256, path.name, note)


def _wanted(spec: ModelSpec, whole: WeightsFile, arguments: BuildArguments) -> WeightsFile:
    """Return the file with the top if it is needed or here, else the smaller one without."""
    if arguments.include_top or whole.no_top is None:
        return whole
    name, _, _ = _imagenet_names(spec, whole, arguments)
    return whole if (keras_home() / "models" / name).exists() else whole.no_top


def _refuse_untrained(spec: ModelSpec, arguments: BuildArguments) -> None:
    """Refuse networks for which no ImageNet weights are published."""
    ways = "Use --weights random or a file."
    if arguments.depth_multiplier not in (None, 1):
        raise RefusedError(
            f"There are no ImageNet weights for depth multiplier {arguments.depth_multiplier}.",
            f"Use 1. {ways}",
        )
    if arguments.blocks is not None:
        raise RefusedError(
            f"There are no ImageNet weights for --blocks {','.join(map(str, arguments.blocks))}.",
            f"Omit --blocks. {ways}",
        )
    if arguments.classes not in (None, IMAGENET_CLASSES):
        raise RefusedError(
            f"--classes {arguments.classes} does not fit the top of the ImageNet weights, which "
            f"has {IMAGENET_CLASSES} classes.",
            f"Add --no-top for features. {ways}",
        )
    size, trained = arguments.input_size, spec.default_input_size
    wide = arguments.input_width or size
    if spec.fixed_size_weights and arguments.include_top and (size, wide) != (trained, trained):
        text = Frame(size or 0, wide or 0).text
        raise RefusedError(
            f"The ImageNet weights of {spec.name} fit {trained} px only, "
            f"not {text} px: it flattens before its dense layers.",
            "Omit --input-size, add --no-top, or use --weights random.",
        )


def _imagenet_names(
    spec: ModelSpec, file: WeightsFile, arguments: BuildArguments
) -> tuple[str, str, str | None]:
    """Return file name, URL and a note, chosen as Keras does."""
    size, alpha = arguments.input_size, arguments.alpha
    if spec.width is None or size is None or alpha is None:
        return file.name, file.url, None
    if alpha not in spec.width.alpha_codes:
        known = ", ".join(f"{a:g}" for a in sorted(spec.width.alpha_codes))
        raise RefusedError(
            f"There are no ImageNet weights for {spec.name} of width {alpha:g}.",
            f"Widths with weights: {known}. Other widths need --weights random or a file.",
        )
    stored, note = size, None
    if size not in spec.width.imagenet_sizes or arguments.input_width is not None:
        stored = spec.width.fallback_size
        sizes = ", ".join(str(s) for s in spec.width.imagenet_sizes)
        shown = Frame(size, arguments.input_width or size).text
        note = (
            f"ImageNet weights were trained at {sizes} px; at {shown} px those of {stored} px are "
            "used, as in Keras. Measure the accuracy at this size."
        )
    fields = {"alpha": spec.width.alpha_codes[alpha], "size": stored}
    return file.name.format(**fields), file.url.format(**fields), note


def check_hdf5(path: Path, again: str) -> None:
    """Check that a file is a complete HDF5 file; `again` is the hint if not.

    Raises:
        DataError: it is another kind of file, or truncated.
    """
    try:
        reason = _why_not_hdf5(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", again) from error
    if reason is not None:
        raise DataError(f"{path} is {reason}.", again)


def _why_not_hdf5(path: Path) -> str | None:
    with open_regular(path) as stream:
        magic = stream.read(len(_HDF5_MAGIC))
    if path.suffix == ".keras" and magic[:4] == b"PK\x03\x04":
        return None
    if magic != _HDF5_MAGIC:
        return "not a Keras weights file (no HDF5 signature)"
    import h5py

    try:
        with h5py.File(path, "r", locking=False):  # an unfinished download is locked
            return None
    except OSError:
        return "damaged or truncated"


def _md5(path: Path) -> str:
    """Return the MD5, which Keras publishes; it does not protect against attacks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(url: str, path: Path, md5: str | None, model: str) -> None:
    """Download into the Keras cache, atomically."""

    def check(staged: Path) -> str | None:
        reason = _why_not_hdf5(staged)
        return f"it is {reason}" if reason else None

    title = f"The ImageNet weights of {model} are not cached and"
    digest = f"md5:{md5}" if md5 else None
    wanted = downloads.Wanted(title, url, path, digest=digest, check=check, ways_out=_WAYS_OUT)
    downloads.fetch(wanted)
