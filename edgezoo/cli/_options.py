"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from edgezoo.cli import _console
from edgezoo.core import registry
from edgezoo.core.errors import UsageError
from edgezoo.core.recipe import EFFORTS, GRANULARITIES
from edgezoo.core.spec import INPUT_KINDS, IO_TYPES, NORMALIZATIONS, PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
if TYPE_CHECKING:
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
    "format": _FORMATS,
    "formats": _FORMATS,
    "precision": _PRECISIONS,
    "precisions": _PRECISIONS,
    "io": Words(lambda: IO_TYPES),
    "input_kind": Words(lambda: INPUT_KINDS),
    "preprocessing": Words(lambda: NORMALIZATIONS),
    "effort": Words(lambda: EFFORTS),
    "granularity": Words(lambda: GRANULARITIES),
}


def common(function: F) -> F:
    """Add the options of every command: --json, --quiet, --verbose and --debug."""
    for words, description, more in (
        (("--json", "as_json"), "Print one JSON object; the rest goes to stderr.", {}),
        (("-q", "--quiet"), "Print no progress and no next commands.", _sets("quiet")),
        (("-v", "--verbose"), "Print each step with its time, also in a pipe.", _sets("verbose")),
        (("--debug",), "Show tracebacks and the output of child processes.", {}),
    ):
        function = click.option(*words, is_flag=True, help=description, **more)(function)
    return function


def _sets(verbosity: str) -> dict[str, Any]:
    """Return click settings of an option that sets the console's verbosity."""

    def store(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        if value:
            ctx.meta[_console.VERBOSITY] = verbosity
        return value

    return {"expose_value": False, "callback": store}


def quiet(function: F) -> F:
    """Pass --quiet to the command, too."""
    for option in getattr(function, "__click_params__", ()):
        if option.name == "quiet":
            option.expose_value = True
    return function


def third_party(function: F) -> F:
    """Add options for files that EdgeZoo did not export."""
    function = click.option(
        "--preprocessing",
        metavar="MODE",
        help="tf, caffe, torch or none, for a file without an EdgeZoo contract.",
    )(function)
    return click.option(
        "--labels", type=PATH, metavar="FILE", help="One class name per line, for such a file."
    )(function)


def trusted(function: F) -> F:
    """Add --trust, for commands that load Keras models."""
    return click.option(
        "--trust", is_flag=True, help="Allow code in a .keras, .h5 or SavedModel to run."
    )(function)


def limited(function: F) -> F:
    """Add the limits of commands that open untrusted files in a limited process."""
    function = click.option(
        "--max-memory",
        type=click.FloatRange(0),
        metavar="GB",
        help="Memory limit for untrusted files (default: by their size; 0: no limit).",
    )(function)
    return click.option(
        "--max-seconds",
        type=click.FloatRange(1),
        metavar="S",
        help="Timeout without progress (default: by the size of the files).",
    )(function)


def refuse_remote_limits(
    on: str | None, max_memory: float | None, max_seconds: float | None
) -> None:
    """Refuse limits without effect on a device, which applies its own default limits.

    Raises:
        UsageError: a limit is given together with --on.
    """
    for option, value in (("--max-memory", max_memory), ("--max-seconds", max_seconds)):
        if on is not None and value is not None:
            raise UsageError(
                f"{option} has no effect on {on}, which applies its own default limits.",
                f"Leave out {option} or --on.",
            )


def place(function: F) -> F:
    """Add options for the device and the runtime."""
    function = click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="cpu, gpu or coral; a missing device is an error.",
    )(function)
    return click.option(
        "--runtime",
        metavar="NAME",
        help="A runtime other than the default: tflite_micro runs microcontroller kernels.",
    )(function)


def remote(function: F) -> F:
    """Add --on, for commands that can run on a device over ssh."""
    return click.option(
        "--on", metavar="URL", help="Run on ssh://user@host[:port][/path/to/python]."
    )(function)


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Split lists, which may be given with commas or by repeating the option."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def recommendation(store: Path, scored: bool) -> str:
    """Return the command that recommends from a results store; without accuracies the fastest."""
    preference = "" if scored else " --prefer latency"
    return f"edgezoo recommend {store} --max-latency-ms 10{preference}"
