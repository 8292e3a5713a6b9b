"""CPU time and size of int8 files, EdgeZoo's beside those made by hand, in one process.

One thread; blocks of inferences alternate between the files in random order, so that drift of the
machine meets all alike. Writes results/int8-latency.json.

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


def tflite(path: Path) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], picture(detail["shape"], detail["dtype"]))
    return interpreter.invoke


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
    order, dice = list(files), random.Random(0)
    for _ in range(BLOCKS):
        dice.shuffle(order)
        for name in order:
            start = time.process_time()
            for _ in range(RUNS):
                files[name]()
            samples[name].append((time.process_time() - start) / RUNS * 1000)
    return samples


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


def bytes_of(path: Path) -> int:
    """Size of a file, with the weights of an .xml."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def one_model(alpha: float, size: int, folder: Path) -> dict[str, Any]:
    """Latency and size of one network's files."""
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
            "by hand": tflite(by_hand["tflite"]),
        },
        "onnx": {
            "edgezoo": onnx(ours["onnx"]),
            "by hand (U8S8, saturates here)": onnx(by_hand["onnx"]),
            "by hand, x64quantprecision": onnx(by_hand["onnx"], precise=True),
        },
        "openvino": {
            "edgezoo": openvino(ours["openvino"]),
            "by hand": openvino(by_hand["openvino"]),
        },
    }
    result: dict[str, Any] = {"alpha": alpha, "size": size}
    for name, files in groups.items():
        samples = measure(files)
        medians = {key: round(statistics.median(v), 3) for key, v in samples.items()}
        ratios = {
            key: round(statistics.median(
                a / b for a, b in zip(samples["edgezoo"], values, strict=True)), 3)
            for key, values in samples.items() if key != "edgezoo"
        }  # fmt: skip
        sizes = {"edgezoo": bytes_of(ours[name]), "by hand": bytes_of(by_hand[name])}
        result[name] = {
            "cpu_ms": medians, "edgezoo_over": ratios, "bytes": sizes, "samples": samples
        }  # fmt: skip
        print(alpha, size, name, medians, ratios, sizes, flush=True)
    return result


def main() -> int:
    common.require_shared()
    models = []
    for alpha, size in MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            models.append(one_model(alpha, size, Path(scratch)))
    path = common.save("int8-latency", {"threads": 1, "models": models})
    print(path.relative_to(common.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
