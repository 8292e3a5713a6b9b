"""CPU time of one inference of int8 files, EdgeZoo's beside those made by hand, in one process.

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

ALPHA, SIZE = 0.5, 160
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


def make_openvino_by_hand(hand: Path) -> Path:
    """NNCF's documented defaults on the float ONNX file that by_hand.py left."""
    import nncf
    import openvino

    model = openvino.convert_model(str(hand / "f32.onnx"))
    pictures = [picture((1, SIZE, SIZE, 3), "float32") / 50 - 1 for _ in range(10)]
    quantized = nncf.quantize(model, nncf.Dataset(pictures), preset=nncf.QuantizationPreset.MIXED)
    path = hand / "i8.xml"
    openvino.save_model(quantized, str(path))
    return path


def main() -> int:
    common.require_shared()
    with tempfile.TemporaryDirectory() as scratch:
        ours, hand = Path(scratch, "edgezoo"), Path(scratch, "hand")
        done = common.measure(
            [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(ALPHA), "--input-size",
             str(SIZE), "--int8", "-o", str(ours), "--json"]
        )  # fmt: skip
        if done["exit"]:
            sys.exit(done["stderr"])
        subprocess.run(
            [sys.executable, common.SHARED / "tools" / "by_hand.py", hand, str(ALPHA), str(SIZE)],
            check=True,
            capture_output=True,
            env=common.keras_environment(),
        )
        stem = ours / f"mobilenet_{ALPHA}_{SIZE}_int8"
        groups = {
            "tflite": {
                "edgezoo": tflite(stem.with_name(stem.name + ".tflite")),
                "by hand": tflite(hand / "i8_100.tflite"),
            },
            "onnx": {
                "edgezoo": onnx(stem.with_name(stem.name + ".onnx")),
                "by hand (U8S8, saturates here)": onnx(hand / "i8.onnx"),
                "by hand, x64quantprecision": onnx(hand / "i8.onnx", precise=True),
            },
            "openvino": {
                "edgezoo": openvino(stem.with_name(stem.name + ".xml")),
                "by hand": openvino(make_openvino_by_hand(hand)),
            },
        }
        result: dict[str, Any] = {}
        for name, files in groups.items():
            samples = measure(files)
            medians = {key: round(statistics.median(v), 3) for key, v in samples.items()}
            ratios = {
                key: round(statistics.median(
                    a / b for a, b in zip(samples["edgezoo"], values, strict=True)), 3)
                for key, values in samples.items() if key != "edgezoo"
            }  # fmt: skip
            result[name] = {"cpu_ms": medians, "edgezoo_over": ratios, "samples": samples}
            print(name, medians, ratios, flush=True)
    path = common.save("int8-latency", {"alpha": ALPHA, "size": SIZE, "threads": 1, **result})
    print(path.relative_to(common.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
