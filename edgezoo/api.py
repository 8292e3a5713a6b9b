"""The Python API: the same words as the commands, every keyword typed.

A keyword that means one value takes a scalar; one that may mean several takes a scalar or a
sequence. Paths are `str` or `pathlib.Path`. Results are dataclasses with the fields of the
command's `--json` object.
"""

from __future__ import annotations

import functools
import inspect as python_inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from edgezoo.bundling import make
from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.input_options import Size, numbers
from edgezoo.core.recipe import Effort, Qdq
from edgezoo.core.rounding import Granularity
from edgezoo.core.sequences import OneOrMany, PathLike, many, path, paths
from edgezoo.core.spec import BuildArguments
from edgezoo.evaluation import accuracy
from edgezoo.evaluation import find_preprocessing as finding
from edgezoo.finetuning import finetune as finetuning
from edgezoo.finetuning.finetune_request import FinetuneRequest
from edgezoo.finetuning.finetune_result import FinetuneResult
from edgezoo.images import imagenet_utils
from edgezoo.inference import classification, predict
from edgezoo.inspection import compile_file, diagnosis, inspect_file
from edgezoo.measurement.protocol import Settings
from edgezoo.networks import arguments, building, catalogue
from edgezoo.pipeline import explain_file, verify_files
from edgezoo.pipeline import verify_everywhere as everywhere
from edgezoo.pipeline.export_result import ExportResult
from edgezoo.pipeline.request import DEFAULT_CALIBRATION_COUNT, DEFAULT_VERIFY_COUNT, ExportRequest
from edgezoo.pipeline.run import require_passed, run
from edgezoo.reporting import budgets, recommendation, report_files, stored
from edgezoo.reporting.comparison import EQUAL_WITHIN_POINTS
from edgezoo.sweep import entry

if TYPE_CHECKING:
    import keras

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "benchmark",
    "build",
    "bundle",
    "classify",
    "compile",
    "decode_predictions",
    "doctor",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "find_preprocessing",
    "finetune",
    "inspect",
    "list_models",
    "open_artifact",
    "preprocess_input",
    "recommend",
    "report",
    "show",
    "verify",
    "verify_everywhere",
]


def _public(function: Callable[P, T], public_name: str = "") -> Callable[P, T]:
    """Let a misspelt keyword end in "did you mean", as a misspelt option of the command does."""
    known = list(python_inspect.signature(function).parameters)
    public_name = public_name or function.__name__

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                raise UsageError(
                    f"{public_name}() has no argument {name!r}.", did_you_mean(name, known)
                )
        return function(*args, **kwargs)

    return called


verify = _public(verify_files.verify_files, "verify")
verify_everywhere = _public(everywhere.verify_everywhere)
evaluate = _public(accuracy.evaluate)
find_preprocessing = _public(finding.find_preprocessing)
classify = _public(classification.classify)
inspect = _public(inspect_file.inspect)
explain = _public(explain_file.explain_file, "explain")
compile = _public(compile_file.compile_artifact, "compile")
estimate = _public(compile_file.estimate)
bundle = _public(make.bundle)
open_artifact = _public(predict.open_artifact)
doctor = _public(diagnosis.diagnose, "doctor")
preprocess_input = _public(imagenet_utils.preprocess_input)
decode_predictions = _public(imagenet_utils.decode_predictions)


