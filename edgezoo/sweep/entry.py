"""`edgezoo benchmark` for the command line and for Python: words in, the object of --json out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgezoo import registry
from edgezoo.errors import EdgeZooError, UsageError
from edgezoo.measurement import comparisons, session
from edgezoo.reporting import files, html
from edgezoo.store import Record
from edgezoo.sweep import cluster as clusters
from edgezoo.sweep.grid import SweepRequest, expand, read_toml
from edgezoo.sweep.run import Outcome, Progress, run
from edgezoo.sweep.steps import REAL


def request_for(what: Sequence[str | Path], given: dict[str, Any]) -> SweepRequest:
    """What a user named: files, models of the zoo, or one TOML file.

    Args:
        what: one kind only.
        given: fields of `SweepRequest`; they overrule a TOML file.

    Raises:
        UsageError: kinds are mixed, or an option does not go with files.
    """
    words = [str(word) for word in what]
    suffixes = {s for runtime in registry.runtimes().values() for s in runtime.suffixes}
    kinds = {
        "toml" if word.endswith(".toml") else
        "files" if Path(word).suffix.lower() in suffixes else "models"
        for word in words
    }  # fmt: skip
    if len(kinds) > 1 or (kinds == {"toml"} and len(words) > 1):
        raise UsageError(
            "Files, models and sweeps cannot be mixed.", "Name one kind, and one TOML file only."
        )
    (kind,) = kinds
    if kind == "toml":
        return SweepRequest(**{**read_toml(Path(words[0])), **given})
    if kind == "files":
        strange = {"alpha", "input_size", "format", "precision", "weights", "calibration"} & set(
            given
        )
        if strange:
            raise UsageError(
                f"--{min(strange).replace('_', '-')} says how files are made; these exist already.",
                "Leave it out, or name a model.",
            )
        return SweepRequest(files=tuple(map(Path, words)), **given)
    return SweepRequest(models=tuple(words), **given)


def measure_files(
    request: SweepRequest, progress: Progress = lambda text, share: None, debug: bool = False
) -> dict[str, Any]:
    """Measure files against one another, and keep nothing.

    Raises:
        UsageError: what needs a place for its results.
        EdgeZooError: the first thing that stands in the way of a file.
    """
    if request.models or request.images:
        raise UsageError("A sweep needs a place for its results.", "Give --output DIR (or -o DIR).")
    (network,) = expand(request)
    subjects = [session.Subject(v.path, v.device, v.threads) for v in network.variants if v.path]
    measured = session.measure(
        subjects,
        request.settings,
        pin=request.pin,
        self_check=request.self_check,
        progress=lambda done: progress("Measuring", done),
        debug=debug,
    )
    for result in measured.results:
        if isinstance(result, EdgeZooError):
            raise result
    return {"results": list(measured.results), **comparisons.to_json(measured), "report": None}


def sweep(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    *,
    retry_failed: bool = False,
    cluster: str | None = None,
    workers: int | None = None,
    measure_on: str | None = None,
) -> dict[str, Any]:
    """Run a sweep, or go on with one, and make its page where jinja2 and plotly are there.

    Args:
        request: with an `output`.
        progress: see `run`.
        retry_failed: see `run`.
        cluster, workers, measure_on: see `cluster.connected`; without them all runs here.
    """
    output = request.output
    assert output is not None
    with contextlib.ExitStack() as stack:
        steps = REAL
        if cluster is not None or workers is not None:
            steps = stack.enter_context(clusters.connected(request, cluster, workers, measure_on))
        outcome = run(request, progress, steps=steps, retry_failed=retry_failed)
    page = None
    if all(map(registry.has_package, html.PACKAGES)):
        page = files.write([output], ("html",), output)["reports"][0]
    return {**_to_json(outcome, output), "report": page}


def _to_json(outcome: Outcome, output: Path) -> dict[str, Any]:
    good = [record for record in outcome.records if record["status"] == "measured"]
    return {
        "results": [_result(record, output) for record in good],
        "failed": [
            {"name": _name(record), "variant": record["variant"], "error": record["error"]}
            for record in outcome.records
            if record["status"] == "failed"
        ],
        "done_before": outcome.done_before,
        "sessions": list(outcome.sessions),
        "store": str(output),
    }


def _result(record: Record, output: Path) -> dict[str, Any]:
    artifact, variant = record["artifact"], record["variant"]
    inside = output / artifact["path"]
    latency = {name: value for name, value in record["latency"].items() if name != "blocks_ms"}
    return {
        "artifact": str(inside) if inside.is_file() else artifact["path"],
        **{name: artifact[name] for name in ("sha256", "bytes", "trained")},
        **variant,
        **latency,
        "accuracy": record["accuracy"],
        "trust": record["trust"],
    }


def _name(record: Record) -> str:
    variant = record["variant"]
    words = ("model", "alpha", "input_size", "precision", "format", "device")
    told = [str(variant[word]) for word in words if variant[word] is not None]
    return "_".join((*told, f"t{variant['threads']}"))
