"""Int8 of untrained networks of five families: EdgeZoo's files and the libraries' defaults.

Both start from one network (seeded random weights, estimated batch norm) and are calibrated on
the same 100 pictures; the SQNR of the logits is taken on 64 others. A trained network is not to
be had for these families here, and logits say more than the top-1 of a network without classes.
Writes results/int8-families.json and exits 1 where a bound does not hold. A network that is not
named keeps its rows, with the machine and the commit that they came from.

    python benchmarks/int8_families.py [MODEL...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

MODELS = ("nasnetmobile", "densenet121", "resnet50", "inceptionv3", "xception")
CALIBRATION, SCORED = 100, 64
# EdgeZoo's SQNR over the library's default, in decibels.
BOUNDS = {"tflite": 1.0, "onnx": 1.0, "openvino": 0.0}
# CPU seconds of EdgeZoo's export over those of the libraries' conversions by hand.
MOST_TIME = 3.0


def pictures(model: str, folder: Path) -> None:
    """The pictures of both sides, as EdgeZoo's export chooses and prepares them."""
    import numpy as np

    from edgezoo.calibration import sources
    from edgezoo.core import registry

    size = registry.model(model).default_input_size
    root = common.SHARED / "imagenet"
    chosen, _ = sources.choose(str(root / "calibration"), size, CALIBRATION, 2, 0)
    scored, _ = sources.choose(str(root / "val"), size, SCORED, 2, 0)
    np.save(folder / "calibration.npy", chosen.pixels)
    np.save(folder / "scored.npy", scored.pixels)


def logits_network(model: str) -> Any:
    """The network without its softmax."""
    import keras

    import edgezoo

    network = edgezoo.build(model, weights="random")
    network.layers[-1].activation = keras.activations.linear
    return network


def by_hand(model: str, folder: Path, what: str) -> None:
    """One file by a library's own defaults; "reference" notes Keras' logits and a float file."""
    import numpy as np

    from edgezoo.core import registry
    from edgezoo.images.preprocessing import normalize

    how = registry.model(model).normalization
    images = normalize(np.load(folder / "calibration.npy"), how)
    if what == "reference":
        network = logits_network(model)
        scored = normalize(np.load(folder / "scored.npy"), how)
        # Not predict_on_batch: what Keras traced while the network was built still has its softmax.
        parts = [scored[i : i + 8] for i in range(0, len(scored), 8)]
        rows = [np.asarray(network(part, training=False)) for part in parts]
        np.save(folder / "reference.npy", np.concatenate(rows))
        import onnx

        from edgezoo.exporters import _graph, _onnx_conversion

        _graph.write_tflite(network, images.shape[1], None, "logits", folder / "float.tflite")
        converted = _onnx_conversion.to_onnx(folder / "float.tflite")
        onnx.save(converted, str(folder / "float.onnx"))
    elif what == "tflite":
        _by_hand_tflite(logits_network(model), images, folder / "hand.tflite")
    elif what == "onnx":
        _by_hand_onnx(images, folder)
    else:
        import nncf
        import openvino as ov

        data = nncf.Dataset(list(images), lambda image: image[None])
        made = nncf.quantize(
            ov.convert_model(str(folder / "float.onnx")),
            data,
            subset_size=CALIBRATION,
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
        )
        ov.save_model(made, str(folder / "hand.xml"), compress_to_fp16=False)


