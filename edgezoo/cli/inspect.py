"""`edgezoo inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, limited

_MOST_LAYERS, _LONGEST_NAME = 10, 36


@click.command("inspect", short_help="Show what is in a file, and what it needs.")
@click.argument("artifact", type=PATH)
@click.option(
    "--target",
    metavar="NAME",
    help="Where each operation would run: coral, ethos-u55-128, tflite-micro, …",
)
@click.option(
    "--runtime",
    metavar="PACKAGE==RELEASE",
    help="Whether it loads there, such as tflite-runtime==2.5; exit 6 where it does not.",
)
@limited
@common
def COMMAND(
    artifact: Path,
    target: str | None,
    runtime: str | None,
    max_memory: float | None,
    max_seconds: float | None,
    as_json: bool,
    debug: bool,
) -> int:
    """Show what is in a file: operations, types, quantization, contract, what it needs.

    \b
    Examples:
      edgezoo inspect mobilenet_0.5_160_int8.tflite
      edgezoo inspect m_int8.tflite --target coral
      edgezoo inspect m.onnx --runtime onnxruntime==1.10
    """
    from edgezoo.inspection import inspect_file
    from edgezoo.system import sandbox

    limits = sandbox.limits_for([artifact], memory_gb=max_memory, seconds=max_seconds)
    limited = sandbox.Sandbox((artifact,), limits, debug=debug)
    facts = limited.call(inspect_file.inspect, artifact, target=target, runtime=runtime)
    refused = runtime is not None and facts["runtime"]["loads"] is False
    if as_json:
        _console.print_json(facts)
    else:
        _show(artifact, facts)
        if (facts["compiled"] or {}).get("target") != "ethos-u" and not refused:
            device = " --device coral" if facts["compiled"] else ""
            _console.next_command(f"edgezoo classify {artifact} PHOTO.jpg{device}")
    return 6 if refused else 0


def _show(artifact: Path, facts: dict[str, Any]) -> None:
    ops = ", ".join(f"{count} {name}" for name, count in facts["ops"].items())
    rows: list[tuple[str, object]] = [
        ("format", facts["format"]),
        ("size", _console.size(facts["bytes"])),
        ("operations", ops),
        ("in float", ", ".join(facts["float_ops"]) or "none" if facts["quantized"] else "all"),
    ]
    for side in ("inputs", "outputs"):
        for tensor in facts[side]:
            rows.append((side[:-1], _tensor(tensor)))
    rows += [(f"needs {name}", value) for name, value in facts["minimum_runtime"].items()]
    if facts["compiled"]:
        compiled = ", ".join(f"{key} {value}" for key, value in facts["compiled"].items())
        rows.append(("compiled", compiled.replace("_", " ")))
    contract = facts["contract"]
    if contract is None:
        rows.append(("contract", "none: say --preprocessing to the other commands"))
    else:
        rows += _contract_rows(contract)
    rows += _portability_rows(facts["portability"])
    _console.table(str(artifact), ("", ""), rows)
    _show_overflows(facts["portability"])
    if "target" in facts:
        _show_target(facts["target"])
    if "runtime" in facts:
        _show_runtime(facts["runtime"])


def _show_target(facts: dict[str, Any]) -> None:
    from edgezoo.core import registry

    streamed = facts["streamed_bytes"]
    there, elsewhere = "accelerated", "on the CPU"
    if registry.targets()[facts["name"]].compile is None:  # a CPU is all that it has
        there, elsewhere = "with a kernel", "without one"
    _console.table(
        f"On {facts['name']}",
        ("", ""),
        [
            (there, f"{facts['mapped']} operations, {facts['subgraphs']} subgraph(s)"),
            (elsewhere, f"{len(facts['cpu_ops'])} operations"),
            ("parameters", f"about {_console.size(facts['parameter_bytes'])} (estimate)"),
            ("streamed", f"about {_console.size(streamed)} at every inference (estimate)"),
        ],
    )
    if facts["cpu_ops"]:
        rows = [(op["index"], op["op"], op["reason"]) for op in facts["cpu_ops"]]
        _console.table(elsewhere.capitalize(), ("place", "operation", "why"), rows)


def _show_runtime(facts: dict[str, Any]) -> None:
    answer = {True: "loads", False: "does not load", None: "may load: not known"}[facts["loads"]]
    title = f"{facts['package']} {facts['version']}: {answer} (needs {facts['needs'] or 'unknown'})"
    rows = [(need["what"], need["since"] or "unknown") for need in facts["lacking"]]
    if rows:
        _console.table(title, ("lacks", "came with"), rows)
    else:
        _console.say(title)


def _tensor(tensor: dict[str, object]) -> str:
    text = f"{tensor['name']} {tensor['dtype']} {tensor['shape']}"
    if tensor["scale"] is not None:
        text += f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    return text


def _contract_rows(contract: dict[str, object]) -> list[tuple[str, object]]:
    resize, weights = contract["resize"], contract["weights"]
    assert isinstance(resize, dict) and isinstance(weights, dict)
    labels = contract["labels"]
    assert isinstance(labels, (list, tuple))
    size = contract["input_size"]
    return [
        ("model", f"{contract['model']}, alpha {contract['alpha']}, {contract['precision']}"),
        ("takes", f"{contract['color_order']} {contract['input_kind']}, {contract['layout']}"),
        (
            "preprocessing",
            f"{contract['preprocessing']}; shorter side to {resize['shorter_side']} "
            f"px, {resize['filter']}, centre crop {size} px",
        ),
        ("gives", f"{contract['output_kind']}, {contract['classes']} classes"),
        ("labels", f"{len(labels)}: {', '.join(labels[:3])} …" if labels else "none"),
        ("weights", f"{weights['source']}, {'trained' if weights['trained'] else 'UNTRAINED'}"),
    ]


def _portability_rows(facts: dict[str, Any] | None) -> list[tuple[str, object]]:
    """One line on 16-bit overflow, for a file with 8-bit layers."""
    if facts is None:
        return []
    count = len(facts["layers"])
    if facts["verdict"] == "does not apply":
        text = f"overflow does not apply: {facts['layers'][0]['exact']}"
    elif facts["verdict"] == "safe":
        text = f"none of {count} 8-bit layers overflows 16 bits"
    else:
        above = sum(layer["can_overflow"] for layer in facts["layers"])
        text = f"{above} of {count} 8-bit layers can overflow 16 bits ({facts['runtime']})"
    return [("x86 without VNNI", text)]


def _cut(name: str) -> str:
    """A name that leaves room for the table: converters chain them without end."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _show_overflows(facts: dict[str, Any] | None) -> None:
    """The layers that can overflow, worst first, and what to do."""
    found = [layer for layer in facts["layers"] if layer["can_overflow"]] if facts else []
    if facts is None or not found:
        return
    found.sort(key=lambda layer: -float(layer["times_limit"]))
    _console.table(
        "Layers that can overflow 16 bits on x86 without VNNI",
        ("layer", "kind", "worst pair / limit", "channels"),
        [
            (
                _cut(layer["name"]),
                layer["kind"],
                f"{layer['times_limit']:.2f}",
                f"{layer['channels_above']} of {layer['channels']}",
            )
            for layer in found[:_MOST_LAYERS]
        ],
    )
    if len(found) > _MOST_LAYERS:
        _console.note(f"… and {len(found) - _MOST_LAYERS} more: see --json.")
    for text in facts["remedies"]:
        _console.say(text)
