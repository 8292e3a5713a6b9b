"""`edgezoo export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import (
    PATH,
    SEED,
    SEVERAL,
    SHARE,
    common,
    flag,
    headed,
    option,
    preprocessed,
    protected,
    quiet,
    split,
    trusted,
)
from edgezoo.core import registry
from edgezoo.core.errors import UsageError
from edgezoo.core.escapes import shell

if TYPE_CHECKING:
    from edgezoo.pipeline.export_result import ExportedFile, ExportResult
    from edgezoo.pipeline.plan import ExportEstimate, Plan


@click.command("export", short_help="Export MODEL to files, and verify each of them.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@option("--alpha", "Width of a MobileNet: 0.25, 0.5, 0.75, 1.0, or any.", float)
@option("--depth-multiplier", "Depth multiplier of a MobileNet.", int)
@option("--blocks N,N,N,N", "Layers in each block of a DenseNet.")
@option("--dropout RATE", "Dropout of a MobileNet, for training.", float)
@option("--input-size PX|HxW", "Height and width in pixels: 224, or 96x128.")
@option("--classes N", "Number of classes (default 1000).", int)
@flag("--no-top", "Export features, without the dense layers.")
@option(
    "--pooling WORD",
    "Pooling of features: none (default, a feature map), avg or max.",
    default="none",
)
@option("--output-layer NAME", "Export the features of this layer.")
@option(
    "--format NAME",
    "tflite, onnx, … or all (default); separate several by commas.",
    to="formats",
    multiple=True,
    default=("all",),
)
@option(
    "--precision NAME",
    "float32 (default), float16, int8; separate several by commas.",
    to="precisions",
    multiple=True,
)
@flag("--int8", "Same as --precision int8.")
@option(
    "--weights WORD|FILE",
    "imagenet (default), random (untrained, seeded) or an .h5 file.",
    default="imagenet",
)
@preprocessed
@headed
@option("--labels FILE", "One class name per line, unless ImageNet's.", PATH)
@option("--seed", "Seed of random weights and chosen images.", SEED, default=0)
@option(
    "--calibration DIR|NPZ",
    "Images for int8: a folder or file of images, an .npz of uint8 pixels, samples (see edgezoo "
    "samples), or synthetic (default).",
    default="synthetic",
)
@option("--split NAME", "Calibrate on this folder of --calibration alone, as train.", to="part")
@option("--calibration-count", "Number of calibration images.", shown=200)
@option(
    "--effort WORD",
    "Effort for int8: fast (ranges only), default, best (optimizes each rounding).",
    default="default",
)
@option(
    "--granularity WORD",
    "Scales of int8 weights: per-channel (default), or per-tensor if a device needs it.",
    default="per-channel",
)
@option(
    "--qdq WORD",
    "Int8 ONNX: asymmetric (default), or symmetric, as accelerators such as TensorRT want.",
)
@option(
    "--input KIND",
    "pixels (default: RGB 0 to 255, normalized in the file) or normalized (as for Keras).",
    to="input_kind",
    default="pixels",
)
@option("--input-layout WORD", "nhwc (default), or nchw for ONNX and OpenVINO.", default="nhwc")
@option(
    "--target NAME",
    "Device: coral, ethos-u55-128, tflite-micro, …; sets format, precision and --io.",
)
@flag("--embed-resize", "ONNX: the file itself resizes and crops decoded images of any size.")
@option("--io TYPE", "Input/output type of int8 files: uint8 (default), int8, float32.")
@option(
    "--openvino-precision WORD",
    "OpenVINO: f32 (default of float files: float32 in every session) or auto (bfloat16 where a "
    "CPU has it: faster, other answers).",
)
@option("-o --output DIR", type=PATH, shown=Path("exported"))
@option("--verify/--no-verify", "Compare each file with Keras.", default=True)
@option("--verify-images", type=SEVERAL, to="verify_count", shown=64)
@option("--min-agreement SHARE", "Exit 6 if fewer images than this share keep their top-1.", SHARE)
@option(
    "--max-drop POINTS",
    "Keep the worst int8 layers in float until top-1 on --images provably drops by less; "
    "exit 6 if that is impossible.",
    float,
    to="max_drop_points",
)
@option("--images DIR", "Labelled images for --max-drop.", PATH)
@option("--ground-truth FILE", "Classes of --images, if it is flat.", PATH)
@option("--cache/--no-cache", "Reuse the files of an equal request.", default=True)
@flag("--dry-run", "Print files, sizes and duration without exporting.")
@trusted
@protected
@quiet
@common
def COMMAND(models: tuple[str, ...], **options: Any) -> int:
    """Export MODEL to files for edge devices, and verify each of them.

    MODEL is a name (see edgezoo list), or your own model: a .keras or .h5 file, or
    the folder of a SavedModel.

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
    from edgezoo.calibration import sources
    from edgezoo.networks import arguments
    from edgezoo.pipeline.plan import estimate, resolve
    from edgezoo.pipeline.request import ExportRequest

    flags = (options.pop(name) for name in ("as_json", "debug", "dry_run", "quiet"))
    as_json, debug, dry_run, silent = flags
    precisions = split(options.pop("precisions")) + (("int8",) if options.pop("int8") else ())
    options["include_top"] = not options.pop("no_top")
    options["calibration"] = sources.part_of(options["calibration"], options.pop("part"))
    options["blocks"] = _numbers("--blocks", options["blocks"])
    chosen = arguments.taken_from(options)
    options["formats"] = split(options.pop("formats"))
    first = ExportRequest("", chosen, precisions=precisions or None, **options)
    names = tuple(dict.fromkeys(models))
    if len(names) != len(models):
        raise UsageError("A model is given twice.", "Give each model once.")
    plans = [resolve(replace(first, model=name)) for name in names]
    for text in dict.fromkeys(text for plan in plans for text in plan.skipped):
        _console.warn(text)
    if dry_run:
        _show_plans([estimate(plan) for plan in plans], as_json)
        return 0
    return _export(plans, as_json, debug, silent)


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Parse integers separated by commas."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is not a list of integers.", "Write it as 6,12,24,16."
        ) from error


