"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from edgezoo.cli import _console
from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.escapes import shell
from edgezoo.core.input_options import numbers
from edgezoo.core.recipe import EFFORTS, GRANULARITIES, QDQ_FORMS
from edgezoo.core.spec import (
    HEADS,
    INFERENCE_PRECISIONS,
    INPUT_KINDS,
    IO_TYPES,
    MOST_IMAGES,
    MOST_SEED,
    NORMALIZATIONS,
    PRECISIONS,
    RESIZE_MODES,
)

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PATH = click.Path(path_type=Path)
SHARE = click.FloatRange(0, 1)
COUNT = click.IntRange(1, MOST_IMAGES)
SEVERAL = click.IntRange(2, MOST_IMAGES)
SEED = click.IntRange(0, MOST_SEED)
if TYPE_CHECKING:
    from edgezoo.system.sandbox import Sandbox

    TextType = click.ParamType[str]
else:
    TextType = click.ParamType  # not generic before click 8.2


class Words(TextType):
    """Text that a shell completes by known names, after the last comma of a list."""

    name = "text"

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the known names that begin with the text after the last comma."""
        before, comma, typed = incomplete.rpartition(",")
        names = (name for name in self._known() if name.startswith(typed))
        return [CompletionItem(f"{before}{comma}{name}") for name in names]


# Completion of parameters by their name, in every command.
_FORMATS = Words(lambda: [*registry.exporters(), "all"])
_PRECISIONS = Words(lambda: PRECISIONS)
COMPLETED: dict[str, Words] = {
    "model": Words(registry.models),
    "models": Words(registry.models),
    "target": Words(registry.targets),
    "runtime": Words(registry.runtimes),
    "readers": Words(registry.readers),
    "format": _FORMATS,
    "formats": _FORMATS,
    "precision": _PRECISIONS,
    "precisions": _PRECISIONS,
    "io": Words(lambda: IO_TYPES),
    "input_kind": Words(lambda: INPUT_KINDS),
    "preprocessing": Words(lambda: [*NORMALIZATIONS, "none"]),
    "resize": Words(lambda: RESIZE_MODES),
    "head": Words(lambda: HEADS),
    "effort": Words(lambda: EFFORTS),
    "granularity": Words(lambda: GRANULARITIES),
    "qdq": Words(lambda: QDQ_FORMS),
    "openvino_precision": Words(lambda: INFERENCE_PRECISIONS),
}


def option(
    usage: str, help: str = "", type: Any = None, to: str = "", shown: Any = None, **more: Any
) -> Callable[[F], F]:
    """Add an option.

    Args:
        usage: names and metavar, such as `-o --output DIR`.
        help, type, more: as of `click.option`.
        to: the parameter, if its name differs from the option's.
        shown: a default that the help states.
    """
    words = usage.split()
    metavar = None if words[-1].startswith("-") else words.pop()
    names = (*words, to) if to else words
    if shown is not None:
        more |= {"default": shown, "show_default": True}
    return click.option(*names, metavar=metavar, help=help or None, type=type, **more)


def flag(usage: str, help: str, **more: Any) -> Callable[[F], F]:
    """Add an option without a value."""
    return option(usage, help, is_flag=True, **more)


def _combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Join decorators into one."""
    return lambda function: reduce(lambda made, add: add(made), options, function)


