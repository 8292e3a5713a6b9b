"""`edgezoo benchmark`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, F, common, quiet, recommendation, remote, split
from edgezoo.core import typed_json
from edgezoo.core.errors import UsageError, counted
from edgezoo.system.remote import Remote

_LISTS = {
    "alpha": float,
    "input_size": int,
    "format": str,
    "precision": str,
    "threads": str,
    "device": str,
    "target": str,
}
_EXAMPLES = {"alpha": ("--alpha", "0.25,0.5"), "input_size": ("--input-size", "128,160")}


def _list(name: str, help: str) -> Callable[[F], F]:
    return click.option(name, multiple=True, metavar="LIST", help=help)


@click.command("benchmark")
@click.argument("what", nargs=-1, required=True, metavar="ARTIFACT...|MODEL...|SWEEP.toml")
@_list("--alpha", "Widths of a MobileNet to sweep over, by commas.")
@_list("--input-size", "Sizes in pixels to sweep over.")
@_list("--format", "Formats to sweep over, or all (default).")
@_list("--precision", "float32 (default), float16, int8.")
@_list("--threads", "Numbers of threads, or all: every usable physical core (default 1).")
@_list("--device", "Devices to measure on (default cpu).")
@_list("--target", "Targets whose compiler estimates int8 .tflite files: ethos-u55-128.")
@click.option(
    "--images", type=PATH, metavar="DIR|TAR", help="Labelled images: measure accuracy too."
)
@click.option("--ground-truth", type=PATH, metavar="FILE", help="Classes of a flat folder.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Score N images of them.")
@click.option("--weights", metavar="WORD|FILE", help="As in edgezoo export.")
@click.option("--seed", type=click.IntRange(0), help="As in edgezoo export.")
@click.option("--calibration", metavar="DIR|NPZ", help="As in edgezoo export.")
@click.option("--calibration-count", type=click.IntRange(1), help="As in edgezoo export.")
@click.option("-o", "--output", type=PATH, metavar="DIR", help="Results store, gone on with.")
@click.option("--pin", is_flag=True, help="Keep each process on cores of its own choice.")
@click.option("--self-check/--no-self-check", default=True, help="Measure one file twice: A/A.")
@click.option("--retry-failed", is_flag=True, help="Try variants again that failed before.")
@click.option(
    "--cluster", metavar="URL", help="Export and score on a Dask cluster: tcp://host:port."
)
@click.option(
    "--workers", type=click.IntRange(1), help="The same with N processes on this machine."
)
@click.option("--measure-on", metavar="here|NAME", help="Device under test: a worker's resource.")
@click.option("--dry-run", is_flag=True, help="Say what would be measured, and how long it takes.")
@remote
@quiet
@common
def COMMAND(what: tuple[str, ...], **options: Any) -> int:
    """Measure latency and memory, and accuracy with --images.

    Files are measured against one another, in turns, each in a process of its own. A grid of
    models is exported first; its results go to a store, where an interrupted sweep goes on.

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
    context = click.get_current_context()
    from edgezoo.sweep.entry import request_for

    given = {
        name: _values(name, value)
        for name, value in options.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    request = request_for(what, given)
    _check_place(request, **place)
    if retry and request.output is None:
        raise UsageError(
            "--retry-failed is about a sweep's records, and nothing is kept here.",
            "Give --output DIR (or -o DIR), or leave --retry-failed out.",
        )
    if dry_run:
        return _show_plan(request, as_json)
    if request.output is None:
        return _measure_files(request, as_json, debug, silent, on)
    if on is not None:
        raise UsageError(
            "--on measures files, and keeps nothing.",
            "Leave --output out; for a sweep, start a worker there and give --cluster.",
        )
    return _sweep(request, as_json, silent, retry, place)


def _check_place(
    request: Any, cluster: str | None, workers: int | None, measure_on: str | None
) -> None:
    if cluster is not None and workers is not None:
        raise UsageError("--cluster and --workers are two clusters.", "Give one of them.")
    if measure_on is not None and cluster is None and workers is None:
        raise UsageError("--measure-on needs --cluster.", "Without it, latency is measured here.")
    if request.output is None and (cluster or workers):
        raise UsageError("A cluster works on sweeps.", "Give --output DIR (or -o DIR).")


def _values(name: str, value: Any) -> Any:
    if name not in _LISTS:
        return value
    return tuple(_value(name, word) for word in split(value))


def _value(name: str, word: str) -> Any:
    try:
        return _LISTS[name](word)
    except ValueError as error:
        option, example = _EXAMPLES[name]
        raise UsageError(
            f"{option} takes numbers, and {word!r} is none.", f"Give some as in {option} {example}."
        ) from error


def _show_plan(request: Any, as_json: bool) -> int:
    from edgezoo.sweep.estimate import estimate
    from edgezoo.sweep.grid import expand
    from edgezoo.sweep.runner import require_possible

    networks = expand(request)
    require_possible(networks)
    plan = estimate(request, networks)
    if as_json:
        _console.print_json({"dry_run": True, **plan})
        return 0
    _console.table(
        f"{counted(len(plan['variants']), 'variant')}, about {_duration(plan['seconds_about'])}",
        ("variant",),
        [(entry["name"],) for entry in plan["variants"]],
    )
    for entry in plan["failing"]:
        _console.warn(f"{entry['name']}: {entry['reason']}")
    return 0


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _measure_files(request: Any, as_json: bool, debug: bool, silent: bool, on: str | None) -> int:
    from edgezoo.sweep.entry import measure_files

    with _console.share(not silent and not debug) as progress:
        facts = measure_files(request, progress, debug, on)
    if as_json:
        _console.print_json(facts)
        return 0
    _show_results(facts["results"])
    _show_verdicts(facts)
    _show_accuracies(facts["results"])
    _show_estimates(facts)
    if "remote" in facts:
        _console.ran_on(typed_json.decode(Remote, facts["remote"]))
    _console.next_command(f"edgezoo inspect {facts['results'][0]['artifact']}")
    return 0


def _names(entries: list[dict[str, Any]]) -> dict[str, str]:
    """What each artifact of a table is called."""
    from edgezoo.measurement.comparisons import short_names

    return short_names([entry["artifact"] for entry in entries])


def _show_accuracies(results: list[dict[str, Any]]) -> None:
    scored = {result["artifact"]: result["accuracy"] for result in results if result["accuracy"]}
    names = _names(results)
    if scored:
        _console.table(
            "Accuracy",
            ("file", "images", "top-1", "95 % interval"),
            [
                (
                    names[artifact],
                    entry["images"],
                    _console.percent(entry["top1"]),
                    "{:.1f} to {:.1f}".format(*(100 * end for end in entry["top1_ci95"])),
                )
                for artifact, entry in scored.items()
            ],
        )


def _show_estimates(facts: dict[str, Any]) -> None:
    """Apart from what was measured."""
    names = _names([*facts["results"], *facts.get("estimates", ())])
    if facts.get("estimates"):
        _console.table(
            "Vela estimates: computed by a model of the hardware, not measured",
            ("file", "target", "ms", "on NPU", "on CPU"),
            [
                (
                    names[entry["artifact"]],
                    entry["target"],
                    f"{entry['inference_ms']:.3f}",
                    entry["npu_ops"],
                    entry["cpu_ops"],
                )
                for entry in facts["estimates"]
            ],
        )
    for entry in facts.get("not_estimated", ()):
        _console.warn(f"{entry['artifact']}: no estimate for {entry['target']}. {entry['reason']}")


def _show_results(results: list[dict[str, Any]]) -> None:
    rows, names = [], _names(results)
    for result in results:
        latency = result["latency_ms"]
        low, high = latency["ci95"]
        rows.append(
            (
                names[result["artifact"]],
                result["threads"],
                f"{latency['median']:.3f}",
                f"{low:.2f}-{high:.2f}",
                f"{latency['p95']:.2f}",
                f"{result['cold_start_ms']:.0f}",
                f"{result['peak_rss_mb']:.0f}",
                result["trust"]["level"],
            )
        )
    columns = ("file", "thr", "median ms", "95 %", "p95", "cold", "MB", "trust")
    _console.table("Latency", columns, rows)


def _show_verdicts(facts: dict[str, Any]) -> None:
    for entry in facts["comparisons"]:
        print(f"{entry['text']}.")
    if facts["self_check"] is not None:
        percent = 100 * (facts["self_check"]["estimate"] - 1)
        floor = 100 * facts["noise_floor"]
        print(
            f"A/A: one file in two processes differed by {percent:+.1f} %; "
            f"noise floor {floor:.1f} %."
        )
    _show_trust(facts["results"])


def _show_trust(results: list[dict[str, Any]]) -> None:
    """What speaks against all figures once, what speaks against one with its name."""
    names = _names(results)
    reasons = [dict.fromkeys(result["trust"]["reasons"]) for result in results]
    common = [text for text in (reasons[0] if reasons else ()) if all(text in r for r in reasons)]
    for text in common:
        _console.warn(text)
    for result, own in zip(results, reasons, strict=True):
        name = f"{names[result['artifact']]}, threads {result['threads']}"
        for text in own:
            if text not in common:
                _console.warn(f"{name}: {text}")


def _sweep(request: Any, as_json: bool, silent: bool, retry: bool, place: dict[str, Any]) -> int:
    from edgezoo.sweep.entry import sweep

    with _console.share(not silent) as progress:
        facts = sweep(request, progress, retry_failed=retry, **place)
    first = None if facts["results"] or facts["estimates"] else next(iter(facts["failed"]), None)
    code = first["error"]["exit_code"] if first else 0
    if as_json:
        _console.print_json(facts)
        return code
    if facts["done_before"]:
        _console.note(f"Done before: {counted(facts['done_before'], 'variant')}.")
    if facts["results"]:
        _show_records(facts["results"])
    _show_estimates(facts)
    for entry in facts["failed"]:
        _console.warn(f"{entry['name']} failed: {entry['error']['message']}")
    for level in ("poor", "caution"):
        count = sum(result["trust"]["level"] == level for result in facts["results"])
        if count:
            _console.warn(
                f"Trust in {count} of {len(facts['results'])} latencies: {level}. "
                "The report says why."
            )
    if facts["report"]:
        print(facts["report"])
    else:
        _console.note('No page was made. For one: pip install "edgezoo[report]"')
    if first:
        _console.warn(f"Nothing was measured. {first['error']['hint']}".strip())
        _console.next_command("mend that, and run the same command again with --retry-failed.")
    else:
        scored = any(result["accuracy"] for result in facts["results"])
        _console.next_command(recommendation(request.output, scored))
    return code


def _show_records(results: list[dict[str, Any]]) -> None:
    rows, names = [], _names(results)
    for result in sorted(results, key=lambda r: r["latency_ms"]["median"]):
        accuracy = result["accuracy"]
        rows.append(
            (
                names[result["artifact"]],
                result["threads"],
                f"{result['latency_ms']['median']:.2f}",
                _console.percent(accuracy["top1"] if accuracy else None),
                _console.size(result["bytes"]),
                result["trust"]["level"],
            )
        )
    columns = ("file", "thr", "median ms", "top-1", "size", "trust")
    _console.table("Variants, fastest first", columns, rows)