@_public
def export(
    model: PathLike,
    *,
    output: PathLike = "exported",
    format: OneOrMany[str] = "all",
    precision: OneOrMany[str] | None = None,
    weights: PathLike = "imagenet",
    alpha: float | None = None,
    input_size: Size | None = None,
    input_shape: tuple[int, int, int] | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    classes: int | None = None,
    depth_multiplier: int | None = None,
    dropout: float | None = None,
    blocks: Sequence[int] | None = None,
    output_layer: str | None = None,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    head: str | None = None,
    labels: PathLike | None = None,
    seed: int = 0,
    calibration: PathLike = "synthetic",
    split: str | None = None,
    calibration_count: int = DEFAULT_CALIBRATION_COUNT,
    effort: Effort = "default",
    granularity: Granularity = "per-channel",
    qdq: Qdq | None = None,
    input_kind: str = "pixels",
    input_layout: str = "nhwc",
    io: str | None = None,
    target: str | None = None,
    embed_resize: bool = False,
    openvino_precision: str | None = None,
    verify: bool = True,
    verify_count: int = DEFAULT_VERIFY_COUNT,
    min_agreement: float | None = None,
    max_drop_points: float | None = None,
    images: PathLike | None = None,
    ground_truth: PathLike | None = None,
    trust: bool = False,
    cache: bool = True,
) -> ExportResult:
    """Export a model and verify every file.

    Args:
        model: a name of the zoo, or the path of a network of your own.
        output: folder for the files and their manifest.
        format: "tflite", "onnx", "openvino" or "all".
        precision: "float32" (the default), "float16", "int8".
        weights: "imagenet", "random" or an .h5 file.
        alpha: width of a MobileNet.
        input_size: height and width in pixels: 224, "96x128" or (96, 128).
        input_shape: (height, width, 3), instead of `input_size`.
        include_top: with the dense layers that name classes; without, the network gives features.
        pooling: "avg" or "max" of features; None keeps the feature map.
        classes: outputs of the top.
        depth_multiplier: of MobileNet's depthwise layers.
        dropout: rate in a MobileNet's top.
        blocks: layers in each block of a DenseNet.
        output_layer: cut the network off behind this layer.
        preprocessing: "unit", "tf", "caffe", "torch" or "none", for a network of your own.
        scale, offset, bgr, resize, crop_fraction, head: the same; see `open_artifact`.
        labels: text file with a class name a line.
        seed: of random weights and of the choice of images.
        calibration: a folder of images, an .npz of uint8 pixels, "samples" or "synthetic".
        split: calibrate on this folder of `calibration`, such as "train", alone.
        calibration_count: images to calibrate on.
        effort: "fast", "default" or "best".
        granularity: of the scales of int8 weights, "per-channel" or "per-tensor".
        qdq: of int8 ONNX files, "asymmetric", or "symmetric" for accelerators; None
            for what the target takes.
        input_kind: "pixels" (RGB 0 to 255, normalized in the file) or "normalized".
        input_layout: "nhwc" or "nchw".
        io: input/output type of int8 files, "uint8", "int8" or "float32".
        target: the device, which sets format, precision and `io`.
        embed_resize: ONNX files resize and crop images of any size themselves.
        openvino_precision: "f32" or "auto": what OpenVINO files ask a session for; by default
            float files ask for float32.
        verify: compare each file with Keras.
        verify_count: images to verify on.
        min_agreement: the least share of images that keep their top-1.
        max_drop_points: percentage points of top-1 on `images` that an int8 file may lose.
        images: labelled images for `max_drop_points`.
        ground_truth: classes of `images`, where their folder is flat.
        trust: code in a network of your own may run.
        cache: answer with the files of an equal request before.

    Returns:
        What was written, with its verification.

    Raises:
        UsageError, RefusedError, MissingError, DataError: nothing was written.
        ThresholdError: the files were written, but a bound does not hold.
    """
    size, width = arguments.side(input_size, input_shape)
    layers = None if blocks is None else tuple(blocks)
    options = (pooling, classes, alpha, depth_multiplier, dropout, layers, output_layer)
    network = BuildArguments(size, include_top, *options, input_width=width)
    request = ExportRequest(
        str(model),
        network,
        formats=many(format),
        precisions=None if precision is None else many(precision),
        weights=str(weights),
        seed=seed,
        calibration=sources.part_of(str(calibration), split),
        calibration_count=calibration_count,
        effort=effort,
        granularity=granularity,
        qdq=qdq,
        input_kind=input_kind,
        input_layout=input_layout,
        io=io,
        output=Path(output),
        verify=verify,
        verify_count=verify_count,
        min_agreement=min_agreement,
        max_drop_points=max_drop_points,
        images=path(images),
        ground_truth=path(ground_truth),
        target=target,
        preprocessing=preprocessing,
        scale=None if scale is None else numbers("--scale", scale),
        offset=None if offset is None else numbers("--offset", offset),
        bgr=bgr,
        resize=resize,
        crop_fraction=crop_fraction,
        head=head,
        labels=path(labels),
        trust=trust,
        embed_resize=embed_resize,
        openvino_precision=openvino_precision,
        cache=cache,
    )
    result = run(request)
    require_passed(result)
    return result


