"""Write a bundle: whole or not at all, and the same bytes for the same request."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.bundling import c_source, golden
from edgezoo.bundling.place import LIST, SCHEMA, BundleList, check_folder, resolved
from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.escapes import markdown, markdown_code, shell
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.protocols import Session, TensorInfo
from edgezoo.core.sequences import OneOrMany, PathLike, paths
from edgezoo.core.typed_json import JsonObject, Length, optional
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.conversion import to_input
from edgezoo.inference.predict import open_as_stated, require_classes
from edgezoo.system import answer
from edgezoo.system.staging import publish, staging

_DEVICE = Path(__file__).with_name("device")
_COPIED = ("classify.py", "selftest.py", "requirements.txt", "requirements-tflite-runtime.txt")


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model in a bundle.

    Attributes:
        artifact: the file that it was copied from
        file: in the bundle
        c_sources: empty without --c-array
        runtime: that computed the expected outputs
    """

    artifact: Path
    file: str
    c_sources: tuple[str, ...]
    runtime: str | None


@dataclass(frozen=True, slots=True)
class BundledFile:
    """A file in a bundle; `path` is relative to it."""

    path: str
    bytes: int
    sha256: Annotated[str, Length(64, 64)]


@dataclass(frozen=True, slots=True)
class BundleResult(JsonObject):
    """A bundle that was written.

    Attributes:
        path: folder or zip
        bytes: of all files, unpacked
        notes: what was assumed for files without a contract
    """

    path: Path
    bytes: int
    models: tuple[BundledModel, ...]
    files: tuple[BundledFile, ...]
    notes: tuple[str, ...] | None = optional()


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with its inputs and outputs for the golden images, by image name."""

    artifact: Artifact
    input: TensorInfo
    output: TensorInfo
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    @property
    def contract(self) -> InputContract:
        return self.artifact.required_contract()

    @property
    def stem(self) -> str:
        return self.artifact.path.stem


def bundle(
    artifacts: OneOrMany[PathLike],
    output: PathLike,
    *,
    c_array: bool = False,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: PathLike | None = None,
    head: str | None = None,
    output_name: str | None = None,
) -> BundleResult:
    """Put .tflite files and everything that a device needs to run them into a folder or a .zip.

    Args:
        artifacts: .tflite files of different names.
        output: a path that ends in .zip, or a folder: a new one, an empty one, or an unchanged
            earlier bundle, which is replaced.
        c_array: also write each model as C source with its contract as a header.
        preprocessing, scale, offset, bgr, resize, crop_fraction: for a file without a contract; see
            `open_artifact`.
        input_size, labels, head, output_name: the same.

    Raises:
        UsageError: the output exists and is not a bundle, or two files have the same name.
        RefusedError: a file is not TFLite, or produces features instead of classes.
        DataError, MissingError: a file cannot be read, run or written.
    """
    stated = InputOptions(
        preprocessing,
        scale,
        offset,
        bgr,
        resize,
        crop_fraction,
        input_size,
        labels,
        head,
        output_name,
    )
    models, contents = _made(paths(artifacts), output, c_array, stated)
    _write(contents, resolved(output))
    return _result(models, contents, Path(output), c_array)


def prepare(
    folder: Path,
    artifacts: OneOrMany[PathLike],
    output: PathLike,
    *,
    c_array: bool = False,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: PathLike | None = None,
    head: str | None = None,
    output_name: str | None = None,
) -> BundleResult:
    """Write the files of a bundle into a folder, in a limited process; see `bundle`."""
    stated = InputOptions(
        preprocessing,
        scale,
        offset,
        bgr,
        resize,
        crop_fraction,
        input_size,
        labels,
        head,
        output_name,
    )
    models, contents = _made(paths(artifacts), output, c_array, stated)
    try:
        for name, data in contents.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    except OSError as error:
        raise DataError(
            f"The files of {output} cannot be written: {error.strerror}.",
            "Free some space in the folder for temporary files (TMPDIR).",
        ) from error
    return _result(models, contents, Path(output), c_array)


def place(folder: Path, result: BundleResult) -> None:
    """Move what a limited process prepared into place.

    The files are read as data: a process that a model has taken over may have left anything.

    Raises:
        UsageError: the output has become something else than a bundle.
        DataError: the files are not those that the process named.
    """
    _check_output(resolved(result.path))
    contents = {}
    for file in result.files:
        try:
            content = answer.read_below(folder, file.path, file.bytes)
        except answer.NoAnswerError as error:
            raise _not_as_named(file.path) from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise _not_as_named(file.path)
        contents[file.path] = content
    _write(contents, resolved(result.path))


def _not_as_named(name: str) -> DataError:
    return DataError(
        f"The process that made the bundle left another file than it named: {name!r}.",
        "Check where the models came from.",
    )


def _made(
    files: Sequence[Path], output: PathLike, c_array: bool, stated: InputOptions
) -> tuple[list[_Model], dict[str, bytes]]:
    """Run the models, and return them with every file of the bundle."""
    _check(files, resolved(output), c_array)
    for path in files:
        require_classes(registry.load_artifact(path))
    opened = [open_as_stated(path, stated) for path in files]
    for found, _ in opened:
        require_classes(found)
    frames = [found.required_contract().frame for found, _ in opened]
    images = golden.images(max(max(frame.height, frame.width) for frame in frames))
    models = []
    for artifact, session in opened:
        with session:
            models.append(_run(artifact, session, images))
    return models, _files(models, images, c_array)


def _write(contents: dict[str, bytes], place: Path) -> None:
    write = _write_zip if place.suffix.lower() == ".zip" else _write_folder
    write(contents, place)


def _check(paths: Sequence[Path], output: Path, c_array: bool) -> None:
    for path in paths:
        if path.is_file() and path.suffix.lower() != ".tflite":
            raise RefusedError(
                f"{path} cannot be bundled: the programs of a bundle run .tflite files.",
                "Export with --format tflite, or install edgezoo with the runtime of this format "
                "on the device.",
            )
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        raise UsageError("Two files have the same name.", "Bundle files of different names.")
    clash = c_source.clash(stems) if c_array else None
    if clash:
        raise UsageError(
            f"{clash[0]}.tflite and {clash[1]}.tflite have the same name in C, {clash[2]}.",
            "Rename one of them, or leave out --c-array.",
        )
    _check_output(output)


def _check_output(output: Path) -> None:
    if output.suffix.lower() == ".zip":
        if output.is_dir():
            raise UsageError(f"{output} is a folder.", "Choose a file, or a folder without .zip.")
    else:
        check_folder(output)


def _run(artifact: Artifact, session: Session, images: dict[str, bytes]) -> _Model:
    contract = artifact.required_contract()
    inputs, outputs = {}, {}
    for name, data in images.items():
        pixels = load_pixels(io.BytesIO(data), contract.frame, contract.resize)
        inputs[name] = to_input(pixels[None], contract, session.inputs[0])
        outputs[name] = session.run(inputs[name])[0]
    return _Model(artifact, session.inputs[0], session.outputs[0], inputs, outputs)


def _files(models: list[_Model], images: dict[str, bytes], c_array: bool) -> dict[str, bytes]:
    """Return every file of the bundle by its relative path, in sorted order."""
    files = {name: (_DEVICE / name).read_bytes() for name in _COPIED}
    tested = {f"golden/{name}": data for name, data in images.items()}
    for model in models:
        contract = model.contract
        tested[f"{model.stem}.tflite"] = model.artifact.path.read_bytes()
        tested[f"golden/{model.stem}.npz"] = _npz(model)
        files[f"{model.stem}.contract.json"] = _json(contract.to_json())
        if contract.labels:
            files[f"{model.stem}.labels.txt"] = "".join(f"{n}\n" for n in contract.labels).encode()
        if c_array:
            name = next(iter(images))
            example = (name, model.inputs[name], model.outputs[name])
            sources = c_source.write(model.artifact, model.input, model.output, example)
            files |= {f"c/{file}": text.encode() for file, text in sources.items()}
    files["README.md"] = _readme(models, c_array)
    names = [f"golden/{name}" for name in images]
    entries = [
        {"file": f"{stem}.tflite", "golden": f"golden/{stem}.npz", "images": names}
        for stem in (model.stem for model in models)
    ]
    listed = BundleList(SCHEMA, tuple(entries), sha256=_hashes(tested), others=_hashes(files))
    files[LIST] = _json(typed_json.encode(listed))
    return dict(sorted((files | tested).items()))


def _hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1) + "\n").encode()


def _npz(model: _Model) -> bytes:
    """Store the input tensors and raw outputs; numpy writes no dates."""
    stream = io.BytesIO()
    tensors: dict[str, Any] = {f"input/{name}": values for name, values in model.inputs.items()}
    tensors |= {f"output/{name}": values for name, values in model.outputs.items()}
    np.savez_compressed(stream, **tensors)
    return stream.getvalue()


def _readme(models: list[_Model], c_array: bool) -> bytes:
    rows, first = [], models[0]
    for model in models:
        contract = model.contract
        height, width, _ = contract.frame.shape
        rows.append(
            f"| {markdown_code(f'{model.stem}.tflite')} | {contract.color_order} "
            f"{contract.input_kind}, {model.input.dtype}, {contract.layout}, {height} x {width} | "
            f"{contract.classes} {contract.output_kind}, {model.output.dtype} |"
        )
    c_row = "| `c/` | each model as a C array, its contract as a header, and one golden image |\n"
    text = Template((_DEVICE / "README.md").read_text(encoding="utf-8")).substitute(
        title=" and ".join(markdown(model.stem) for model in models),
        choice="" if len(models) == 1 else f" --model {shell(f'{first.stem}.tflite')}",
        models="\n".join(rows),
        extra=c_row if c_array else "",
        runtime=registry.runtime_for(first.artifact.path).version(),
        machine=platform.machine(),
    )
    return text.encode()


def _write_folder(files: dict[str, bytes], output: Path) -> None:
    """Write next to the final place first, then rename."""
    with staging(output.parent, output.name) as stage:
        made, before = stage / "new", stage / "old"
        for name, data in files.items():
            place = made / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        if output.exists():
            output.rename(before)
        try:
            made.rename(output)
        except OSError:
            if before.exists():
                before.rename(output)
            raise


def _write_zip(files: dict[str, bytes], output: Path) -> None:
    with staging(output.parent, output.name) as stage:
        made = stage / output.name
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                info = zipfile.ZipInfo(f"{output.stem}/{name}")
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, data)
        publish([(made, output)])


def _result(
    models: list[_Model], files: dict[str, bytes], output: Path, c_array: bool
) -> BundleResult:
    bundled = []
    for model in models:
        path, stem = model.artifact.path, model.stem
        sources = tuple(f"c/{name}" for name in c_source.names(stem) if c_array)
        version = registry.runtime_for(path).version()
        bundled.append(BundledModel(path, f"{stem}.tflite", sources, version))
    written = (BundledFile(name, len(files[name]), sha) for name, sha in _hashes(files).items())
    notes = tuple(note for model in models for note in model.artifact.notes)
    size = sum(map(len, files.values()))
    return BundleResult(output, size, tuple(bundled), tuple(written), notes or None)
