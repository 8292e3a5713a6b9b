"""CPU time and size of int8 files, EdgeZoo's beside those made by hand, in one process.

One thread; blocks of inferences alternate between the files in random order, so that drift of the
machine meets all alike. A file is held against the one by hand that takes the same input. Writes
results/int8-latency.json, and exits 1 where a bound does not hold.

    python benchmarks/int8_latency.py
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

MODELS = ((0.25, 224), (0.5, 160))
BLOCKS, RUNS, WARM_UP = 40, 15, 20
# The most that EdgeZoo's file may take over one by hand with the same border, in time and bytes.
MOST = 1.03
# Of each format: our file, and the one by hand that answers right here and takes the same input.
PAIRS = {
    "tflite": [
        ("edgezoo", "by hand, uint8 border"),
        ("edgezoo, --io int8", "by hand, int8 border"),
    ],
    "onnx": [("edgezoo", "by hand, x64quantprecision")],
    "openvino": [("edgezoo", "by hand")],
}
# Where the CPU has VNNI, U8S8 answers right as it is.
VNNI_PAIRS = {**PAIRS, "onnx": [("edgezoo", "by hand, U8S8")]}


def tflite(path: Path) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], picture(detail["shape"], detail["dtype"]))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


def onnx(path: Path, precise: bool = False) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    feed = {value.name: picture(value.shape, "uint8" if "uint8" in value.type else "float32")}
    return lambda: session.run(None, feed)


def openvino(path: Path) -> Callable[[], object]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    kind = model.inputs[0].get_element_type().get_type_name()
    batch = picture(model.inputs[0].shape, "uint8" if kind == "u8" else "float32")
    request = model.create_infer_request()
    return lambda: request.infer([batch])


def picture(shape: Any, dtype: Any) -> Any:
    return np.random.default_rng(0).integers(0, 100, list(shape)).astype(dtype)


def measure(files: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU milliseconds of one inference, a figure a block."""
    for run in files.values():
        for _ in range(WARM_UP):
            run()
    samples: dict[str, list[float]] = {name: [] for name in files}
    order, rng = list(files), random.Random(0)
    for _ in range(BLOCKS):
        rng.shuffle(order)
        for name in order:
            start = time.process_time()
            for _ in range(RUNS):
                files[name]()
            samples[name].append((time.process_time() - start) / RUNS * 1000)
    return samples


def make_tflite_by_hand(hand: Path, alpha: float, size: int) -> Path:
    """TensorFlow's documented conversion with bytes at the border; by_hand.py's takes int8."""
    path = hand / "i8_uint8.tflite"
    command = [sys.executable, __file__, "--uint8", str(path), str(alpha), str(size)]
    subprocess.run(command, check=True, capture_output=True, env=common.keras_environment())
    return path


def convert_with_uint8_border(path: Path, alpha: float, size: int) -> None:
    """Runs in a process of its own, as TensorFlow and the timing of files do not mix."""
    import keras
    import tensorflow as tf

    network = keras.applications.MobileNet(input_shape=(size, size, 3), alpha=alpha)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    pictures = [picture((1, size, size, 3), "float32") / 50 - 1 for _ in range(10)]
    converter.representative_dataset = lambda: ([one] for one in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())


def make_openvino_by_hand(hand: Path, size: int) -> Path:
    """NNCF's documented defaults on the float ONNX file that by_hand.py left."""
    import nncf
    import openvino

    model = openvino.convert_model(str(hand / "f32.onnx"))
    pictures = [picture((1, size, size, 3), "float32") / 50 - 1 for _ in range(10)]
    quantized = nncf.quantize(model, nncf.Dataset(pictures), preset=nncf.QuantizationPreset.MIXED)
    path = hand / "i8.xml"
    openvino.save_model(quantized, str(path))
    return path