@_public
def build(
    model: str,
    *,
    weights: PathLike = "imagenet",
    seed: int = 0,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float | None = None,
    input_size: Size | None = None,
    input_shape: tuple[int, int, int] | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    classes: int | None = None,
    depth_multiplier: int | None = None,
    dropout: float | None = None,
    blocks: Sequence[int] | None = None,
    output_layer: str | None = None,
) -> keras.Model:
    """Build a network of the zoo with its weights.

    Args:
        model: a name of the zoo.
        weights: "imagenet", "random" (seeded, with estimated batch-norm statistics) or an .h5 file.
        seed: of random weights.
        input_tensor: build on this Keras tensor, (None, size, size, 3), normalized as
            `preprocess_input` of the family does.
        alpha, input_size, input_shape and all that follow: see `export`.

    Returns:
        A Keras model: float32 (n, size, size, 3), normalized as `preprocess_input` of the family
        does, to probabilities (n, classes) or to features.

    Raises:
        UsageError, RefusedError, MissingError, DataError: as `edgezoo export` reports them.
    """
    if input_tensor is not None and input_shape is None and input_size is None:
        input_shape = tuple(input_tensor.shape[1:])
    size, width = arguments.side(input_size, input_shape)
    layers = None if blocks is None else tuple(blocks)
    options = (pooling, classes, alpha, depth_multiplier, dropout, layers, output_layer)
    network = BuildArguments(size, include_top, *options, input_width=width)
    return building.build(model, network, weights, seed, input_tensor)


@_public
def finetune(
    model: PathLike,
    data: PathLike,
    *,
    split: str | None = None,
    output: PathLike | None = None,
    weights: PathLike = "imagenet",
    epochs: int = 30,
    learning_rate: float = 1e-3,
    unfreeze_blocks: int = 2,
    batch_size: int = 32,
    patience: int = 5,
    held_out: float | PathLike = 0.2,
    mirror: bool = True,
    seed: int = 0,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    trust: bool = False,
    alpha: float | None = None,
    input_size: Size | None = None,
    input_shape: tuple[int, int, int] | None = None,
    depth_multiplier: int | None = None,
    blocks: Sequence[int] | None = None,
) -> FinetuneResult:
    """Train a network on the classes of a folder.

    Args:
        model: a name of the zoo, or the path of a network.
        data: holds a folder a class.
        split: train on this folder of `data`, such as "train", alone.
        output: the .keras file; None for "finetuned/", named by model and folder.
        weights: see `export`.
        epochs: at most, of the top and of the blocks each.
        learning_rate: of the top; the blocks use a hundredth of it.
        unfreeze_blocks: how many blocks train after the top; 0 trains the top alone.
        batch_size: images a step.
        patience: epochs without a smaller validation loss that end a stage.
        held_out: share of each class to score on, or a folder of its own.
        mirror: train on mirrored images too.
        seed: of the split, the top and the order of images.
        preprocessing, scale, offset, bgr, resize, crop_fraction: see `export`.
        trust: code in a network of your own may run.
        alpha, input_size, input_shape and all that follow: see `export`.

    Raises:
        UsageError, RefusedError, MissingError, DataError: nothing was written.
    """
    size, width = arguments.side(input_size, input_shape)
    layers = None if blocks is None else tuple(blocks)
    network = BuildArguments(
        size, alpha=alpha, depth_multiplier=depth_multiplier, blocks=layers, input_width=width
    )
    request = FinetuneRequest(
        str(model),
        data,
        network,
        weights=weights,
        output=output,
        epochs=epochs,
        learning_rate=learning_rate,
        unfreeze_blocks=unfreeze_blocks,
        batch_size=batch_size,
        patience=patience,
        held_out=held_out,
        mirror=mirror,
        seed=seed,
        preprocessing=preprocessing,
        scale=None if scale is None else numbers("--scale", scale),
        offset=None if offset is None else numbers("--offset", offset),
        bgr=bgr,
        resize=resize,
        crop_fraction=crop_fraction,
        trust=trust,
        split=split,
    )
    return finetuning.finetune(request)


