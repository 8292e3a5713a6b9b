"""Every model in every format and precision: bytes, cost, agreement with Keras, latency.

Each step runs in a process of its own. A cell that is there already, made by the same code and the
same versions, is not made again, so the command may be broken off and repeated. Networks without
ImageNet weights here get seeded random ones with batch norm estimated on photographs. Writes one
file a cell to results/matrix/ and exits 1 where a bound does not hold.

    python benchmarks/matrix.py [MODEL...]
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common

CELLS = common.RESULTS / "matrix"
PRECISIONS = ("float32", "float16", "int8")
CALIBRATION, SCORED = 100, 64
# Least SQNR in decibels and least agreement. Of int8, int8_families.py has the bounds.
BOUNDS = {"float32": (80.0, 1.0), "float16": (40.0, 0.98)}
# Of untrained networks, whose answers must differ for a comparison to mean something.
LEAST_CLASSES = 4
MINUTES = 30
MAX_PEAK_MB = 10_000


def key_of(model: str) -> str:
    """Hash of the code and the versions that a cell depends on."""
    from edgezoo.core.versions import artifact_versions

    trees = [f"HEAD:{name}" for name in ("edgezoo", "exporters", "runtimes", "calibration")]
    code = subprocess.run(
        ["git", "rev-parse", *trees], cwd=common.ROOT, capture_output=True, text=True, check=True
    )
    text = json.dumps(
        [model, code.stdout, artifact_versions(), CALIBRATION, SCORED], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def cell_path(model: str, name: str, precision: str) -> Path:
    """Where a cell's figures are."""
    return CELLS / f"{model}-{name}-{precision}.json"


def one_model(model: str, folder: Path) -> None:
    """All cells of a model, written as soon as each is done."""
    import numpy as np

    from edgezoo.core import registry, typed_json
    from edgezoo.pipeline import children
    from edgezoo.pipeline.export_run import Work, answers_to
    from edgezoo.pipeline.plan import resolve
    from edgezoo.pipeline.request import ExportRequest
    from edgezoo.system import process

    request = ExportRequest(
        model=model,
        precisions=PRECISIONS,
        weights=weights_of(model),
        calibration=str(common.SHARED / "imagenet" / "calibration"),
        calibration_count=CALIBRATION,
        verify_count=SCORED,
    )
    work = Work(resolve(request), folder, lambda _: None, False)
    work.choose_images()
    work.make_source()
    work.correct_fp16()
    work.prepare()
    assert work.calibration is not None
    assert work.verification is not None
    exact = np.load(answers_to(work.verification))
    shared = {"environment": common.environment(), "key": key_of(model), "model": model,
              "weights": request.weights, "input_size": work.plan.size,
              "images": SCORED, "classes_seen": len(set(exact.argmax(1).tolist()))}  # fmt: skip
    for _, job in work.plan.jobs:
        jobs = (children.FileJob(job, work.plan.file_stem(job)),)
        made = process.Launcher().call(
            children.export_files, folder, work.contract, jobs, work.calibration
        )
        (path,) = made.value
        steps = {"source": work.usage["make_source"], "export": made.usage}
        if job.precision == "int8":
            intermediate = "prepared.tflite" if job.format == "tflite" else "prepared.onnx"
            steps |= {
                "observe": work.usage["observe_network"],
                "prepare": work.usage[f"prepare_{intermediate}"],
            }
        cell = {**shared, "format": job.format, "precision": job.precision,
                "steps": typed_json.encode(steps),
                "bytes": registry.load_artifact(path).bytes, "operations": operations(path),
                **scores(path, work.verification, exact), "latency": latency(path)}  # fmt: skip
        cell_path(model, job.format, job.precision).write_text(json.dumps(cell, indent=1) + "\n")
        print(model, job.format, job.precision, cell["sqnr_db"], cell["agreement"], flush=True)


def weights_of(model: str) -> str:
    """ImageNet's where they are here, else random ones."""
    from edgezoo.networks import catalogue

    return "imagenet" if catalogue.describe(model).weights_here else "random"


def scores(path: Path, pixels: Path, exact: Any) -> dict[str, Any]:
    """The file in its runtime against the Keras network."""
    import numpy as np

    from edgezoo.core import typed_json
    from edgezoo.evaluation.agreement import agreement_top1, sqnr_db
    from edgezoo.pipeline import children
    from edgezoo.system import process

    output = path.with_name(f"{path.name}.npy")
    ran = process.Launcher().call(children.predict_files, (path,), pixels, (output,))
    found = np.load(output)
    return {
        "sqnr_db": round(sqnr_db(exact, found), 2),
        "agreement": agreement_top1(exact, found),
        "finite": bool(np.isfinite(found).all()),
        "spread": float(np.ptp(found, axis=0).max()),
        "run": typed_json.encode(ran.usage),
    }


