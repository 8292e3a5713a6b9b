"""`edgezoo export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, quiet, split, trusted
from edgezoo.core import registry, typed_json
from edgezoo.core.errors import UsageError


@click.command("export", short_help="Export MODEL to files, and verify each of them.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--alpha", type=float, help="Width of a MobileNet: 0.25, 0.5, 0.75, 1.0, or any.")
@click.option("--depth-multiplier", type=int, help="Of MobileNet's depthwise layers.")
@click.option("--blocks", metavar="N,N,N,N", help="Layers in each block of a DenseNet.")
@click.option("--dropout", type=float, metavar="RATE", help="Of a MobileNet's top, for training.")
@click.option("--input-size", type=int, metavar="PX", help="Height and width in pixels.")
@click.option("--classes", type=int, metavar="N", help="Outputs of the top; 1000 where left out.")
@click.option("--no-top", is_flag=True, help="Features: the network without its dense layers.")
@click.option(
    "--pooling",
    default="none",
    metavar="WORD",
    help="Of features: none (default, a feature map), avg or max.",
)
@click.option(
    "--output-layer", metavar="NAME", help="Features: cut the network off behind this layer."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("all",),
    metavar="NAME",
    help="tflite, onnx, openvino or all (default); several by commas.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="float32 (default), float16, int8; several by commas.",
)
@click.option("--int8", is_flag=True, help="The same as --precision int8.")
@click.option(
    "--weights",
    default="imagenet",
    metavar="WORD|FILE",
    help="imagenet (default), random (untrained, seeded) or an .h5 file.",
)
@click.option(
    "--preprocessing",
    metavar="MODE",
    help="tf, caffe, torch or none, where MODEL is a file that does not tell it.",
)
@click.option(
    "--labels", type=PATH, metavar="FILE", help="A class name a line, for classes not ImageNet's."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="Of random weights and of the choice of images.",
)
@click.option(
    "--calibration",
    default="synthetic",
    metavar="DIR|NPZ",
    help="Images for int8: a folder, an .npz of uint8 pixels, samples (see edgezoo samples), or "
    "synthetic (default).",
)
@click.option("--calibration-count", default=200, show_default=True, help="Images to calibrate on.")
@click.option(
    "--effort",
    default="default",
    metavar="WORD",
    help="What int8 may cost: fast (ranges alone), default, best (chooses each rounding).",
)
@click.option(
    "--granularity",
    default="per-channel",
    metavar="WORD",
    help="Scales of int8 weights: per-channel (default), or per-tensor where a device needs it.",
)
@click.option(
    "--input",
    "input_kind",
    default="pixels",
    metavar="KIND",
    help="pixels (default: RGB 0 to 255, normalised inside) or normalized (Keras' own contract).",
)
@click.option(
    "--input-layout",
    default="nhwc",
    metavar="WORD",
    help="nhwc (default), or nchw for ONNX and OpenVINO.",
)
@click.option(
    "--target",
    metavar="NAME",
    help="Device: coral, ethos-u55-128, tflite-micro, …; sets format, precision and --io.",
)
@click.option(
    "--embed-resize",
    is_flag=True,
    help="ONNX: let the file resize and crop decoded pictures of any size by itself.",
)
@click.option("--io", metavar="TYPE", help="Border of int8 files: uint8 (default), int8, float32.")
@click.option(
    "-o", "--output", type=PATH, default=Path("exported"), show_default=True, metavar="DIR"
)
@click.option("--verify/--no-verify", default=True, help="Compare each file with Keras.")
@click.option(
    "--verify-images", "verify_count", type=click.IntRange(2), default=64, show_default=True
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Exit 6 where fewer images than this share keep their top-1.",
)
@click.option(
    "--max-drop",
    "max_drop_points",
    type=float,
    metavar="POINTS",
    help="Keep the worst int8 layers in float until top-1 on --images provably drops by less; "
    "else exit 6.",
)
@click.option("--images", type=PATH, metavar="DIR", help="Labelled images for --max-drop.")
@click.option(
    "--ground-truth", type=PATH, metavar="FILE", help="Classes of --images, where it is flat."
)
@click.option(
    "--cache/--no-cache", default=True, help="Answer with files that the same request gave before."
)
@click.option("--dry-run", is_flag=True, help="Say what would be made, how large, how long.")
@trusted
@quiet
@common
def COMMAND(models: tuple[str, ...], **options: Any) -> int:
    """Export MODEL to files that run at the edge, and verify each of them.

    MODEL is a name (see edgezoo list), or a network of your own: a .keras or .h5 file,
    or the folder of a SavedModel.

    \b
    Examples:
      edgezoo export mobilenet --alpha 0.5 --int8
      edgezoo export mobilenet --alpha 0.25 --input-size 128 --format tflite \\
          --precision float32,int8 --calibration photos/ -o build/
      edgezoo export mobilenet --alpha 0.25 --input-size 96 --target tflite-micro
      edgezoo export vgg16 --no-top --pooling avg
      edgezoo export flowers.keras --preprocessing tf --labels names.txt --int8
      edgezoo export mobilenet --alpha 0.35 --weights random --dry-run
    """
    as_json, debug, dry_run, silent = (
        options.pop(name) for name in ("as_json", "debug", "dry_run", "quiet")
    )
    precisions = split(options.pop("precisions"))
    if options.pop("int8"):
        precisions = (*precisions, "int8")
    from edgezoo.networks import arguments
    from edgezoo.pipeline.plan import estimate, resolve
    from edgezoo.pipeline.request import ExportRequest

    options["include_top"] = not options.pop("no_top")
    options["blocks"] = _numbers("--blocks", options["blocks"])
    chosen = arguments.taken_from(options)
    options["formats"] = split(options.pop("formats"))
    first = ExportRequest("", chosen, precisions=precisions or None, **options)
    names = tuple(dict.fromkeys(models))
    if len(names) != len(models):
        raise UsageError("A model is named twice.", "Name each model once.")
    plans = [resolve(replace(first, model=name)) for name in names]
    for text in dict.fromkeys(text for plan in plans for text in plan.skipped):
        _console.warn(text)
    if dry_run:
        _show_plans([estimate(plan) for plan in plans], as_json)
        return 0
    return _export(plans, as_json, debug, silent)


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers by commas."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is no list of whole numbers.", "Give it as 6,12,24,16."
        ) from error


def _export(plans: list[Any], as_json: bool, debug: bool, silent: bool) -> int:
    from edgezoo.pipeline.run import execute

    results = []
    for plan in plans:
        with _console.status(not silent and not debug) as progress:
            result = execute(plan, progress, debug)
        results.append(result)
        if result.cached and not silent:
            _console.note("From the cache; --no-cache makes the files anew.")
        for text in result.warnings:
            _console.warn(text)
        if not as_json:
            _show_result(plan, result)
    if as_json:
        facts = [result.to_json() for result in results]
        merged = facts[0] if len(facts) == 1 else _merge(facts)
        _console.print_json(merged)
    failures = [text for result in results for text in result.failures]
    for text in failures:
        _console.note(f"Failed: {text}")
    if failures:
        return 6
    if not as_json:
        _next_command(results[-1].artifacts, plans[-1])
    return 0


def _merge(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """One object for several models: lists joined, the manifests listed."""
    return {
        "artifacts": [entry for fact in facts for entry in fact["artifacts"]],
        "manifest": facts[-1]["manifest"],
        "manifests": [fact["manifest"] for fact in facts],
        "warnings": [text for fact in facts for text in fact["warnings"]],
        "failures": [text for fact in facts for text in fact["failures"]],
        "cached": all(fact["cached"] for fact in facts),
    }


def _show_plans(plans: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _console.print_json({"dry_run": True, "plans": plans})
        return
    for plan in plans:
        width = "" if plan["alpha"] is None else f" {plan['alpha']:g}"
        rows = [
            (Path(entry["path"]).name, _about(entry["bytes_about"])) for entry in plan["artifacts"]
        ]
        count = "" if plan["parameters"] is None else f"{plan['parameters']:,} parameters, "
        title = (
            f"{plan['model']}{width} at {plan['input_size']} px, {count}"
            f"{plan['weights']} weights: about {plan['cpu_seconds_about']} CPU s"
        )
        _console.table(title, ("file", "size"), rows)


def _about(count: int | None) -> str:
    return "not known yet" if count is None else f"about {_console.size(count)}"


def _show_result(plan: Any, result: Any) -> None:
    rows = []
    for entry in result.artifacts:
        check = entry["verification"]
        rows.append(
            (
                Path(entry["path"]).name,
                _console.size(entry["bytes"]),
                check["verdict"],
                _console.agreement(check),
                _console.decibels(check),
            )
        )
    agree = "same top-1" if plan.network.arguments.output_kind == "probabilities" else "cosine"
    untrained = "" if plan.weights.source != "random" else " (untrained: random weights)"
    _console.table(
        f"{result.manifest.parent}{untrained}", ("file", "size", "verified", agree, "SQNR dB"), rows
    )
    from edgezoo.pipeline import guard

    for entry in result.artifacts:
        if "guard" in entry:
            found = typed_json.decode(guard.GuardRecord, entry["guard"])
            _console.say(found.line(Path(entry["path"]).name))


def _next_command(entries: tuple[dict[str, Any], ...], plan: Any) -> None:
    path, target = entries[-1]["path"], plan.request.target
    if target is not None:
        more = registry.target(target).compile is not None
        _console.next_command(
            *(
                f"edgezoo {word} {path} --target {target}"
                for word in ("inspect", *(("compile",) if more else ()))
            )
        )
        return
    if plan.network.arguments.output_kind == "features":
        _console.next_command(f"edgezoo inspect {path}")
        return
    _console.next_command(
        f"edgezoo classify {path} PHOTO.jpg", f"edgezoo evaluate {path} --images FOLDER_OF_CLASSES"
    )