@_public
def benchmark(
    what: OneOrMany[PathLike],
    *,
    alpha: OneOrMany[float] | None = None,
    input_size: OneOrMany[int] | None = None,
    format: OneOrMany[str] | None = None,
    precision: OneOrMany[str] | None = None,
    threads: OneOrMany[int | str] | None = None,
    device: OneOrMany[str] | None = None,
    target: OneOrMany[str] | None = None,
    images: PathLike | None = None,
    ground_truth: PathLike | None = None,
    limit: int | None = None,
    weights: PathLike | None = None,
    seed: int | None = None,
    calibration: PathLike | None = None,
    calibration_count: int | None = None,
    batch: int | None = None,
    pin: bool | None = None,
    self_check: bool | None = None,
    machine_name: str | None = None,
    output: PathLike | None = None,
    settings: Settings | None = None,
    on: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    measure_on: str | None = None,
) -> entry.BenchmarkResult:
    """Measure files against one another, or sweep over models into a results store.

    Args:
        what: files, names of models, or one TOML file, whose values the other keywords overrule.
        alpha: widths to sweep over.
        input_size: sizes in pixels to sweep over.
        format: formats to sweep over, or "all".
        precision: precisions to sweep over.
        threads: numbers of threads, or "all" for every usable physical core.
        device: devices to measure on.
        target: targets whose compiler estimates int8 .tflite files.
        images: labelled images; None measures latency alone.
        ground_truth: classes of `images`, where their folder is flat.
        limit: score only so many images.
        weights, seed, calibration, calibration_count: see `export`.
        batch: images of one inference, of files that take any number.
        pin: keep each process on cores of its own.
        self_check: measure one file twice, the A/A check.
        machine_name: of the machine that measures, in reports.
        output: the results store; needed for a sweep.
        settings: numbers of the protocol.
        on: a device to measure files on, as ssh://user@host.
        cluster: a Dask cluster for a sweep, as tcp://host:port.
        workers: the same with so many processes on this machine.
        measure_on: the worker that measures; see docs/clusters.md.

    Raises:
        UsageError: kinds of `what` are mixed, or a keyword does not fit it.
        EdgeZooError: a file cannot be measured.
    """
    given: dict[str, object] = {
        "alpha": alpha if alpha is None else many(alpha),
        "input_size": input_size if input_size is None else many(input_size),
        "format": format if format is None else many(format),
        "precision": precision if precision is None else many(precision),
        "threads": threads if threads is None else tuple(str(n) for n in many(threads)),
        "device": device if device is None else many(device),
        "target": target if target is None else many(target),
        "images": path(images),
        "ground_truth": path(ground_truth),
        "limit": limit,
        "weights": weights if weights is None else str(weights),
        "seed": seed,
        "calibration": calibration if calibration is None else str(calibration),
        "calibration_count": calibration_count,
        "batch": batch,
        "pin": pin,
        "self_check": self_check,
        "machine_name": machine_name,
        "output": path(output),
        "settings": settings,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    request = entry.request_for(many(what), asked)
    if request.output is None:
        return entry.measure_files(request, on=on)
    return entry.sweep(request, cluster=cluster, workers=workers, measure_on=measure_on)


@_public
def report(
    stores: OneOrMany[PathLike], *, kind: OneOrMany[str] = "html", output: PathLike | None = None
) -> report_files.ReportResult:
    """Write reports of results stores.

    Args:
        stores: results stores; exactly two are compared.
        kind: "html", "csv", "md", "json", "junit".
        output: folder of the reports; None for the last store.

    Raises:
        UsageError, DataError, MissingError: a store cannot be read, or a package is not here.
    """
    places = paths(stores)
    return report_files.write(places, many(kind), Path(output) if output else places[-1])


@_public
def recommend(
    stores: OneOrMany[PathLike],
    *,
    prefer: recommendation.Preference = "accuracy",
    machine: str | None = None,
    max_latency_ms: float | None = None,
    max_bytes: int | None = None,
    max_memory_mb: float | None = None,
    min_top1: float | None = None,
    max_drop_points: float | None = None,
    statistic: budgets.Statistic = "median",
    sure: bool = False,
    equal_within_points: float = EQUAL_WITHIN_POINTS,
    allow_poor: bool = False,
) -> recommendation.RecommendResult:
    """The best variant under budgets.

    Args:
        stores: results stores.
        prefer: what to prefer among variants that keep to the budgets.
        machine: part of a machine's name, where there are several.
        max_latency_ms: milliseconds, of `statistic`.
        max_bytes: of the file.
        max_memory_mb: peak resident memory.
        min_top1: share, 0 to 1.
        max_drop_points: percentage points of top-1 lost against float32.
        statistic: of the latency, "median", "p90", "p95".
        sure: the whole interval keeps to the bound.
        equal_within_points: a difference of top-1 that does not matter; the faster one wins then.
        allow_poor: choose also among latencies with poor trust.

    Raises:
        UsageError, DataError: a store cannot be read, or no variant fits.
    """
    bounds = budgets.Budgets(
        max_latency_ms, max_bytes, max_memory_mb, min_top1, max_drop_points, statistic, sure
    )
    return recommendation.recommend(
        stored.read(paths(stores), allow_poor).rows,
        bounds,
        prefer,
        machine,
        equal_within_points=equal_within_points,
        allow_poor=allow_poor,
    )


@_public
def list_models() -> list[str]:
    """Names of the zoo."""
    return sorted(registry.models())


@_public
def show(model: str) -> catalogue.ModelDescription:
    """Describe a model of the zoo.

    Raises:
        UsageError: there is no model of that name.
    """
    return catalogue.describe(model)
