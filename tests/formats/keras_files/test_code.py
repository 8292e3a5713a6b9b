"""Files that carry code are refused before anything in them is deserialised.

Nothing here needs Keras: configurations are written by hand, as an attacker would.
"""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.formats.keras_files import allowed, reading
from edgezoo.formats.keras_files.reading import read, usable

h5py = pytest.importorskip("h5py")

Json = dict[str, Any]


def layer(kind: str, name: str, before: str | None = None, **facts: Any) -> Json:
    nodes = []
    if before is not None:
        tensor = {"class_name": "__keras_tensor__", "config": {
            "shape": [None, 8], "dtype": "float32", "keras_history": [before, 0, 0]}}  # fmt: skip
        nodes = [{"args": [tensor], "kwargs": {}}]
    return {"module": "keras.layers", "class_name": kind, "registered_name": None, "name": name,
            "config": {"name": name, **facts}, "inbound_nodes": nodes}  # fmt: skip


def functional(*middle: Json, **more: Any) -> Json:
    """A network of an input, what is given, and a dense layer of three classes."""
    first = layer("InputLayer", "image", batch_shape=[None, 32, 32, 3])
    last = layer("Dense", "top", (middle[-1] if middle else first)["config"]["name"],
                 units=3, activation="softmax")  # fmt: skip
    config = {"name": "network", "layers": [first, *middle, last],
              "input_layers": ["image", 0, 0], "output_layers": ["top", 0, 0]}  # fmt: skip
    return {"module": "keras.src.models.functional", "class_name": "Functional",
            "registered_name": "Functional", "config": config, **more}  # fmt: skip


def conv(**facts: Any) -> Json:
    return layer("Conv2D", "conv", "image", filters=8, kernel_size=[3, 3], **facts)


LAMBDA = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAA==", None, None]}}
MARSHALLED = {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}
FETCH = {"module": "keras.utils", "class_name": "function", "config": "get_file",
         "registered_name": "get_file"}  # fmt: skip
FOREIGN = {"module": "os", "class_name": "function", "config": "system",
           "registered_name": "system"}  # fmt: skip
CUSTOM: dict[str, Any] = {"module": None, "class_name": "Mine", "config": {},
                          "registered_name": "evil>Mine"}  # fmt: skip
DRESSED = {"module": "evil", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}

CODE: dict[str, tuple[Json, str]] = {
    "Lambda": (functional(layer("Lambda", "l", "image", function=["4w==", None, None])), "Lambda"),
    "nested in a network": (functional(functional(LAMBDA)), "Lambda"),
    "nested in Sequential": (
        functional(layer("Sequential", "inner", "image", layers=[LAMBDA])), "Lambda"),
    "TimeDistributed": (functional(layer("TimeDistributed", "t", "image", layer=LAMBDA)), "Lambda"),
    "Bidirectional": (
        functional(layer("Bidirectional", "b", "image", backward_layer=LAMBDA)), "Lambda"),
    "marshalled activation": (functional(conv(activation=MARSHALLED)), "Python lambda"),
    "marshalled call argument": (
        functional({**conv(), "inbound_nodes": [{"args": [], "kwargs": {"mask": MARSHALLED}}]}),
        "Python lambda"),
    "initializer of a module": (functional(conv(kernel_initializer=DRESSED)), "module evil"),
    "regularizer": (functional(conv(kernel_regularizer=CUSTOM)), "registered class evil>Mine"),
    "constraint": (functional(conv(kernel_constraint=[{"deep": CUSTOM}])), "evil>Mine"),
    "activation of a module": (functional(conv(activation=FOREIGN)), "module os"),
    "a function of Keras that fetches": (functional(conv(activation=FETCH)), "get_file"),
    "build config": (functional({**conv(), "build_config": {"x": LAMBDA}}), "Lambda"),
    "TorchModuleWrapper": (functional(layer("TorchModuleWrapper", "t", "image")), "TorchModule"),
    "StringLookup": (
        functional(layer("StringLookup", "s", "image", vocabulary="/etc/passwd")), "StringLookup"),
    "TFSMLayer": (functional(layer("TFSMLayer", "s", "image", filepath="evil")), "TFSMLayer"),
    "an own class": ({"class_name": "Mine", "config": {}, "module": "evil"}, "module evil"),
    "a type spec": (functional(conv(x={"class_name": "__typespec__", "spec_name": "x"})),
                    "__typespec__"),
    "a name that is none": (functional(conv(x={"class_name": ["Lambda"], "config": {}})),
                            "without a proper name"),
}  # fmt: skip