def latency(path: Path) -> dict[str, Any]:
    """CPU milliseconds of one inference on one thread, in a process of its own."""
    done = common.measure([sys.executable, __file__, "--latency", str(path)])
    if done["exit"]:
        return {"failed": done["stderr"].strip().splitlines()[-1][:200]}
    facts: dict[str, Any] = json.loads(done["stdout"].splitlines()[-1])
    return facts


def time_inference(path: Path) -> dict[str, Any]:
    """Runs in the child: medians of single inferences."""
    import numpy as np

    from edgezoo.core import registry
    from edgezoo.inference.conversion import to_input

    artifact = registry.load_artifact(path)
    contract = artifact.required_contract()
    pixels = np.random.default_rng(0).integers(
        0, 256, (1, contract.input_size, contract.input_size, 3), dtype=np.uint8
    )
    with registry.runtime_for(path).open(artifact, "cpu", 1) as session:
        batch = to_input(pixels, contract, session.inputs[0])
        samples: list[float] = []
        session.run(batch)
        while len(samples) < 5 or (sum(samples) < 2000 and len(samples) < 200):
            start = time.process_time()
            session.run(batch)
            samples.append((time.process_time() - start) * 1000)
    return {"cpu_ms": round(statistics.median(samples), 3), "runs": len(samples)}


def operations(path: Path) -> dict[str, Any]:
    """How many operations there are, and which compute in float."""
    done = common.measure([*common.EDGEZOO, "inspect", str(path), "--json"])
    facts = json.loads(done["stdout"])
    return {"ops": facts["ops"], "in_float": facts["float_ops"]}


def missing_of(model: str) -> list[Path]:
    """Cells that are not there, or made by other code."""
    from edgezoo.core import registry

    key = key_of(model)
    paths = [cell_path(model, name, p) for name in sorted(registry.exporters()) for p in PRECISIONS]
    return [p for p in paths if not p.is_file() or json.loads(p.read_text()).get("key") != key]


def run_model(model: str) -> None:
    """A model's missing cells, or why there are none."""
    missing = missing_of(model)
    if not missing:
        return
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--model", model, scratch]
        reason = None
        try:
            done = subprocess.run(
                command, stderr=subprocess.PIPE, text=True, timeout=60 * MINUTES * 3,
                env=common.keras_environment(), check=False,
            )  # fmt: skip
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            reason = f"not done within {3 * MINUTES} minutes for all nine cells"
    for path in missing_of(model) if reason else []:
        _, name, precision = path.stem.rsplit("-", 2)
        facts = {"key": None, "model": model, "format": name, "precision": precision,
                 "environment": common.environment(), "failed": reason}  # fmt: skip
        path.write_text(json.dumps(facts, indent=1) + "\n")


def failures(cells: list[dict[str, Any]]) -> list[str]:
    """Bounds that do not hold, in words."""
    found = []
    for cell in cells:
        name = f"{cell['model']} {cell['format']} {cell['precision']}"
        if "failed" in cell:
            found.append(f"{name}: {cell['failed']}")
            continue
        least, share = BOUNDS.get(cell["precision"], (0.0, 0.0))
        if cell["sqnr_db"] < least or cell["agreement"] < share:
            found.append(f"{name}: {cell['sqnr_db']} dB, agreement {cell['agreement']}")
        if not cell["finite"] or cell["spread"] < 1e-3:
            found.append(f"{name}: NaN or a constant output")
        if cell["classes_seen"] < LEAST_CLASSES:
            found.append(f"{name}: the network itself tells only {cell['classes_seen']} classes")
        peak = max(step["peak_rss_mb"] for step in cell["steps"].values())
        if peak > MAX_PEAK_MB:
            found.append(f"{name}: {peak} MB")
        quantized = (cell["format"], cell["precision"]) == ("tflite", "int8")
        if quantized and cell["operations"]["in_float"]:
            found.append(f"{name}: {cell['operations']['in_float']} in float")
    return found


def main() -> int:
    if sys.argv[1:2] == ["--model"]:
        one_model(sys.argv[2], Path(sys.argv[3]))
        return 0
    if sys.argv[1:2] == ["--latency"]:
        print(json.dumps(time_inference(Path(sys.argv[2]))))
        return 0
    common.require_shared()
    os.environ["KERAS_HOME"] = str(common.SHARED / "keras")
    from edgezoo.core import registry

    CELLS.mkdir(parents=True, exist_ok=True)
    for model in sys.argv[1:] or sorted(registry.models()):
        run_model(model)
    cells = [json.loads(path.read_text()) for path in sorted(CELLS.glob("*.json"))]
    missed = failures(cells)
    print("\n".join(missed) or "all bounds hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