def export(alpha: float, size: int, output: Path, *options: str) -> Path:
    """EdgeZoo's int8 files; their path without ending."""
    images = str(common.SHARED / "imagenet" / "calibration")
    done = common.measure(
        [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha), "--input-size", str(size),
         "--int8", "--calibration", images, "--no-verify", "-o", str(output), *options, "--json"]
    )  # fmt: skip
    if done["exit"]:
        sys.exit(done["stderr"])
    return output / f"mobilenet_{alpha}_{size}_int8"


def ratio(samples: dict[str, list[float]], ours: str, other: str) -> float:
    """Median of the ratios within blocks, so that drift falls out."""
    pairs = zip(samples[ours], samples[other], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 3)


def failures(model: dict[str, Any]) -> list[str]:
    """Bounds that do not hold, in words."""
    found = []
    for name in PAIRS:
        where = f"{model['alpha']}/{model['size']} {name}"
        for pair in model[name]["ratios"]:
            if pair["ratio"] > MOST:
                found.append(f"{where}: {pair['ratio']} times {pair['over']}")
        size = model[name]["bytes"]["edgezoo"] / model[name]["bytes"]["by hand"]
        if size > MOST:
            found.append(f"{where}: {size:.3f} times the bytes")
    return found


def one_model(alpha: float, size: int, folder: Path) -> dict[str, Any]:
    """Latency and size of one network's files."""
    from edgezoo.core import registry

    hand = folder / "hand"
    stem = export(alpha, size, folder / "edgezoo")
    plain = export(alpha, size, folder / "io", "--format", "tflite", "--io", "int8")
    subprocess.run(
        [sys.executable, common.SHARED / "tools" / "by_hand.py", hand, str(alpha), str(size)],
        check=True,
        capture_output=True,
        env=common.keras_environment(),
    )
    by_hand = {
        "tflite": hand / "i8_100.tflite",
        "onnx": hand / "i8.onnx",
        "openvino": make_openvino_by_hand(hand, size),
    }
    ours = {name: Path(f"{stem}{path.suffix}") for name, path in by_hand.items()}
    groups = {
        "tflite": {
            "edgezoo": tflite(ours["tflite"]),
            "edgezoo, --io int8": tflite(Path(f"{plain}_int8.tflite")),
            "by hand, uint8 border": tflite(make_tflite_by_hand(hand, alpha, size)),
            "by hand, int8 border": tflite(by_hand["tflite"]),
        },
        "onnx": {
            "edgezoo": onnx(ours["onnx"]),
            "by hand, U8S8": onnx(by_hand["onnx"]),
            "by hand, x64quantprecision": onnx(by_hand["onnx"], precise=True),
        },
        "openvino": {
            "edgezoo": openvino(ours["openvino"]),
            "by hand": openvino(by_hand["openvino"]),
        },
    }
    pairs = VNNI_PAIRS if common.has_vnni() else PAIRS
    result: dict[str, Any] = {"alpha": alpha, "size": size}
    for name, files in groups.items():
        samples = measure(files)
        medians = {key: round(statistics.median(v), 3) for key, v in samples.items()}
        ratios = [
            {"edgezoo": ours_name, "over": other, "ratio": ratio(samples, ours_name, other)}
            for ours_name, other in pairs[name]
        ]
        sizes = {
            side: registry.load_artifact(path).bytes
            for side, path in (("edgezoo", ours[name]), ("by hand", by_hand[name]))
        }
        result[name] = {"cpu_ms": medians, "ratios": ratios, "bytes": sizes, "samples": samples}
        print(alpha, size, name, medians, ratios, sizes, flush=True)
    return result


def main() -> int:
    if sys.argv[1:2] == ["--uint8"]:
        convert_with_uint8_border(Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        return 0
    common.require_shared()
    models = []
    for alpha, size in MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            models.append(one_model(alpha, size, Path(scratch)))
    missed = [line for model in models for line in failures(model)]
    path = common.save("int8-latency", {"threads": 1, "models": models, "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