def write_keras(path: Path, config: Any, weights: bytes | None = None, **others: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", empty_hdf5() if weights is None else weights)
        for name, data in others.items():
            archive.writestr(name, data)
    return path


def empty_hdf5() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_group("layers")
    return stream.getvalue()


def write_h5(path: Path, config: Json, training: Json | None = None) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        file.create_group("model_weights")
    return path


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", CODE)
def test_code_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    config, word = copy.deepcopy(CODE[name])
    if suffix == "keras":
        path = write_keras(tmp_path / "model.keras", config)
    else:
        path = write_h5(tmp_path / "model.h5", config, config.pop("compile_config", None))
    with pytest.raises(DataError, match="could run code") as refused:
        usable(path)
    assert word in refused.value.message
    assert "--trust" in refused.value.hint
    if name != "an own class":
        assert usable(path, trust=True).code


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    "training", [{"loss": FOREIGN}, {"metrics": [[CUSTOM]]}, {"optimizer": DRESSED}]
)
def test_what_a_network_was_trained_with_is_not_loaded(
    training: Json, suffix: str, tmp_path: Path
) -> None:
    inner = {**functional(), "compile_config": training}
    config = functional(
        {**inner, "name": "network", "inbound_nodes": conv()["inbound_nodes"]},
        compile_config=training,
    )
    if suffix == "keras":
        found = usable(write_keras(tmp_path / "m.keras", config))
    else:
        found = usable(write_h5(tmp_path / "m.h5", config, training))
    assert found.code == ()
    assert "compile_config" not in json.dumps(found.config)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_what_keras_writes_is_no_code(suffix: str, tmp_path: Path) -> None:
    config = functional(
        conv(
            activation={"module": "builtins", "class_name": "function", "config": "relu6",
                        "registered_name": "function"},
            dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"},
                   "registered_name": None},
            kernel_regularizer={"module": "keras.regularizers", "class_name": "L2",
                                "config": {"l2": 0.01}, "registered_name": None},
        ),
        {**layer("TrueDivide", "half", "conv"), "module": "keras.src.ops.numpy",
         "registered_name": "TrueDivide"},
    )  # fmt: skip
    if suffix == "keras":
        found = usable(write_keras(tmp_path / "m.keras", config))
    else:
        found = usable(write_h5(tmp_path / "m.h5", config, {"loss": "mse", "metrics": ["acc"]}))
    assert found.code == ()
    assert found.inputs == ((None, 32, 32, 3),)
    assert found.outputs == ((None, 3),)
    assert found.activation == "softmax"


def test_lists_hold_nothing_that_runs_code() -> None:
    dangerous = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer",
                 "StringLookup", "IntegerLookup", "TextVectorization", "Map", "Scan", "WhileLoop",
                 "Cond", "VectorizedMap", "AssociativeScan", "ForiLoop", "Switch"}  # fmt: skip
    assert not dangerous & allowed.CLASSES
    assert not {"get", "deserialize", "get_file", "load_model", "enable_unsafe_deserialization"} & (
        allowed.FUNCTIONS
    )


def test_several_inputs_and_outputs_are_refused(tmp_path: Path) -> None:
    config = functional(conv())
    config["config"]["output_layers"] = [["top", 0, 0], ["conv", 0, 0]]
    with pytest.raises(RefusedError, match="2 outputs"):
        usable(write_keras(tmp_path / "m.keras", config))
    config = functional(conv())
    config["config"]["input_layers"] = {"a": ["image", 0, 0], "b": ["image", 0, 0]}
    with pytest.raises(RefusedError, match="2 inputs"):
        usable(write_keras(tmp_path / "m.keras", config))


