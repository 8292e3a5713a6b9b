"""Each layer, activation and function of Keras through every format and precision.

    python benchmarks/layer_sweep.py [NAME ...] [--kind layer]

Every case of `layer_cases.py` is exported as EdgeZoo exports a user's network, and each file is
compared with Keras: 60 dB for float32, 40 dB for float16; int8 files are made and run. The result
goes to benchmarks/results/layers.json after every case, and a later run does what is missing.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULT = Path(os.environ.get("LAYER_SWEEP_RESULT", Path(__file__).parent / "results/layers.json"))
FORMATS, PRECISIONS = ("tflite", "onnx", "openvino"), ("float32", "float16", "int8")
BOUNDS = {"float32": 60.0, "float16": 40.0}
IMAGES = 2


Files = dict[str, float | str]
_DIED = "the library ended its process"


def export(
    network: Any, folder: Path, size: int, note: Callable[[Files], None] = lambda files: None
) -> Files:
    """Make and run all files of a network; return decibels, or why there is no file.

    `note` is told before each file, which may end the process.
    """
    import numpy as np

    from edgezoo.calibration import sources
    from edgezoo.core import registry
    from edgezoo.core.artifact import InputContract, WeightsRecord
    from edgezoo.core.errors import RefusedError
    from edgezoo.core.protocols import ExportJob, Source
    from edgezoo.core.recipe import Recipe
    from edgezoo.evaluation.agreement import sqnr_db
    from edgezoo.exporters import _intermediates
    from edgezoo.exporters._unsupported import refuse_unsupported
    from edgezoo.formats.keras_files.network_config import network_config
    from edgezoo.pipeline import children

    jobs = [ExportJob(name, precision) for name in FORMATS for precision in PRECISIONS]  # type: ignore[arg-type]
    told: Files = {}

    def lose(error: RefusedError, precision: str = "", names: tuple[str, ...] = FORMATS) -> None:
        for job in jobs:
            if job.format in names and precision in ("", job.precision):
                told.setdefault(f"{job.format} {job.precision}", error.message)

    try:
        config = {"module": "keras", "class_name": "Functional", "config": network.get_config()}
        refuse_unsupported("The network", network_config(_plain(config), "3"))
        contract = InputContract(
            model="case", precision="float32", preprocessing="raw", input_size=size,
            weights=WeightsRecord("random", ""), classes=0, output_kind="features",
            output_shape=tuple(network.output_shape[1:]),
        )  # fmt: skip
        source = Source(folder, contract)
        chosen, held_out = sources.choose("synthetic", size, IMAGES, IMAGES, 0)
        stored = sources.store(chosen, size, folder, "calibration")
        pixels = sources.store(held_out, size, folder, "verification").path
        wanted = network.predict_on_batch(np.load(pixels).astype(np.float32))
        starts = {
            name for job in jobs
            for name in registry.exporter(job.format).intermediates(contract, job)
        }  # fmt: skip
        refused = _intermediates.write(network, source, set(starts))
    except RefusedError as error:
        lose(error)
        return told
    if refused:
        lose(refused, names=("onnx", "openvino"))
        starts = {name for name in starts if not name.endswith(".onnx")}
    halves = tuple(sorted(start for start in starts if start.startswith("fp16")))

    def prepare(start: Any) -> None:
        recipe = Recipe(grid="pair-safe" if start == "prepared.onnx" else "full")
        children.prepare_intermediate(folder, contract, stored.path, start, recipe)

    steps: list[tuple[str, Callable[[], object]]] = [
        ("float16", lambda: children.correct_fp16(folder, contract, stored.path, halves)),
        ("int8", lambda: children.observe_network(folder, contract, stored.path)),
        *(("int8", functools.partial(prepare, start)) for start in sorted(starts)
          if start.startswith("prepared")),
    ]  # fmt: skip
    for precision, step in steps:
        try:
            step()
        except RefusedError as error:
            lose(error, precision)
        except Exception as error:
            lose(RefusedError(f"DEFECT {type(error).__name__}: {error}"), precision)
    for job in jobs:
        key = f"{job.format} {job.precision}"
        if key in told:
            continue
        note({**told, key: _DIED})
        entry = children.FileJob(job, key.replace(" ", "_"))
        (made,) = children.attempt_exports(folder, contract, (entry,), stored.path)
        if made.path is None:
            told[key] = made.refusal.reason if made.refusal else ""
            continue
        output = folder / f"{entry.stem}.npy"
        (ran,) = children.attempt_predictions((made.path,), pixels, (output,))
        if ran.path is None:
            told[key] = ran.refusal.reason if ran.refusal else ""
            continue
        got = np.load(output)
        told[key] = round(min(200.0, float(sqnr_db(wanted, got.reshape(wanted.shape)))), 1)
    return told


def _plain(config: Any) -> Any:
    """The configuration of a network as its file has it."""
    return json.loads(json.dumps(config, default=lambda value: getattr(value, "name", str(value))))


def run(names: list[str], kinds: list[str]) -> None:
    """Do what is missing, in this process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.disable(logging.ERROR)
    import layer_cases

    for kind, name, build in layer_cases.cases():
        known = _results()
        if (kinds and kind not in kinds) or (names and name not in names) or name in known:
            continue
        _write({**known, name: {"kind": kind, "files": {"all": "DEFECT the process died"}}})

        def note(files: Files, name: str = name, kind: str = kind) -> None:
            _write({**_results(), name: {"kind": kind, "files": files}})

        try:
            network = layer_cases.network(name, build)
            with tempfile.TemporaryDirectory() as folder:
                files = export(network, Path(folder), layer_cases.SIZE, note)
        except Exception as error:
            files = {"all": f"DEFECT {type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        _write({**_results(), name: {"kind": kind, "files": files}})


def _results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return found


def _write(results: dict[str, Any]) -> None:
    part = RESULT.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    part.replace(RESULT)


def problems(results: dict[str, Any]) -> list[str]:
    """Files that are neither close enough nor refused by name."""
    found = []
    for name, entry in results.items():
        for key, value in entry["files"].items():
            bound = BOUNDS.get(key.rpartition(" ")[2])
            if isinstance(value, str):
                if value.startswith("DEFECT") or "Error" in value:
                    found.append(f"{name}: {key}: {value}")
            elif bound is not None and value < bound:
                found.append(f"{name}: {key}: {value} dB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--here", action="store_true", help="in this process")
    given = parser.parse_args()
    if given.here:
        run(given.names, given.kind)
        return
    RESULT.parent.mkdir(exist_ok=True)
    kinds = [word for kind in given.kind for word in ("--kind", kind)]
    command = [sys.executable, __file__, "--here", *given.names, *kinds]
    while subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        print("the process died; going on behind that case", flush=True)
    found = problems(_results())
    print("\n".join(found))
    print(f"{len(_results())} cases, {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
