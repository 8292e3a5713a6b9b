"""EdgeZoo's stopwatch against the runtimes' own tools and bare loops, in one run.

For each file the measurers take turns: a block of EdgeZoo's measuring process, a block of a bare
loop in a process of its own, a run of the runtime's own tool (benchmark_app for OpenVINO,
litert-benchmark for TFLite; onnxruntime's wheel has none). A round gives a median of each; ratios
are found within a round. Also the A/A check of `edgezoo benchmark` itself, several times.

Writes results/stopwatch.json and exits 1 where a median is more than 3 % off. Wall-clock figures
need a quiet machine; on a busy one look at `cpu_ratio`.

    python benchmarks/stopwatch.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common

from edgezoo.core import typed_json
from edgezoo.measurement.child import Stopwatch
from edgezoo.measurement.session import Measurement, Subject, measure
from edgezoo.measurement.statistics import ratio
from edgezoo.system.process import Conversation

MODELS = ((0.5, 160), (1.0, 224))
BOUND = 0.03


def bare(kind: str, path: str) -> None:
    """The child: opens a file as the runtime's documentation does, and runs blocks when told to."""
    run = {"tflite": bare_tflite, "onnx": bare_onnx, "openvino": bare_openvino}[kind](path)
    for line in sys.stdin:
        runs = int(line)
        wall = []
        run()
        run()
        cpu = time.process_time_ns()
        for _ in range(runs):
            start = time.perf_counter_ns()
            run()
            wall.append(time.perf_counter_ns() - start)
        cpu = time.process_time_ns() - cpu
        print(json.dumps({"wall_ns": wall, "cpu_ns": cpu}), flush=True)


def picture(shape: Any, dtype: Any) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, list(shape)).astype(dtype)


def bare_tflite(path: str) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], picture(entry["shape"], entry["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return]


def bare_onnx(path: str) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    feed = {entry.name: picture(entry.shape, "uint8" if "uint8" in entry.type else "float32")}
    return lambda: session.run(None, feed)


def bare_openvino(path: str) -> Callable[[], object]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32"}  # fmt: skip
    model = openvino.Core().compile_model(path, "CPU", settings)
    port = model.inputs[0]
    kind = "uint8" if port.get_element_type().get_type_name() == "u8" else "float32"
    request = model.create_infer_request()
    request.set_input_tensor(openvino.Tensor(picture(port.shape, kind)))
    return request.infer  # type: ignore[no-any-return]


class Bare:
    """The parent's side of `bare`."""

    def __init__(self, kind: str, path: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, __file__, "--bare", kind, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def block(self, runs: int) -> dict[str, Any]:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(f"{runs}\n")
        self.child.stdin.flush()
        facts: dict[str, Any] = json.loads(self.child.stdout.readline())
        return facts

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait()


def benchmark_app(path: Path, runs: int) -> float:
    """Median milliseconds by OpenVINO's tool."""
    told = subprocess.run(
        [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()", "-m",
         path, "-d", "CPU",
         "-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", "1",
         "-infer_precision", "f32",
         "-niter", str(runs)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", told.stdout + told.stderr)
    assert found, told.stderr
    return float(found[1]) / (1000 if found[2] == "us" else 1)


def litert_benchmark(path: Path, runs: int) -> float:
    """Median milliseconds by LiteRT's tool."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        subprocess.run(
            [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", "--model", path,
             "--num_runs", str(runs), "--num_threads", "1", "--result_json", result],
            capture_output=True, check=True,
        )  # fmt: skip
        return float(json.loads(result.read_text())["latency"]["median_ms"])


TOOLS = {"openvino": ("benchmark_app", benchmark_app), "tflite": ("litert-benchmark",
                                                                   litert_benchmark)}  # fmt: skip


def compare(kind: str, path: Path, rounds: int) -> dict[str, Any]:
    """Medians of all measurers of one file, round by round."""
    other = Bare(kind, path)
    with Conversation(Stopwatch) as ours:
        ours.ask(Stopwatch.open, path, "cpu", 1, None)
        once = statistics.median(ours.ask(Stopwatch.block, 50, 50).wall_ns) / 1e9
        runs = max(30, round(0.1 / once))
        other.block(runs)
        found: dict[str, list[float]] = {"edgezoo": [], "bare loop": []}
        cpu: dict[str, list[float]] = {"edgezoo": [], "bare loop": []}

        def take(name: str) -> None:
            if name in TOOLS.get(kind, ()):
                found.setdefault(name, []).append(TOOLS[kind][1](path, runs))
                return
            facts = (typed_json.encode(ours.ask(Stopwatch.block, runs, 2)) if name == "edgezoo"
                     else other.block(runs))  # fmt: skip
            found[name].append(statistics.median(facts["wall_ns"]) / 1e6)
            cpu[name].append(facts["cpu_ns"] / runs / 1e6)

        names = ["edgezoo", "bare loop", *(TOOLS[kind][:1] if kind in TOOLS else ())]
        rng = random.Random(0)
        for _ in range(rounds):
            rng.shuffle(names)
            for name in (*names, *reversed(names)):
                take(name)
    other.close()
    return {
        "runs": runs,
        "median_ms": {name: round(statistics.median(v), 4) for name, v in found.items()},
        "edgezoo_over": {name: against(found["edgezoo"], v) for name, v in found.items()
                         if name != "edgezoo"},
        "cpu_ratio": against(cpu["edgezoo"], cpu["bare loop"])["estimate"],
        "rounds": found,
    }  # fmt: skip


def against(mine: list[float], theirs: list[float]) -> dict[str, Any]:
    """Ratio over rounds of two blocks each, as `edgezoo benchmark` finds it."""
    found = ratio([[v] for v in mine], [[v] for v in theirs]).reported()
    facts: dict[str, Any] = typed_json.encode(found)
    return facts


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare(*arguments.bare)
        return 0
    common.require_shared()
    results: dict[str, Any] = {}
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        for alpha, size in MODELS:
            done = common.measure(
                [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha), "--input-size",
                 str(size), "--precision", "float32,int8", "--no-verify", "-o", scratch, "--json"]
            )  # fmt: skip
            if done["exit"]:
                sys.exit(done["stderr"])
            for entry in json.loads(done["stdout"])["artifacts"]:
                path = Path(entry["path"])
                facts = results[path.name] = compare(entry["format"], path, arguments.rounds)
                print(path.name, facts["median_ms"], f"cpu ratio {facts['cpu_ratio']:.3f}")
                for name, found in facts["edgezoo_over"].items():
                    words = f"{found['estimate']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
                    print(f"  over {name}: {words}", flush=True)
                    if abs(found["estimate"] - 1) > BOUND:
                        missed.append(f"{path.name} over {name}: {words}")
        path = Path(scratch, "mobilenet_0.5_160_int8.onnx")
        checks = [measure([Subject(path)]) for _ in range(5)]
    saved = {
        "threads": 1,
        "files": results,
        "self_checks": [
            typed_json.encode(check.self_check.reported()) for check in checks if check.self_check
        ],
        "trust": [
            typed_json.encode(r.trust)
            for check in checks
            for r in check.results
            if isinstance(r, Measurement)
        ],
        "missed": missed,
    }
    print(common.save("stopwatch", saved).relative_to(common.ROOT))
    for text in missed:
        print(f"missed: {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