def test_files_that_keras_would_unpack_count_as_code(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "m.keras", functional(), **{"assets/vocabulary.txt": b"a"})
    with pytest.raises(DataError, match=r"assets/vocabulary\.txt"):
        usable(path)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external array", "virtual"])
def test_weights_that_lead_elsewhere_count_as_code(kind: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        if kind == "external link":
            file["layers"] = h5py.ExternalLink("/etc/other.h5", "/x")
        elif kind == "soft link":
            file["layers"] = h5py.SoftLink("/elsewhere")
        elif kind == "external array":
            file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        else:
            layout = h5py.VirtualLayout((4,), "u1")
            layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
            file.create_virtual_dataset("x", layout)
    path = write_keras(tmp_path / "m.keras", functional(), stream.getvalue())
    with pytest.raises(DataError, match="could run code"):
        usable(path)


def test_file_that_is_a_zip_and_hdf5_at_once(tmp_path: Path) -> None:
    """Keras goes by the ending: what it would not read may not speak for what it reads."""
    harmless = write_keras(tmp_path / "harmless.keras", functional()).read_bytes()
    path = write_h5(tmp_path / "both.h5", CODE["Lambda"][0])
    path.write_bytes(path.read_bytes() + harmless)
    assert zipfile.is_zipfile(path)
    with pytest.raises(DataError, match="Lambda"):
        usable(path)


def test_entry_that_is_there_twice(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "m.keras", functional())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", json.dumps(CODE["Lambda"][0]))
    with pytest.raises(DataError, match="not a complete Keras file"):
        usable(path)


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGEST_JSON", 1000)
    with pytest.raises(DataError, match=r"config\.json claims"):
        read(write_keras(tmp_path / "a.keras", " " * 5000 + json.dumps(functional())))
    monkeypatch.setattr(reading, "_LARGEST_JSON", 2**20)
    monkeypatch.setattr(reading, "_LARGEST_WEIGHTS", 2000)
    with pytest.raises(DataError, match="weights claim"):
        read(write_keras(tmp_path / "b.keras", functional(), bytes(50_000)))
    monkeypatch.setattr(reading, "_LARGEST_WEIGHTS", 10**6)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("x", (10**9,), "f4", compression="gzip", chunks=(10**6,))
    with pytest.raises(DataError, match="arrays claim"):
        read(write_keras(tmp_path / "c.keras", functional(), stream.getvalue()))


def test_size_that_the_header_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGEST_JSON", 2000)
    text = json.dumps(functional()) + " " * 100_000
    path = write_keras(tmp_path / "m.keras", text)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", len(text)), struct.pack("<I", 1500)))
    with pytest.raises(DataError, match="not a complete Keras file"):
        read(path)


@pytest.mark.parametrize("damage", ["deep", "text", "cut", "no config", "list", "empty"])
def test_damaged_files_end_in_a_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    if damage == "deep":
        write_keras(path, '{"a":' * 5000 + "1" + "}" * 5000)
    elif damage == "text":
        path.write_text("not a zip")
    elif damage == "cut":
        data = write_keras(path, functional()).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif damage == "no config":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", empty_hdf5())
    elif damage == "list":
        write_keras(path, [functional()])
    else:
        write_keras(path, {"class_name": "Functional", "config": {"layers": [{}]}})
    with pytest.raises(DataError):
        usable(path)


def test_weights_without_a_network(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["a"]
    with pytest.raises(DataError, match="without a network"):
        usable(tmp_path / "w.h5")


def test_reading_takes_no_memory_that_the_file_names(tmp_path: Path) -> None:
    """A layer of 10^12 outputs is a number in JSON, and stays one."""
    config = functional(layer("Dense", "wide", "image", units=10**12))
    assert usable(write_keras(tmp_path / "m.keras", config)).code == ()
    assert os.path.getsize(tmp_path / "m.keras") < 10_000
