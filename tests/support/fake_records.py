"""Records as a sweep would write them, with figures that follow from their place in the grid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.evaluation.drop import share_interval
from edgezoo.results.store import Record, open_store

BOX = {"cpu": "Box 1", "architecture": "x86_64", "cores": 4, "features": ["avx2"],
       "board": None, "bits": 64, "page_size": 4096, "memory_gb": 8.0, "system": "Linux 6",
       "python": "3.11.0"}  # fmt: skip


def record(
    model: str = "mobilenet",
    alpha: float | None = 0.25,
    input_size: int = 128,
    precision: str = "int8",
    format: str = "tflite",
    *,
    threads: int = 1,
    median: float = 2.0,
    spread: float = 0.01,
    hits: int | None = 400,
    images: int = 650,
    size: int = 600_000,
    machine: str = "a" * 12,
    kind: str = "measurement",
    trust: str = "good",
    floor: float = 0.02,
    runtime: str = "ai-edge-litert 2.3.0",
    seed: int = 0,
    file: str | None = None,
    created: str = "2026-01-01T00:00:00+00:00",
    images_hash: str = "e" * 16,
    sha256: str = "0" * 64,
) -> Record:
    """A measured variant; with `file` one of a file that somebody gave."""
    rng = np.random.default_rng(seed)
    blocks = (median * np.exp(rng.normal(0, spread, (24, 10)))).tolist()
    half = median * spread / 10
    p5, p90, p95 = (float(v) for v in np.percentile(blocks, (5, 90, 95)))
    facts = {"median": median, "ci95": [median - half, median + half], "min": p5, "p5": p5,
             "p90": p90, "p95": p95, "p99": None, "mad": half, "n": 240, "outliers": 0,
             "drift": 0.0}  # fmt: skip
    return {
        "kind": kind,
        "status": "measured",
        "created": created,
        "file": file,
        "variant": {"model": model, "alpha": alpha, "input_size": input_size,
                    "precision": precision, "format": format, "device": "cpu",
                    "threads": threads, "runtime": runtime},
        "artifact": {"path": file or f"artifacts/{model}_{alpha}_{input_size}_{precision}.{format}",
                     "sha256": sha256, "bytes": size, "trained": True,
                     "verification": {"verdict": "passed"}},
        "accuracy": None if hits is None else {
            "images": images, "unreadable": 0, "top1": hits / images, "top5": 0.9,
            "top1_ci95": list(share_interval(hits, images)), "top5_ci95": [0.88, 0.92],
            "agreement_top1": 0.95, "preprocessing": "f" * 16, "reference": "x.tflite",
            "images_hash": images_hash, "outcomes_sha256": None, "drop": None,
            "drop_ci95": None, "verdict": None},
        "latency": {"latency_ms": facts, "cpu_ms": median, "cold_start_ms": 12.0,
                    "cold_start": {"import_ms": 90.0, "open_ms": 10.0, "first_inference_ms": 2.0},
                    "apart_ms": None, "peak_rss_mb": 52.0, "memory_over_runtime_mb": 9.0,
                    "warm_up": {"runs": 99, "stable": True}, "backend": None,
                    "blocks_ms": [[round(v, 4) for v in block] for block in blocks]},
        "trust": {"level": trust, "reasons": [] if trust == "good" else ["Others were busy."],
                  "host": {"before": None, "after": None}},
        "session": {"id": "0123456789ab", "self_check": None, "noise_floor": floor},
        "protocol": {"version": 1, "min_rounds": 12, "block_runs": 10, "min_runs": 50,
                     "min_seconds": 1.0, "warm_up_seconds": 0.5, "cap_seconds": 150.0},
        "environment": {"machine_id": machine, "machine": BOX, "usable_cores": 4,
                        "libc": "glibc 2.36", "edgezoo": "0.1.0", "commit": None},
        **({"estimate": {"source": "Vela estimate (5.2.0, board)"}} if kind == "estimate" else {}),
        "error": None,
    }  # fmt: skip


def failed(**variant: Any) -> Record:
    """A variant that could not be made, or a file that could not be read."""
    facts = record(**variant)
    error = {"class": "RefusedError", "message": "It cannot be <made>.", "hint": "",
             "exit_code": 3, "step": "plan"}  # fmt: skip
    unknown = ("runtime", *(("model", "alpha", "input_size", "precision") if facts["file"] else ()))
    return {**{k: facts[k] for k in ("kind", "created", "file")}, "status": "failed",
            "variant": {**facts["variant"], **dict.fromkeys(unknown)}, "error": error}  # fmt: skip


def grid(count: int) -> list[Record]:
    """Many variants: larger ones slower and more accurate, int8 faster and a little worse."""
    rng = np.random.default_rng(0)
    places = itertools.cycle(
        itertools.product(
            (("mobilenet", 3.2), ("densenet121", 8.1), ("vgg16", 138.4), ("nasnetmobile", 5.3)),
            (0.25, 0.5, 0.75, 1.0),
            (96, 128, 160, 192, 224),
            ("float32", "float16", "int8"),
            ("tflite", "onnx", "openvino"),
        )
    )
    found = []
    for i, ((model, millions), alpha, size, precision, format) in zip(
        range(count), places, strict=False
    ):
        work = millions * alpha**2 * (size / 224) ** 2
        speed = {"float32": 1.0, "float16": 1.0, "int8": 0.5}[precision]
        share = 0.75 - 0.3 / (1 + work) - (0.02 if precision == "int8" else 0)
        width = {"float32": 4, "float16": 2, "int8": 1}[precision]
        found.append(
            record(
                model, alpha, size, precision, format,
                threads=1 + i % 2,
                median=float(1 + 4 * work * speed * np.exp(rng.normal(0, 0.05))),
                hits=int(650 * (share + rng.normal(0, 0.01))),
                size=int(millions * alpha**2 * width * 1e6),
                trust=("good", "good", "caution", "poor")[i % 4],
                seed=i,
            )
        )  # fmt: skip
    return found


def write_store(folder: Path, records: list[Record]) -> Path:
    """A store that holds these records."""
    with open_store(folder) as store:
        for i, facts in enumerate(records):
            store.write(f"variant{i:04}", f"{i:016x}", facts)
    return folder