def _by_hand_tflite(network: Any, images: Any, path: Path) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec((1, *images.shape[1:]), tf.float32, name="input")]
    traced = tf.function(lambda x: network(x, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())


def _by_hand_onnx(images: Any, folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(folder / "float.onnx", folder / "ready.onnx")
    name = onnx.load(folder / "ready.onnx").graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter({name: image[None]} for image in images)

        def get_next(self) -> Any:
            return next(self.rest, None)

    quantize_static(
        folder / "ready.onnx",
        folder / "hand.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        extra_options={"CalibMaxIntermediateOutputs": 33},
    )


def logits_of(path: Path, model: str, folder: Path) -> dict[str, Any]:
    """Logits of a file on the scored pictures, compared with Keras'."""
    import numpy as np

    from edgezoo.core import registry
    from edgezoo.evaluation.agreement import agreement_top1, sqnr_db
    from edgezoo.images.preprocessing import normalize

    pixels = np.load(folder / "scored.npy")
    ours = not path.name.startswith("hand")
    inputs = pixels if ours else normalize(pixels, registry.model(model).normalization)
    run = {".tflite": _tflite, ".onnx": _onnx, ".xml": _openvino}[path.suffix]
    reference = np.load(folder / "reference.npy")
    found = {}
    sessions = ("0", "1") if path.suffix == ".onnx" else ("",)
    for session in sessions:
        values = run(path, inputs, session).reshape(reference.shape)
        # A constant that is added to all logits changes nothing.
        centred = [x - x.mean(1, keepdims=True) for x in (reference, values)]
        name = "sqnr_db_x64quantprecision" if session == "1" else "sqnr_db"
        found[name] = round(sqnr_db(*centred), 2)
        if name == "sqnr_db":
            found["agreement"] = round(agreement_top1(reference, values), 4)
    return found


def _tflite(path: Path, inputs: Any, _: str) -> Any:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from edgezoo.formats import tflite_flatbuffer

    graph = tflite_flatbuffer.read_model(path)
    ops = graph.subgraphs[0].operators
    softmax = [op for op in ops if tflite_flatbuffer.op_name(graph, op) == "SOFTMAX"]
    tensor = int(softmax[-1].inputs[0]) if softmax else int(graph.subgraphs[0].outputs[0])
    interpreter = Interpreter(str(path), num_threads=2, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    detail = next(t for t in interpreter.get_tensor_details() if t["index"] == tensor)
    rows = []
    for image in inputs:
        if entry["dtype"] == np.int8:
            scale, zero = entry["quantization"]
            image = np.clip(np.rint(image / scale + zero), -128, 127)
        interpreter.set_tensor(entry["index"], image.astype(entry["dtype"])[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(tensor).astype(np.float32))
    scale, zero = detail["quantization"]
    return (np.concatenate(rows) - zero) * scale


def _onnx(path: Path, inputs: Any, precise: str) -> Any:
    import numpy as np
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    softmax = [node for node in model.graph.node if node.op_type == "Softmax"]
    if softmax:
        model.graph.output.append(onnx.helper.make_tensor_value_info(softmax[-1].input[0], 1, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.x64quantprecision", precise)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    entry = session.get_inputs()[0]
    kind = np.uint8 if entry.type == "tensor(uint8)" else np.float32
    rows = [session.run(None, {entry.name: image[None].astype(kind)})[-1] for image in inputs]
    return np.concatenate(rows)


def _openvino(path: Path, inputs: Any, _: str) -> Any:
    import numpy as np
    import openvino as ov

    model = ov.Core().read_model(str(path))
    softmax = [op for op in model.get_ordered_ops() if op.get_type_name() == "Softmax"]
    if softmax:
        model.add_outputs([softmax[-1].input_value(0)])
    compiled = ov.compile_model(model, "CPU")
    kind = np.uint8 if compiled.input(0).element_type == ov.Type.u8 else np.float32
    rows = [compiled(image[None].astype(kind))[len(compiled.outputs) - 1] for image in inputs]
    return np.concatenate(rows)


def one_model(model: str, folder: Path) -> dict[str, Any]:
    """Make and score all files of a model, each in a process of its own."""
    pictures(model, folder)
    facts: dict[str, Any] = {"model": model, "by_hand": {}, "edgezoo": {}, "cost": {}}
    for what in ("reference", "tflite", "onnx", "openvino"):
        facts["cost"][f"hand {what}"] = _child("by_hand", model, folder, what)
    command = [*common.EDGEZOO, "export", model, "--weights", "random", "--int8", "--no-verify",
               "--calibration", str(common.SHARED / "imagenet" / "calibration"),
               "--calibration-count", str(CALIBRATION), "-o", str(folder), "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    made = json.loads(done["stdout"])
    facts["cost"]["edgezoo"] = made["usage"]
    facts["conversion"] = conversion(done, facts["cost"])
    for entry in made["artifacts"]:
        hand = folder / f"hand{Path(entry['path']).suffix}"
        for side, path in (("edgezoo", Path(entry["path"])), ("by_hand", hand)):
            answer = _child("logits_of", model, folder, str(path))
            facts[side][entry["format"]] = answer["result"]
    return facts


def conversion(ours: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of all processes that made the three files, and the largest peak memory."""
    theirs = [cost[f"hand {what}"] for what in ("reference", "tflite", "onnx", "openvino")]
    peaks = [step["peak_rss_mb"] for step in cost["edgezoo"].values()]
    return {
        "edgezoo": {"cpu_s": ours["cpu_s"], "peak_rss_mb": max(peaks)},
        "by_hand": {
            "cpu_s": round(sum(step["cpu_s"] for step in theirs), 2),
            "peak_rss_mb": max(step["peak_rss_mb"] for step in theirs),
        },
    }


def _child(function: str, model: str, folder: Path, argument: str) -> dict[str, Any]:
    """Run one function of this script in a process of its own."""
    command = [sys.executable, __file__, "--child", function, model, str(folder), argument]
    done = common.measure(command)
    if done["exit"]:
        sys.exit(f"{function} {argument}: {done['stderr'][-2000:]}")
    lines = [line for line in done["stdout"].splitlines() if line.startswith("{")]
    result = json.loads(lines[-1]) if lines else None
    return {"cpu_s": done["cpu_s"], "peak_rss_mb": done["peak_rss_mb"], "result": result}


def failures(facts: dict[str, Any]) -> list[str]:
    """Bounds that do not hold, in words."""
    found = []
    for name, least in BOUNDS.items():
        ours, theirs = (facts[side][name]["sqnr_db"] for side in ("edgezoo", "by_hand"))
        if ours < theirs + least:
            found.append(f"{facts['model']} {name}: {ours} dB, by hand {theirs} dB")
    seconds = {side: cost["cpu_s"] for side, cost in facts["conversion"].items()}
    if seconds["edgezoo"] > MOST_TIME * seconds["by_hand"]:
        found.append(f"{facts['model']}: {seconds} CPU s")
    return found


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        _, _, function, model, folder, argument = sys.argv
        if function == "by_hand":
            by_hand(model, Path(folder), argument)
        else:
            print(json.dumps(logits_of(Path(argument), model, Path(folder))))
        return 0
    common.require_shared()
    path = common.RESULTS / "int8-families.json"
    known = json.loads(path.read_text())["models"] if path.is_file() else []
    models = {facts["model"]: facts for facts in known}
    for model in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            facts = one_model(model, Path(scratch))
        print(json.dumps(facts), flush=True)
        models[model] = {**facts, "environment": common.environment()}
        missed = [line for each in models.values() for line in failures(each)]
        common.save("int8-families", {"models": [*models.values()], "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
