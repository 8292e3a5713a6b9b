"""`edgezoo inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, limited, limited_process, option
from edgezoo.core import typed_json
from edgezoo.core.errors import counted
from edgezoo.core.escapes import shell

if TYPE_CHECKING:
    from edgezoo.core.artifact import InputContract
    from edgezoo.core.protocols import TensorInfo, WeightedOperations
    from edgezoo.inspection.inspect_file import InspectResult, Loading, TargetPlacement
    from edgezoo.inspection.portability import Portability

_MOST_LAYERS, _LONGEST_NAME = 10, 36
# What the field calls pairs of types of weights and activations.
_SCHEMES = {
    ("int8", "float32"): "dynamic range",
    ("int4", "float32"): "dynamic range",
    ("int8", "int16"): "int16x8",
    ("float16", "float32"): "float16 weights, computed in float32",
}
_NO_CONTRACT = ("contract", "none: use --preprocessing with the other commands")


@click.command("inspect", short_help="Show what a file contains, and what it needs.")
@click.argument("artifact", type=PATH)
@option("--target NAME", "Where each operation would run: coral, ethos-u55-128, tflite-micro, …")
@option(
    "--runtime PACKAGE==RELEASE",
    "Whether it loads there, such as tflite-runtime==2.5; exit 6 where it does not.",
)
@limited
@common
def COMMAND(artifact: Path, as_json: bool, **options: Any) -> int:
    """Show what a file contains: operations, types, quantization, contract, what it needs.

    \b
    Examples:
      edgezoo inspect mobilenet_0.5_160_int8.tflite
      edgezoo inspect m_int8.tflite --target coral
      edgezoo inspect m.onnx --runtime onnxruntime==1.10
    """
    from edgezoo.inspection import inspect_file

    process = limited_process([artifact], options)
    result = process.call(inspect_file.inspect, artifact, **options)
    refused = result.runtime is not None and result.runtime.loads is False
    if as_json:
        _console.print_json(result)
    else:
        _show(artifact, result)
        for_npu = result.compiled is not None and result.compiled.target == "ethos-u"
        if not for_npu and not refused:
            device = " --device coral" if result.compiled else ""
            _console.next_command(f"edgezoo classify {shell(artifact)} PHOTO.jpg{device}")
    return 6 if refused else 0


def _show(artifact: Path, result: InspectResult) -> None:
    ops = ", ".join(f"{count} {name}" for name, count in result.ops.items())
    rows: list[tuple[str, object]] = [
        ("format", result.format),
        ("size", _console.size(result.bytes)),
        ("operations", ops),
        ("in float", ", ".join(result.float_ops) or "none" if result.quantized else "all"),
        *(("weights", _weighted(operations)) for operations in result.weighted),
        *(("input", _tensor(tensor)) for tensor in result.inputs),
        *(("output", _tensor(tensor)) for tensor in result.outputs),
        *((f"needs {name}", value) for name, value in result.minimum_runtime.items()),
    ]
    if result.compiled:
        facts = typed_json.encode(result.compiled).items()
        compiled = ", ".join(f"{key} {value}" for key, value in facts)
        rows.append(("compiled", compiled.replace("_", " ")))
    rows += _contract_rows(result.contract) if result.contract else [_NO_CONTRACT]
    rows += _portability_rows(result.portability)
    _console.table(str(artifact), ("", ""), rows)
    _show_overflows(result.portability)
    for fault in result.faults:
        _console.warn(f"{fault.evidence} {fault.next}")
    if result.target:
        _show_target(result.target)
    if result.runtime:
        _show_runtime(result.runtime)


def _show_target(target: TargetPlacement) -> None:
    from edgezoo.core import registry

    mapped, elsewhere = "accelerated", "on the CPU"
    if registry.targets()[target.name].compile is None:  # it has no accelerator
        mapped, elsewhere = "with a kernel", "without a kernel"
    _console.table(
        f"On {target.name}",
        ("", ""),
        [
            (mapped, f"{target.mapped} operations, {target.subgraphs} subgraph(s)"),
            (elsewhere, f"{len(target.cpu_ops)} operations"),
            ("parameters", f"about {_console.size(target.parameter_bytes)} (estimate)"),
            ("streamed", f"about {_console.size(target.streamed_bytes)} per inference (estimate)"),
        ],
    )
    if target.cpu_ops:
        rows = [(op.index, op.op, op.reason) for op in target.cpu_ops]
        _console.table(elsewhere.capitalize(), ("index", "operation", "reason"), rows)


def _show_runtime(runtime: Loading) -> None:
    answer = {True: "loads", False: "does not load", None: "may load: not known"}[runtime.loads]
    title = f"{runtime.package} {runtime.version}: {answer} (needs {runtime.needs or 'unknown'})"
    if rows := [(need.what, need.since or "unknown") for need in runtime.lacking]:
        _console.table(title, ("lacks", "since"), rows)
    else:
        _console.say(title)


def _tensor(tensor: TensorInfo) -> str:
    text = f"{tensor.name} {tensor.dtype} {list(tensor.shape)}"
    if tensor.scale is not None:
        text += f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return text


def _weighted(found: WeightedOperations) -> str:
    scheme = _SCHEMES.get((found.weights, found.activations))
    text = (
        f"{found.weights} in {counted(found.count, 'operation')}, {found.activations} activations"
    )
    return f"{text} ({scheme})" if scheme else text


def _contract_rows(contract: InputContract) -> list[tuple[str, object]]:
    labels = contract.labels
    trained = "trained" if contract.weights.trained else "UNTRAINED"
    head = "" if contract.head is None else f" by {contract.head}"
    return [
        ("model", f"{contract.model}, alpha {contract.alpha}, {contract.precision}"),
        ("takes", f"{contract.color_order} {contract.input_kind}, {contract.layout}"),
        ("preprocessing", f"{contract.preprocessing}; {_resize(contract)}"),
        ("gives", f"{contract.output_kind}{head}, {contract.classes} classes"),
        ("labels", f"{len(labels)}: {', '.join(labels[:3])} …" if labels else "none"),
        ("weights", f"{contract.weights.source}, {trained}"),
    ]


def _resize(contract: InputContract) -> str:
    if contract.resize_mode is not None:
        return contract.resize_text
    height, width, _ = contract.frame.shape
    cut = f"{height}" if height == width else f"{height} x {width}"
    side = contract.resize_record.shorter_side
    return f"shorter side to {side} px, {contract.resize_filter}, centre crop {cut} px"


def _portability_rows(found: Portability | None) -> list[tuple[str, object]]:
    """Return a row on 16-bit overflow, for a file with 8-bit layers."""
    if found is None:
        return []
    count = len(found.layers)
    if found.verdict == "does not apply":
        text = f"overflow does not apply: {found.layers[0].exact}"
    elif found.verdict == "safe":
        text = f"none of {count} 8-bit layers overflows 16 bits"
    else:
        above = sum(layer.can_overflow for layer in found.layers)
        text = f"{above} of {count} 8-bit layers can overflow 16 bits ({found.runtime})"
    return [("x86 without VNNI", text)]


def _show_overflows(portability: Portability | None) -> None:
    """Show the layers that can overflow, worst first, and what to do."""
    found = [layer for layer in portability.layers if layer.can_overflow] if portability else []
    if portability is None or not found:
        return
    found.sort(key=lambda layer: -(layer.times_limit or 0))
    rows = []
    for layer in found[:_MOST_LAYERS]:
        channels = f"{layer.channels_above} of {layer.channels}"
        # Converters chain names without limit.
        short = len(layer.name) <= _LONGEST_NAME
        name = layer.name if short else f"{layer.name[: _LONGEST_NAME - 1]}…"
        rows.append((name, layer.kind, f"{layer.times_limit:.2f}", channels))
    title = "Layers that can overflow 16 bits on x86 without VNNI"
    _console.table(title, ("layer", "kind", "worst pair / limit", "channels"), rows)
    if len(found) > _MOST_LAYERS:
        _console.note(f"… and {len(found) - _MOST_LAYERS} more: see --json.")
    for text in portability.remedies:
        _console.say(text)
