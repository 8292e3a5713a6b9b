"""`edgezoo benchmark`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgezoo.cli import _console
from edgezoo.cli._options import (
    COUNT,
    PATH,
    SEED,
    F,
    common,
    protected,
    quiet,
    recommendation,
    remote,
    split,
)
from edgezoo.core import typed_json
from edgezoo.core.errors import UsageError, counted
from edgezoo.core.escapes import shell

if TYPE_CHECKING:
    from edgezoo.inspection.compile_file import TargetEstimate
    from edgezoo.sweep.entry import BenchmarkResult, FileResult
    from edgezoo.sweep.grid import SweepRequest

_EXAMPLES = {"alpha": ("--alpha", "0.25,0.5"), "input_size": ("--input-size", "128,160")}


def _list(name: str, help: str) -> Callable[[F], F]:
    return click.option(name, multiple=True, metavar="LIST", help=help)


@click.command("benchmark")
@click.argument("what", nargs=-1, required=True, metavar="ARTIFACT...|MODEL...|SWEEP.toml")
@_list("--alpha", "Widths of a MobileNet to sweep over, by commas.")
@_list("--input-size", "Sizes in pixels to sweep over; of files of open size, the one.")
@_list("--format", "Formats to sweep over, or all (default).")
@_list("--precision", "float32 (default), float16, int8.")
@_list("--threads", "Numbers of threads, or all: every usable physical core (default 1).")
@_list("--device", "Devices to measure on (default cpu).")
@_list("--target", "Targets whose compiler estimates int8 .tflite files: ethos-u55-128.")
@click.option(
    "--images", type=PATH, metavar="DIR|TAR", help="Labelled images: measure accuracy too."
)
@click.option("--ground-truth", type=PATH, metavar="FILE", help="Classes of a flat folder.")
@click.option("--limit", type=COUNT, metavar="N", help="Score N images of them.")
@click.option("--weights", metavar="WORD|FILE", help="As in edgezoo export.")
@click.option("--seed", type=SEED, help="As in edgezoo export.")
@click.option("--calibration", metavar="DIR|NPZ", help="As in edgezoo export.")
@click.option("--calibration-count", type=COUNT, help="As in edgezoo export.")
@click.option("-o", "--output", type=PATH, metavar="DIR", help="Results store; a sweep resumes.")
@click.option("--pin", is_flag=True, help="Pin each process to cores of its own.")
@click.option("--self-check/--no-self-check", default=True, help="Measure one file twice: A/A.")
@click.option(
    "--batch",
    type=click.IntRange(1, 4096),
    default=1,
    metavar="N",
    help="Images of one inference, of files that take any number (default 1).",
)
@click.option("--retry-failed", is_flag=True, help="Try failed variants again.")
@click.option(
    "--cluster", metavar="URL", help="Export and score on a Dask cluster: tcp://host:port."
)
@click.option("--workers", type=COUNT, help="The same with N processes on this machine.")
@click.option("--measure-on", metavar="here|NAME", help="Device under test: a worker's resource.")
@click.option(
    "--dry-run", is_flag=True, help="Print what would be measured, and how long it takes."
)
@remote
@protected
@quiet
@common
def COMMAND(what: tuple[str, ...], **options: Any) -> int:
    """Measure latency and memory, and accuracy with --images.

    Files are measured against one another, in turns, each in a process of its own. A grid of
    models is exported first; its results go to a store, from which an interrupted sweep resumes.

    \b
    Examples:
      edgezoo benchmark a.tflite b.tflite
      edgezoo benchmark mobilenet --alpha 0.25,0.5 --input-size 128,160 \\
          --precision float32,int8 --threads 1,2 --images val/ -o results/
      edgezoo benchmark sweep.toml
    """
    as_json, debug, silent, dry_run, retry = (
        options.pop(name) for name in ("as_json", "debug", "quiet", "dry_run", "retry_failed")
    )
    on = options.pop("on")
    place = {name: options.pop(name) for name in ("cluster", "workers", "measure_on")}
    from edgezoo.sweep.entry import request_for

    source, default = click.get_current_context().get_parameter_source, ParameterSource.DEFAULT
    given = {name: _values(name, options[name]) for name in options if source(name) is not default}
    request = request_for(what, given)
    _check_place(request, **place)
    if retry and request.output is None:
        raise UsageError(
            "--retry-failed needs the records of a sweep, and nothing is kept here.",
            "Give --output DIR (or -o DIR), or leave --retry-failed out.",
        )
    if dry_run:
        return _show_plan(request, as_json)
    if request.output is None:
        return _measure_files(request, as_json, debug, silent, on)
    if on is not None:
        raise UsageError(
            "--on measures files and keeps nothing.",
            "Leave --output out; for a sweep, start a worker there and give --cluster.",
        )
    return _sweep(request, as_json, silent, retry, **place)


def _check_place(
    request: SweepRequest, cluster: str | None, workers: int | None, measure_on: str | None
) -> None:
    if cluster is not None and workers is not None:
        raise UsageError("--cluster and --workers exclude each other.", "Give one of them.")
    if measure_on is not None and cluster is None and workers is None:
        raise UsageError("--measure-on needs --cluster.", "Without it, latency is measured here.")
    if request.output is None and (cluster or workers):
        raise UsageError("A cluster runs sweeps only.", "Give --output DIR (or -o DIR).")


def _values(name: str, value: Any) -> Any:
    from edgezoo.sweep.sweep_file import LISTS

    kind = LISTS.get(name)
    return tuple(_value(name, kind, word) for word in split(value)) if kind else value


def _value(name: str, kind: Callable[[str], object], word: str) -> object:
    try:
        return kind(word)
    except ValueError as error:
        option, example = _EXAMPLES[name]
        raise UsageError(
            f"{option} takes numbers, and {word!r} is not one.", f"Write {option} {example}."
        ) from error


def _show_plan(request: SweepRequest, as_json: bool) -> int:
    from edgezoo.sweep.estimate import estimate
    from edgezoo.sweep.grid import expand
    from edgezoo.sweep.runner import require_possible

    networks = expand(request)
    require_possible(networks)
    plan = estimate(request, networks)
    if as_json:
        _console.print_json(typed_json.encode(plan))
        return 0
    title = f"{counted(len(plan.variants), 'variant')}, about {_duration(plan.seconds_about)}"
    _console.table(title, ("variant",), [(entry.name,) for entry in plan.variants])
    for entry in plan.failing:
        _console.warn(f"{entry.name}: {entry.reason}")
    return 0


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _measure_files(
    request: SweepRequest, as_json: bool, debug: bool, silent: bool, on: str | None
) -> int:
    from edgezoo.sweep.entry import measure_files

    with _console.share(not silent and not debug) as progress:
        result = measure_files(request, progress, debug, on)
    if as_json:
        _console.print_json(typed_json.encode(result))
        return 0
    of = f" of {request.batch} images" if request.batch != 1 else ""
    _show_results(f"Latency{of}", result.results, _LATENCY)
    _show_verdicts(result)
    _show_accuracies(result.results)
    _show_estimates(result)
    _console.ran_on(result.remote)
    _console.next_command(f"edgezoo inspect {shell(result.results[0].artifact)}")
    return 0


def _names(entries: Sequence[FileResult | TargetEstimate]) -> dict[str, str]:
    """Return the name of each artifact in a table."""
    from edgezoo.measurement.comparisons import short_names

    return short_names([str(entry.artifact) for entry in entries])


def _show_accuracies(results: Sequence[FileResult]) -> None:
    scored = {result.artifact: result.accuracy for result in results if result.accuracy}
    names, rows = _names(results), []
    for artifact, accuracy in scored.items():
        interval = "{:.1f} to {:.1f}".format(*(100 * end for end in accuracy.top1_ci95))
        top1 = _console.percent(accuracy.top1)
        rows.append((names[artifact], accuracy.images, top1, interval))
    if rows:
        _console.table("Accuracy", ("file", "images", "top-1", "95 % interval"), rows)


def _show_estimates(result: BenchmarkResult) -> None:
    estimates = result.estimates or ()
    names = _names([*result.results, *estimates])
    rows = [
        (names[str(e.artifact)], e.target, f"{e.inference_ms:.3f}", e.npu_ops, e.cpu_ops)
        for e in estimates
    ]
    if rows:
        title = "Vela estimates: computed by a model of the hardware, not measured"
        _console.table(title, ("file", "target", "ms", "on NPU", "on CPU"), rows)
    for entry in result.not_estimated or ():
        _console.warn(f"{entry.artifact}: no estimate for {entry.target}. {entry.reason}")


_LATENCY: dict[str, Callable[[FileResult], str]] = {
    "median ms": lambda r: f"{r.latency_ms.median:.3f}",
    "95 %": lambda r: "{:.2f}-{:.2f}".format(*r.latency_ms.ci95),
    "p95": lambda r: f"{r.latency_ms.p95:.2f}",
    "cold": lambda r: f"{r.cold_start_ms:.0f}",
    "MB": lambda r: f"{r.peak_rss_mb:.0f}",
}
_VARIANTS: dict[str, Callable[[FileResult], str]] = {
    "median ms": lambda r: f"{r.latency_ms.median:.2f}",
    "top-1": lambda r: _console.percent(r.accuracy.top1 if r.accuracy else None),
    "size": lambda r: _console.size(r.bytes),
}


def _show_results(
    title: str, results: Sequence[FileResult], columns: dict[str, Callable[[FileResult], str]]
) -> None:
    names = _names(results)
    rows = [
        (names[r.artifact], r.threads, *(cell(r) for cell in columns.values()), r.trust.level)
        for r in results
    ]
    _console.table(title, ("file", "thr", *columns, "trust"), rows)


def _show_verdicts(result: BenchmarkResult) -> None:
    from edgezoo.measurement.verdicts import self_check_text

    for entry in result.comparisons or ():
        _console.say(f"{entry.text}.")
    check = result.self_check
    if check and check.estimate is not None and result.noise_floor is not None:
        _console.say(f"{self_check_text(check.estimate, result.noise_floor)}.")
    _show_trust(result.results)


def _show_trust(results: Sequence[FileResult]) -> None:
    """Print reasons against all figures once, against one figure with its name."""
    names = _names(results)
    reasons = [dict.fromkeys(result.trust.reasons) for result in results]
    common = [text for text in (reasons[0] if reasons else ()) if all(text in r for r in reasons)]
    for text in common:
        _console.warn(text)
    for result, own in zip(results, reasons, strict=True):
        for text in own:
            if text not in common:
                _console.warn(f"{names[result.artifact]}, threads {result.threads}: {text}")


def _sweep(request: SweepRequest, as_json: bool, silent: bool, retry: bool, **place: Any) -> int:
    from edgezoo.sweep.entry import sweep

    with _console.share(not silent) as progress:
        result = sweep(request, progress, retry_failed=retry, **place)
    failed = result.failed or ()
    first = None if result.results or result.estimates or not failed else failed[0]
    code = first.error.exit_code if first else 0
    if as_json:
        _console.print_json(typed_json.encode(result))
        return code
    _show_sweep(result)
    if first:
        _console.warn(f"Nothing was measured. {first.error.hint}".strip())
        _console.next_command("fix that, and run the same command again with --retry-failed.")
    else:
        scored = any(entry.accuracy for entry in result.results)
        _console.next_command(recommendation(Path(result.store or ""), scored))
    return code


def _show_sweep(result: BenchmarkResult) -> None:
    if result.done_before:
        _console.note(f"Done before: {counted(result.done_before, 'variant')}.")
    if result.results:
        fastest = sorted(result.results, key=lambda r: r.latency_ms.median)
        _show_results("Variants, fastest first", fastest, _VARIANTS)
    _show_estimates(result)
    for entry in result.failed or ():
        _console.warn(f"{entry.name} failed: {entry.error.message}")
    for level in ("poor", "caution"):
        if count := sum(entry.trust.level == level for entry in result.results):
            some = f"{count} of {len(result.results)} latencies"
            _console.warn(f"Trust in {some}: {level}. The report says why.")
    if result.report:
        _console.say(str(result.report))
    else:
        _console.note('No page was made. For one: pip install "edgezoo[report]"')