def _export(plans: list[Plan], as_json: bool, debug: bool, silent: bool) -> int:
    from edgezoo.pipeline.run import execute

    results = []
    for plan in plans:
        with _console.status(not silent and not debug) as progress:
            result = execute(plan, progress, debug)
        results.append(result)
        if result.cached and not silent:
            _console.note("The files come from the cache; --no-cache exports them again.")
        for text in result.warnings:
            _console.warn(text)
        for text in () if silent or as_json else plan.remarks:
            _console.note(text)
        if not as_json:
            _show_result(plan, result)
    if as_json:
        merged = results[0] if len(results) == 1 else _merge(results)
        _console.print_json(merged)
    failures = [text for result in results for text in result.failures]
    for text in failures:
        _console.note(f"Failed: {text}")
    if failures:
        return 6
    lost = [entry for result in results for entry in result.not_made]
    if lost:
        for text in dict.fromkeys(entry.hint for entry in lost):
            _console.note(text)
        return 3
    if not as_json:
        _next_command(results[-1].artifacts, plans[-1])
    return 0


def _merge(results: list[ExportResult]) -> ExportResult:
    """Merge the results of several models into one."""
    return replace(
        results[-1],
        artifacts=tuple(entry for result in results for entry in result.artifacts),
        manifests=tuple(result.manifest for result in results),
        warnings=tuple(text for result in results for text in result.warnings),
        failures=tuple(text for result in results for text in result.failures),
        not_made=tuple(entry for result in results for entry in result.not_made),
        usage=None,
        cached=all(result.cached for result in results),
    )


def _show_plans(plans: list[ExportEstimate], as_json: bool) -> None:
    from edgezoo.pipeline.export_result import DryRun

    if as_json:
        _console.print_json(DryRun(tuple(plans)))
        return
    for plan in plans:
        width = "" if plan.alpha is None else f" {plan.alpha:g}"
        rows = [(entry.path.name, _about(entry.bytes_about)) for entry in plan.artifacts]
        count = "" if plan.parameters is None else f"{plan.parameters:,} parameters, "
        title = (
            f"{plan.model}{width} at {plan.input_size} px, {count}"
            f"{plan.weights} weights: about {plan.cpu_seconds_about} CPU s"
        )
        _console.table(title, ("file", "size"), rows)


def _about(count: int | None) -> str:
    return "not yet known" if count is None else f"about {_console.size(count)}"


def _show_result(plan: Plan, result: ExportResult) -> None:
    rows = []
    for entry in result.artifacts:
        check = entry.verification
        compared = (check.verdict, _console.agreement(check), _console.decibels(check))
        rows.append((entry.path.name, _console.size(entry.bytes), *compared))
    agree = "same top-1" if plan.network.arguments.output_kind == "probabilities" else "cosine"
    untrained = "" if plan.weights.source != "random" else " (untrained: random weights)"
    _console.table(
        f"{result.manifest.parent}{untrained}", ("file", "size", "verified", agree, "SQNR dB"), rows
    )
    if result.not_made:
        lost = [(entry.format, entry.precision, entry.reason) for entry in result.not_made]
        _console.table("Not made", ("format", "precision", "why"), lost)
    for entry in result.artifacts:
        if entry.guard is not None:
            _console.say(entry.guard.line(entry.path.name))


def _next_command(entries: tuple[ExportedFile, ...], plan: Plan) -> None:
    path, target = shell(entries[-1].path), plan.request.target
    if target is not None:
        compiled = registry.target(target).compile is not None
        commands = [f"inspect {path} --target {target}"]
        commands += [f"compile {path} --target {target}"] if compiled else []
    elif plan.network.arguments.output_kind == "features":
        commands = [f"inspect {path}"]
    else:
        commands = [f"classify {path} PHOTO.jpg", f"evaluate {path} --images FOLDER_OF_CLASSES"]
    _console.next_command(*(f"edgezoo {command}" for command in commands))
