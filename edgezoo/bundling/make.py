"""Writes a bundle: whole or not at all, and the same bytes for the same request."""

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
from typing import Any

from edgezoo.bundling import c_source, golden
from edgezoo.bundling.place import LIST, SCHEMA, check_folder, resolved
from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.protocols import TensorInfo
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.predict import open_artifact, require_classes, to_input
from edgezoo.system.staging import publish, staging

_DEVICE = Path(__file__).with_name("device")
_COPIED = ("classify.py", "selftest.py", "requirements.txt", "requirements-tflite-runtime.txt")


@dataclass(frozen=True, slots=True)
class _Model:
    """One model of a bundle, and what it answers to the golden pictures, by picture name."""

    artifact: Artifact
    taken: TensorInfo
    given: TensorInfo
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    @property
    def stem(self) -> str:
        return self.artifact.path.stem


def bundle(
    artifacts: Sequence[Path | str],
    output: Path | str,
    *,
    c_array: bool = False,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
) -> dict[str, Any]:
    """Put .tflite files and all that a device needs for them into a folder or a .zip.

    Args:
        artifacts: .tflite files of different names.
        output: a path that ends in .zip, or a folder: a new one, an empty one, or an earlier
            bundle to which nothing was added, which is replaced.
        c_array: also write each model as C source with its contract as a header.
        preprocessing, labels: for files that carry no contract.

    Returns:
        What `edgezoo bundle --json` prints.

    Raises:
        UsageError: an output that is or holds something else, two files of one name.
        RefusedError: a file of another format than TFLite, or one that names no classes.
        DataError, MissingError: a file cannot be read, run or written.
    """
    paths, asked = [Path(path) for path in artifacts], output
    output = resolved(output)
    _check(paths, output, c_array)
    for path in paths:
        require_classes(registry.load_artifact(path))
    opened = [open_artifact(path, preprocessing=preprocessing, labels=labels) for path in paths]
    sizes = [artifact.required_contract().input_size for artifact, _ in opened]
    pictures = golden.pictures(max(sizes))
    models = []
    for artifact, session in opened:
        with session:
            models.append(_answer(artifact, session, pictures))
    files = _files(models, pictures, c_array)
    write = _write_zip if output.suffix.lower() == ".zip" else _write_folder
    write(files, output)
    return _facts(models, files, Path(asked), c_array)


def _check(paths: list[Path], output: Path, c_array: bool) -> None:
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
            f"{clash[0]}.tflite and {clash[1]}.tflite lead to the same name in C, {clash[2]}.",
            "Rename one of them, or leave out --c-array.",
        )
    if output.suffix.lower() == ".zip":
        if output.is_dir():
            raise UsageError(f"{output} is a folder.", "Name a file, or a folder without .zip.")
    else:
        check_folder(output)


def _answer(artifact: Artifact, session: Any, pictures: dict[str, bytes]) -> _Model:
    contract = artifact.required_contract()
    inputs, outputs = {}, {}
    for name, data in pictures.items():
        pixels = load_pixels(io.BytesIO(data), contract.input_size, contract.resize)
        inputs[name] = to_input(pixels[None], contract, session.inputs[0])
        outputs[name] = session.run(inputs[name])[0]
    return _Model(artifact, session.inputs[0], session.outputs[0], inputs, outputs)


def _files(models: list[_Model], pictures: dict[str, bytes], c_array: bool) -> dict[str, bytes]:
    """Every file of the bundle by its relative path, in sorted order."""
    files = {name: (_DEVICE / name).read_bytes() for name in _COPIED}
    proved = {f"golden/{name}": data for name, data in pictures.items()}
    for model in models:
        contract = model.artifact.required_contract()
        proved[f"{model.stem}.tflite"] = model.artifact.path.read_bytes()
        proved[f"golden/{model.stem}.npz"] = _npz(model)
        files[f"{model.stem}.contract.json"] = _json(contract.to_json())
        if contract.labels:
            files[f"{model.stem}.labels.txt"] = "".join(f"{n}\n" for n in contract.labels).encode()
        if c_array:
            name = next(iter(pictures))
            example = (name, model.inputs[name], model.outputs[name])
            sources = c_source.write(model.artifact, model.taken, model.given, example)
            files |= {f"c/{file}": text.encode() for file, text in sources.items()}
    files["README.md"] = _readme(models, c_array)
    entries = [
        {
            "file": f"{model.stem}.tflite",
            "golden": f"golden/{model.stem}.npz",
            "pictures": [f"golden/{name}" for name in pictures],
        }
        for model in models
    ]
    # selftest.py demands what it proves by; the others are known to tell what a user changed.
    facts = {"schema": SCHEMA, "models": entries, "sha256": _hashes(proved)}
    files[LIST] = _json(facts | {"others": _hashes(files)})
    return dict(sorted((files | proved).items()))


def _hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1) + "\n").encode()


def _npz(model: _Model) -> bytes:
    """The tensors that go in and the raw outputs; numpy writes no dates."""
    import numpy as np

    stream = io.BytesIO()
    tensors = {f"input/{name}": values for name, values in model.inputs.items()}
    tensors |= {f"output/{name}": values for name, values in model.outputs.items()}
    np.savez_compressed(stream, **tensors)
    return stream.getvalue()


def _readme(models: list[_Model], c_array: bool) -> bytes:
    rows, first = [], models[0]
    for model in models:
        contract = model.artifact.required_contract()
        size = contract.input_size
        rows.append(
            f"| `{model.stem}.tflite` | {contract.color_order} {contract.input_kind}, "
            f"{model.taken.dtype}, {contract.layout}, {size} x {size} | "
            f"{contract.classes} {contract.output_kind}, {model.given.dtype} |"
        )
    extra = (
        "| `c/` | each model as a C array, its contract as a header, and one golden picture |\n"
        if c_array
        else ""
    )
    text = Template((_DEVICE / "README.md").read_text(encoding="utf-8")).substitute(
        title=" and ".join(model.stem for model in models),
        choice="" if len(models) == 1 else f" --model {first.stem}.tflite",
        models="\n".join(rows),
        extra=extra,
        runtime=registry.runtime_for(first.artifact.path).version(),
        machine=platform.machine(),
    )
    return text.encode()


def _write_folder(files: dict[str, bytes], output: Path) -> None:
    """Beside its place first, then renamed into it."""
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


def _facts(
    models: list[_Model], files: dict[str, bytes], output: Path, c_array: bool
) -> dict[str, Any]:
    return {
        "path": str(output),
        "bytes": sum(map(len, files.values())),
        "models": [
            {
                "artifact": str(model.artifact.path),
                "file": f"{model.stem}.tflite",
                "c_sources": [f"c/{name}" for name in c_source.names(model.stem)]
                if c_array
                else [],
                "runtime": registry.runtime_for(model.artifact.path).version(),
            }
            for model in models
        ],
        "files": [
            {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ],
    }
