"""Writes the documents that are made from the code and from committed results.

They are cli.md, support-matrix.md, zoo.md and measurements.md.

Without arguments the files are written anew. With `--check` nothing is written, and the exit code
is 1 where a file is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from edgezoo import registry
from edgezoo.cli.main import edgezoo
from edgezoo.contracts import Exporter, ExportJob
from edgezoo.spec import INPUT_KINDS, IO_TYPES, InputKind, ModelSpec

FOLDER = Path(__file__).resolve().parent
WIDTH = 80
_MARK = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->\n"


def cli() -> str:
    """The help text of the command and of every subcommand, as a terminal of 80 columns has it."""
    group = click.Context(
        edgezoo, info_name="edgezoo", terminal_width=WIDTH, max_content_width=WIDTH
    )
    group.help_option_names = ["-h", "--help"]
    parts = [_MARK, "# The command line\n", _help("edgezoo", group)]
    for name in edgezoo.list_commands(group):
        command = edgezoo.get_command(group, name)
        if command is not None:
            context = click.Context(command, info_name=name, parent=group)
            parts.append(f"## edgezoo {name}\n\n{_help(f'edgezoo {name}', context)}")
    return "\n".join(parts)


def _help(line: str, context: click.Context) -> str:
    text = "\n".join(row.rstrip() for row in context.get_help().splitlines())
    return f"```console\n$ {line} --help\n{text}\n```\n"


def support_matrix() -> str:
    """Which model goes to which format and precision, as the exporters themselves say it."""
    exporters = list(registry.exporters().values())
    specs = sorted(registry.models().values(), key=lambda spec: spec.name)
    notes: list[str] = []
    rows = [
        [spec.name, *(_precisions(spec, exporter, notes) for exporter in exporters)]
        for spec in specs
    ]
    border = [
        [f"--io {io}", *(_border(specs[0], exporter, io) for exporter in exporters)]
        for io in IO_TYPES
    ]
    kinds = [
        [f"--input {kind}", *(_kinds(specs[0], exporter, kind) for exporter in exporters)]
        for kind in INPUT_KINDS
    ]
    names = [exporter.name for exporter in exporters]
    preprocessing = [
        [
            spec.name,
            spec.preprocessing,
            spec.resize.filter,
            spec.default_input_size,
            spec.min_input_size,
            _weights_sizes(spec),
        ]
        for spec in specs
    ]
    parts = [
        _MARK,
        "# What can be exported to what\n",
        "A precision stands where the exporter does not refuse the job. Every file is compared\n"
        "with its Keras network when it is made; this table is no measurement.\n",
        _table(["model", *names], rows),
        *(f"{note}\n" for note in dict.fromkeys(notes)),
        "## The border of int8 files\n",
        "`--io` chooses the type that goes in; without it an int8 file takes uint8 pixels.\n",
        _table(["option", *names], border),
        "## What goes in\n",
        "`pixels` are RGB values 0 to 255, normalised inside the file. `normalized` is what\n"
        "`preprocess_input` of the model's family returns.\n",
        _table(["option", *names], kinds),
        "## Input sizes and preprocessing\n",
        "Sizes in pixels. The filter resizes pictures before the centre is cut out.\n"
        "[How `tf`, `caffe`, `torch` and `raw` normalise](json.md#preprocessing).\n",
        _table(
            [
                "model",
                "preprocessing",
                "filter",
                "default size",
                "smallest size",
                "with ImageNet weights",
            ],
            preprocessing,
        ),
    ]
    return "\n".join(parts)


def _precisions(spec: ModelSpec, exporter: Exporter, notes: list[str]) -> str:
    possible = []
    for precision in exporter.precisions:
        reason = exporter.refusal(spec, ExportJob(exporter.name, precision))
        if reason is None:
            possible.append(precision)
        else:
            notes.append(f"{spec.name} to {exporter.name} {precision}: {reason}.")
    return ", ".join(possible) or "no"


def _border(spec: ModelSpec, exporter: Exporter, io: str) -> str:
    return exporter.refusal(spec, ExportJob(exporter.name, "int8", io=io)) or "yes"


def _kinds(spec: ModelSpec, exporter: Exporter, kind: InputKind) -> str:
    jobs = [ExportJob(exporter.name, precision, kind) for precision in exporter.precisions]
    possible = [job.precision for job in jobs if exporter.refusal(spec, job) is None]
    return ", ".join(possible) or "no"


def _weights_sizes(spec: ModelSpec) -> str:
    if spec.fixed_size_weights:
        return f"{spec.default_input_size} only"
    if spec.width is not None:
        trained = ", ".join(str(size) for size in spec.width.imagenet_sizes)
        return f"any; trained at {trained}, elsewhere those of {spec.width.fallback_size}"
    return "any"


def zoo() -> str:
    """The models with the figures that Keras publishes."""
    rows = [
        [
            spec.name,
            f"{spec.parameters:,}",
            f"{spec.multiply_adds / 1e6:,.0f}",
            spec.depth,
            f"{spec.size_mb:g}",
            f"{100 * spec.top1:.1f}",
            "-" if spec.top5 is None else f"{100 * spec.top5:.1f}",
            spec.weights_licence,
            f"[{spec.paper.rpartition('/')[2]}]({spec.paper})",
        ]
        for spec in sorted(registry.models().values(), key=lambda spec: spec.name)
    ]
    columns = ["model", "parameters", "mult-adds M", "depth", "MB", "top-1 %", "top-5 %", "weights",
               "paper"]  # fmt: skip
    parts = [
        _MARK,
        "# The zoo\n",
        "Accuracy on ImageNet's validation set as [Keras](https://keras.io/api/applications/) or\n"
        "the authors publish it; `figures` in `edgezoo show MODEL --json` says where. EdgeZoo did\n"
        "not measure it. MB are those of the float32 weights. Families with widths are shown at\n"
        "width 1.0. Multiply-adds are computed: those of convolutions and dense layers, for one\n"
        "picture of the default size. Depth counts layers with parameters.\n",
        _table(columns, rows),
    ]
    return "\n".join(parts)


def measurements() -> str:
    """The committed results of benchmarks/, as tables."""
    accuracy, cost = _result("int8-accuracy"), _result("cost")
    parts = [
        _MARK,
        "# Measurements\n",
        "Made by the scripts in [benchmarks](../benchmarks/README.md), from the raw results\n"
        "beside them. The validation images are easier than ImageNet's full set: compare rows,\n"
        "not these figures with published ones.\n",
        f"## Int8 accuracy\n\n{_origin(accuracy)}\n",
    ]
    for model in accuracy["models"]:
        parts += [_heading(model), _table(_ACCURACY_COLUMNS, _accuracy_rows(model))]
    latency = _result("int8-latency")
    parts += [
        f"## Int8 latency\n\n{_origin(latency)}\n",
        f"mobilenet {latency['alpha']} at {latency['size']} px, one thread, CPU milliseconds.\n",
        _table(["format", "made by", "ms", "EdgeZoo's time over it"], _latency(latency)),
        f"## Cost\n\n{_origin(cost)}\n",
        _table(["what", "CPU s", "peak MB"], _cost(cost)),
    ]
    return "\n".join(parts)


_ACCURACY_COLUMNS = ["made by", "file", "calibrated on", "top-1 %", "agreement with Keras"]


def _result(name: str) -> dict[str, Any]:
    path = FOLDER.parent / "benchmarks" / "results" / f"{name}.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _origin(result: dict[str, Any]) -> str:
    facts = result["environment"]
    machine = facts["machine"]
    features = ", ".join(machine["features"]) or "no int8 features"
    return (
        f"{facts['date'][:10]}, {machine['cpu']} ({machine['architecture']}, {features}), "
        f"{machine['cores']} cores, Python {facts['python']}, commit {facts['commit'][:10]}."
    )


def _heading(model: dict[str, Any]) -> str:
    images, top1 = model["edgezoo"][0]["images"], 100 * model["edgezoo"][0]["float_top1"]
    return (
        f"### mobilenet {model['alpha']} at {model['size']} px\n\n"
        f"Keras: {top1:.1f} % top-1 on {images} images.\n"
    )


def _accuracy_rows(model: dict[str, Any]) -> list[list[object]]:
    ours = [
        [
            "EdgeZoo",
            f"{row['format']} {row['precision']}",
            "-" if row["precision"] == "float32" else
            {"images": "photographs", "synthetic": "procedural pictures"}[row["calibration"]],
            f"{100 * row['top1']:.1f}",
            f"{row['agreement']:.3f}",
        ]
        for row in model["edgezoo"]
        if row["precision"] == "int8" or row["calibration"] == "images"
    ]  # fmt: skip
    hand = [
        ["by hand", row["name"], "photographs", f"{100 * row['top1']:.1f}", f"{row['agree']:.3f}"]
        for row in model["by_hand"][1:]
    ]
    return [*ours, *hand]


def _latency(latency: dict[str, Any]) -> list[list[object]]:
    return [
        [name, maker, f"{median:.2f}", latency[name]["edgezoo_over"].get(maker, "-")]
        for name in ("tflite", "onnx", "openvino")
        for maker, median in latency[name]["cpu_ms"].items()
    ]


def _cost(cost: dict[str, Any]) -> list[list[object]]:
    names = {
        "help": "`edgezoo --help`",
        "import": "`import edgezoo`",
        "bare_python": "Python alone, for comparison",
        "classify": "`edgezoo classify` of one photograph with a .tflite",
        "export": "three int8 files of mobilenet 0.5 at 160 px, 100 images, verified",
        "import_tensorflow": "importing TensorFlow alone, for comparison",
    }
    return [
        [
            text,
            f"{cost[key]['cpu_s']:.2f}",
            f"{cost[key]['peak_rss_mb'] or 0:.0f}".lstrip("0") or "-",
        ]
        for key, text in names.items()
    ]


def _megabytes(peak: float | None) -> str:
    return "-" if peak is None else f"{peak:.0f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "support-matrix.md": support_matrix,
    "zoo.md": zoo,
    "measurements.md": measurements,
}


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the documents, or with `--check` compare them.

    Returns:
        0; 1 where a document is stale; 2 for an unknown argument.
    """
    if arguments not in ([], ["--check"]):
        print("Usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    stale = []
    for name, make in DOCUMENTS.items():
        path, text = folder / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not arguments:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if arguments and stale:
        names = ", ".join(f"docs/{name}" for name in stale)
        print(f"Stale, the code has changed: {names}. Run `make docs`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
