"""What a float32 conversion costs: `edgezoo export`, and the routes that the libraries document.

Whole processes from the import of TensorFlow to the written file, CPU seconds with all children.
Both sides build the network from one weights file, in turns; the cheapest route by hand that works
is the peer. Writes results/conversion.json and exits 1 where a bound does not hold.

    python benchmarks/conversion.py [MODEL...]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

MODELS = ("mobilenet", "resnet50", "densenet121", "nasnetmobile")
ROUTES = {
    "tflite": ("from_keras_model", "from_concrete_functions"),
    "onnx": ("tf2onnx from_keras", "tf2onnx from_tflite", "keras export"),
    "openvino": ("convert_model of the network", "convert_model of ONNX"),
}
RUNS = 2
MOST = 1.2


def network_of(model: str, weights: str) -> Any:
    """The network, with its weights from a file."""
    import edgezoo

    return edgezoo.build(model, weights=weights)


def frozen(network: Any) -> Any:
    """The network as one concrete function of static shape."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="input")]
    traced = tf.function(lambda x: network(x, training=False), input_signature=signature)
    return convert_variables_to_constants_v2(traced.get_concrete_function())


def by_hand(route: str, model: str, weights: str, path: Path) -> None:
    """One documented conversion."""
    import tensorflow as tf

    network = network_of(model, weights)
    if route == "from_keras_model":
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    elif route in ("from_concrete_functions", "tf2onnx from_tflite"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen(network)])
        path.write_bytes(converter.convert())
        if route == "tf2onnx from_tflite":
            import tf2onnx

            tf2onnx.convert.from_tflite(str(path), opset=18, output_path=f"{path}.onnx")
    elif route == "keras export":
        network.export(str(path), format="onnx", verbose=False)
    elif route == "convert_model of the network":
        import openvino as ov

        ov.save_model(ov.convert_model(network), f"{path}.xml", compress_to_fp16=False)
    else:
        import tf2onnx

        signature = [tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="input")]
        tf2onnx.convert.from_keras(network, signature, opset=18, output_path=str(path))
        if route == "convert_model of ONNX":
            import openvino as ov

            ov.save_model(ov.convert_model(str(path)), f"{path}.xml", compress_to_fp16=False)


def one_model(model: str, folder: Path) -> dict[str, Any]:
    """All routes of all formats, in turns."""
    weights = folder / "network.weights.h5"
    child(["--save", model, str(weights)])
    result: dict[str, Any] = {"model": model}
    for name, routes in ROUTES.items():
        runs: dict[str, list[dict[str, Any]]] = {"edgezoo": [], **{route: [] for route in routes}}
        for number in range(RUNS):
            for side, done in runs.items():
                place = folder / f"{name}-{number}-{side.replace(' ', '_')}"
                if side == "edgezoo":
                    command = [*common.EDGEZOO, "export", model, "--weights", str(weights),
                               "--format", name, "--precision", "float32", "--no-verify",
                               "--no-cache", "-o", str(place), "--json"]  # fmt: skip
                else:
                    command = [sys.executable, __file__, "--by-hand", side, model, str(weights),
                               str(place)]  # fmt: skip
                done.append(common.measure(command))
        result[name] = summary(runs)
        print(model, name, json.dumps(result[name]), flush=True)
    return result


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each side, and EdgeZoo over the cheapest by hand."""
    sides: dict[str, Any] = {}
    for side, done in runs.items():
        failed = [one for one in done if one["exit"]]
        if failed:
            sides[side] = {"failed": failed[0]["stderr"].strip().splitlines()[-1][:200]}
            continue
        sides[side] = {
            "cpu_s": round(statistics.median(one["cpu_s"] for one in done), 2),
            "peak_rss_mb": max(one["peak_rss_mb"] or 0 for one in done),
            "samples": [one["cpu_s"] for one in done],
        }
    if "failed" in sides["edgezoo"]:
        sys.exit(sides["edgezoo"]["failed"])
    works = {side: f["cpu_s"] for side, f in sides.items() if side != "edgezoo" and "cpu_s" in f}
    peer = min(works, key=lambda side: works[side])
    ratio = round(sides["edgezoo"]["cpu_s"] / works[peer], 3)
    return {"sides": sides, "peer": peer, "ratio": ratio}


def child(arguments: list[str]) -> None:
    """Run a part of this script in a process of its own."""
    done = common.measure([sys.executable, __file__, *arguments])
    if done["exit"]:
        sys.exit(done["stderr"][-2000:])


def main() -> int:
    if sys.argv[1:2] == ["--by-hand"]:
        by_hand(sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
        return 0
    if sys.argv[1:2] == ["--save"]:
        network_of(sys.argv[2], "random").save_weights(sys.argv[3])
        return 0
    models, missed = [], []
    for model in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            models.append(one_model(model, Path(scratch)))
        missed += [
            f"{model} {name}: {models[-1][name]['ratio']} times {models[-1][name]['peer']}"
            for name in ROUTES
            if models[-1][name]["ratio"] > MOST
        ]
        path = common.save("conversion", {"models": models, "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