def _sets(verbosity: str) -> dict[str, Any]:
    """Return click settings of an option that sets the console's verbosity."""

    def store(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        if value:
            ctx.meta[_console.VERBOSITY] = verbosity
        return value

    return {"expose_value": False, "callback": store}


# The options of every command.
common = _combined(
    flag("--json", "Print one JSON object; the rest goes to stderr.", to="as_json"),
    flag("-q --quiet", "Print no progress and no next commands.", **_sets("quiet")),
    flag("-v --verbose", "Print each step with its time, also in a pipe.", **_sets("verbose")),
    flag("--debug", "Show tracebacks and the output of child processes."),
)
_WITHOUT_SANDBOX = {
    "--trust": "lets code in a file run with your rights",
    "--on": "applies the limits of the device",
}


def _apart(ctx: click.Context, name: str, given: object, value: T) -> T:
    """Refuse --require-sandbox together with an option that it does not reach."""
    if given:
        names = ctx.meta.setdefault("edgezoo.sandbox", set())
        names.add(name)
        other = next((option for option in _WITHOUT_SANDBOX if option in names), None)
        if "--require-sandbox" in names and other is not None:
            raise UsageError(
                f"--require-sandbox contradicts {other}, which {_WITHOUT_SANDBOX[other]}.",
                f"Leave out --require-sandbox or {other}.",
            )
    return value


def _required(ctx: click.Context, value: bool) -> None:
    """Refuse to go on where the system lacks a part of the limits."""
    _apart(ctx, "--require-sandbox", value, None)
    if not value:
        return
    from edgezoo.system import limits

    if parts := limits.lacking():
        raise RefusedError(limits.warning(parts), "Leave out --require-sandbox to go on without.")


# For files that EdgeZoo did not export.
def _read_numbers(name: str) -> Callable[..., Any]:
    """Return a callback that reads one number, or three."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        return None if value is None else numbers(name, value)

    return read


# For files and networks of others: how pixels become the input, and images become pixels.
preprocessed = _combined(
    option(
        "--crop-fraction SHARE", "Of --resize crop: the share that stays (default 0.875).", float
    ),
    option(
        "--resize WORD", "How images become the input of such a file: stretch (default), fit, crop."
    ),
    flag("--bgr", "Its channels are blue, green, red."),
    option(
        "--offset O[,O,O]",
        "Of --scale: of each channel in the network's order (with --bgr blue first), or of all.",
        callback=_read_numbers("--offset"),
    ),
    option(
        "--scale S[,S,S]",
        "Instead of --preprocessing: input = pixel * scale + offset. 1/255 is a number too.",
        callback=_read_numbers("--scale"),
    ),
    option(
        "--preprocessing MODE",
        "For a file without an EdgeZoo contract: unit (0 to 1), tf (-1 to 1), caffe, torch, or "
        "none (0 to 255).",
    ),
)
headed = option(
    "--head WORD",
    "What its outputs are: softmax, logits, sigmoid, sigmoid-logits (default: as it ends).",
)
third_party = _combined(
    option("--output-name NAME", "Of several outputs of such a file, the one to read."),
    headed,
    option("--input-size PX|HxW", "Of such a file, if it takes images of any size."),
    option("--labels FILE", "One class name per line, for such a file.", PATH),
    preprocessed,
)
# For commands whose result has a probability for each class.
thresholded = option(
    "--threshold P",
    "Least probability of a class, where classes do not exclude one another (default 0.5).",
    SHARE,
    default=0.5,
)
# For commands that load Keras models.
trusted = flag(
    "--trust",
    "Allow code in a .keras, .h5 or SavedModel to run.",
    callback=lambda ctx, param, value: _apart(ctx, "--trust", value, value),
)
# For commands that open untrusted files.
protected = flag(
    "--require-sandbox",
    "Refuse where this system cannot enforce all limits for untrusted files.",
    expose_value=False,
    callback=lambda ctx, param, value: _required(ctx, value),
)
_MOST_GB, _LEAST_GB = 1e6, 1e-3
_MOST_SECONDS = 1e7


def _memory(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse a limit that rounds to 0, which stands for none, and nan."""
    if value is not None and not (value == 0 or value >= _LEAST_GB):
        raise click.BadParameter(
            f"{value:g} GB is less than a process needs; 0 is for no limit.", ctx, param
        )
    return value


# For commands that open untrusted files in a limited process.
limited = _combined(
    option(
        "--max-memory GB",
        "Memory limit for untrusted files (default: by their size; 0: no limit).",
        click.FloatRange(0, _MOST_GB),
        callback=_memory,
    ),
    option(
        "--max-seconds S",
        "Timeout without progress (default: by the size of the files).",
        click.FloatRange(1, _MOST_SECONDS),
    ),
    protected,
)
_place = _combined(
    option("--device NAME", "cpu, gpu or coral; a missing device is an error.", shown="cpu"),
    option(
        "--runtime NAME",
        "A runtime other than the default: tflite_micro runs microcontroller kernels.",
    ),
)
# For commands that can run on a device over ssh.
remote = option(
    "--on URL",
    "Run on ssh://user@host[:port][/path/to/python].",
    callback=lambda ctx, param, value: _apart(ctx, "--on", value, value),
)
# For commands that run files on images.
running = _combined(limited, remote, trusted, third_party, _place)


def quiet(function: F) -> F:
    """Pass --quiet to the command, too."""
    for option in getattr(function, "__click_params__", ()):
        if option.name == "quiet":
            option.expose_value = True
    return function


def limited_process(
    files: Sequence[Path],
    options: dict[str, Any],
    progress: Callable[[int], None] | None = None,
    *,
    items: int = 0,
    writable: Sequence[Path] = (),
) -> Sandbox:
    """Return a process with limited resources; take its settings out of a command's options.

    Each of the `files` is worked on in `items` parts, such as images.

    Raises:
        UsageError: a limit is given together with --on.
    """
    from edgezoo.system import sandbox

    memory, seconds, debug = (options.pop(name) for name in ("max_memory", "max_seconds", "debug"))
    on = options.get("on")
    for option, value in (("--max-memory", memory), ("--max-seconds", seconds)):
        if on is not None and value is not None:
            raise UsageError(
                f"{option} has no effect on {on}, which applies its own default limits.",
                f"Leave out {option} or --on.",
            )
    shared: dict[str, Any] = {"items": items * len(files)}
    shared |= {name: options[name] for name in ("jobs", "device", "trust") if name in options}
    limits = sandbox.limits_for(files, memory_gb=memory, seconds=seconds, **shared)
    return sandbox.Sandbox(tuple(files), limits, tuple(writable), progress, debug)


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Split lists, which may be given with commas or by repeating the option."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def recommendation(store: Path, scored: bool) -> str:
    """Return the command that recommends from a results store; without accuracies the fastest."""
    preference = "" if scored else " --prefer latency"
    return f"edgezoo recommend {shell(store)} --max-latency-ms 10{preference}"
