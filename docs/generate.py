"""Generates documents from the code and from committed results.

They are cli.md, support-matrix.md, zoo.md, measurements.md, matrix.md, layers.md and the Schemas of
`json_schemas.py`.

Without arguments the files are written. With `--check` nothing is written, and the exit code
is 1 if a file is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
from json_schemas import schemas
from layer_tables import layers
from matrix_tables import matrix
from measured import measurements
from tables import table

from edgezoo.cli._main import edgezoo
from edgezoo.core import registry
from edgezoo.core.protocols import Exporter, ExportJob
from edgezoo.core.spec import INPUT_KINDS, IO_TYPES, InputKind, ModelSpec

FOLDER = Path(__file__).resolve().parent
WIDTH = 80
MARK = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->\n"


def cli() -> str:
    """The help text of the command and of every subcommand, in 80 columns."""
    group = click.Context(
        edgezoo, info_name="edgezoo", terminal_width=WIDTH, max_content_width=WIDTH
    )
    group.help_option_names = ["-h", "--help"]
    parts = [MARK, "# The command line\n", _help("edgezoo", group)]
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
    """Which model goes to which format and precision, according to the exporters."""
    exporters = list(registry.exporters().values())
    specs = sorted(registry.models().values(), key=lambda spec: spec.name)
    notes: list[str] = []
    rows = [
        [spec.name, *(_precisions(spec, exporter, notes) for exporter in exporters)]
        for spec in specs
    ]
    io_types = [
        [f"--io {io}", *(_io_type(specs[0], exporter, io) for exporter in exporters)]
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
        MARK,
        "# What can be exported to what\n",
        "The precisions that the exporter does not refuse. Every file is compared\n"
        "with its Keras network when it is made; this table is not a measurement.\n",
        table(["model", *names], rows),
        *(f"{note}\n" for note in dict.fromkeys(notes)),
        "## Input/output type of int8 files\n",
        "`--io` chooses the input/output type; by default an int8 file takes uint8 pixels.\n",
        table(["option", *names], io_types),
        "## Input kind\n",
        "`pixels` are RGB values 0 to 255, normalised inside the file. `normalized` is the output\n"
        "of `preprocess_input` of the model's family.\n",
        table(["option", *names], kinds),
        "## Targets\n",
        "What `--target` makes, and what runs it. [Details](edge-targets.md).\n",
        table(["target", "device", "file", "`--io`", "runtime", "memory", "extra"], _targets()),
        "## Input sizes and preprocessing\n",
        "Sizes are in pixels. The filter resizes images before the centre crop.\n"
        "[How `tf`, `caffe`, `torch` and `raw` normalise](json.md#preprocessing).\n",
        table(
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


def _targets() -> list[list[object]]:
    return [
        [
            target.name,
            target.about,
            f"{' or '.join(target.precisions)} {' or '.join(target.formats)}",
            " or ".join(target.io),
            target.runtime or "-",
            target.memory or "-",
            target.extra or "-",
        ]
        for target in registry.targets().values()
    ]


def _precisions(spec: ModelSpec, exporter: Exporter, notes: list[str]) -> str:
    possible = []
    for precision in exporter.precisions:
        reason = exporter.refusal(spec, ExportJob(exporter.name, precision))
        if reason is None:
            possible.append(precision)
        else:
            notes.append(f"{spec.name} to {exporter.name} {precision}: {reason}.")
    return ", ".join(possible) or "no"


def _io_type(spec: ModelSpec, exporter: Exporter, io: str) -> str:
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
        return f"any; trained at {trained}, otherwise those of {spec.width.fallback_size}"
    return "any"


def zoo() -> str:
    """The models with their published accuracies."""
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
        MARK,
        "# The zoo\n",
        "Accuracy on ImageNet's validation set as [Keras](https://keras.io/api/applications/) or\n"
        "the authors publish it; `figures` in `edgezoo show MODEL --json` names the source.\n"
        "EdgeZoo did not measure it. MB is the size of the float32 weights. Families with widths\n"
        "are shown at width 1.0. Multiply-adds are computed: those of convolutions and dense\n"
        "layers, for one image of the default size. Depth counts layers with parameters.\n",
        table(columns, rows),
    ]
    return "\n".join(parts)


DOCUMENTS: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "support-matrix.md": support_matrix,
    "zoo.md": zoo,
    "measurements.md": lambda: f"{MARK}\n{measurements()}",
    "matrix.md": lambda: f"{MARK}\n{matrix()}",
    "layers.md": lambda: f"{MARK}\n{layers()}",
}


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the documents, or with `--check` compare them.

    Returns:
        0; 1 if a document is stale; 2 for an unknown argument.
    """
    if arguments not in ([], ["--check"]):
        print("Usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    stale = []
    texts = {**{name: make() for name, make in DOCUMENTS.items()}, **schemas()}
    for name, text in texts.items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if arguments and stale:
        names = ", ".join(f"docs/{name}" for name in stale)
        print(f"Stale, the code has changed: {names}. Run `make docs`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
