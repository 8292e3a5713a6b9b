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
    TextType = click.ParamType  # which takes no arguments before click 8.2


class Words(TextType):
    """Text that a shell completes by names that the registry knows; lists are given by commas."""

    name = "text"

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin with what was typed after the last comma."""
        before, comma, typed = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in self._known()
            if name.startswith(typed)
        ]


# What parameters of a name mean in every command.
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
    """What every command has: --json, --quiet, --verbose and --debug, on which main.py acts."""
    for words, description, more in (
        (("--json", "as_json"), "Print one JSON object; all else goes to stderr.", {}),
        (("-q", "--quiet"), "No progress, no closing hints.", _says("quiet")),
        (("-v", "--verbose"), "Say each step, with the time, also in a pipe.", _says("verbose")),
        (("--debug",), "Show tracebacks and what child processes print.", {}),
    ):
        function = click.option(*words, is_flag=True, help=description, **more)(function)
    return function


def _says(word: str) -> dict[str, Any]:
    """An option that the console looks up by itself."""

    def keep(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        if value:
            ctx.meta[_console.LOUDNESS] = word
        return value

    return {"expose_value": False, "callback": keep}


def quiet(function: F) -> F:
    """Let a command know of --quiet itself."""
    for option in getattr(function, "__click_params__", ()):
        if option.name == "quiet":
            option.expose_value = True
    return function


def third_party(function: F) -> F:
    """What must be said of files that EdgeZoo did not make."""
    function = click.option(
        "--preprocessing",
        metavar="MODE",
        help="tf, caffe, torch or none: what a file without a contract of EdgeZoo's wants.",
    )(function)
    return click.option(
        "--labels", type=PATH, metavar="FILE", help="A class name a line, for such a file."
    )(function)


def trusted(function: F) -> F:
    """--trust, for commands that load networks of Keras."""
    return click.option(
        "--trust", is_flag=True, help="Let code in a .keras, .h5 or SavedModel run."
    )(function)


def limited(function: F) -> F:
    """How much a file may take, for commands that open files of strangers in a limited process."""
    function = click.option(
        "--max-memory",
        type=click.FloatRange(0),
        metavar="GB",
        help="What a file may take of memory (default: by its size; 0: any).",
    )(function)
    return click.option(
        "--max-seconds",
        type=click.FloatRange(1),
        metavar="S",
        help="How long it may take without a sign of life (default: by its size).",
    )(function)


def refuse_remote_limits(
    on: str | None, max_memory: float | None, max_seconds: float | None
) -> None:
    """Refuse limits that a device would not hear of: it works within its own usual ones.

    Raises:
        UsageError: one is given together with --on.
    """
    for option, value in (("--max-memory", max_memory), ("--max-seconds", max_seconds)):
        if on is not None and value is not None:
            raise UsageError(
                f"{option} is not carried to {on}, which works within its own usual limits.",
                f"Leave {option} or --on out.",
            )


def place(function: F) -> F:
    """Where a file is run."""
    function = click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="cpu, gpu or coral; one that is not there is refused.",
    )(function)
    return click.option(
        "--runtime",
        metavar="NAME",
        help="Another runtime than the usual one: tflite_micro runs microcontroller kernels.",
    )(function)


def remote(function: F) -> F:
    """--on, for commands that can run on a device across the network."""
    return click.option(
        "--on", metavar="URL", help="Run it on ssh://user@host[:port][/path/to/python]."
    )(function)


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Lists may be given by commas or by repeating the option."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def recommendation(store: Path, scored: bool) -> str:
    """The command that chooses from a results store; without accuracies the fastest is wanted."""
    return f"edgezoo recommend {store} --max-latency-ms 10" + (
        "" if scored else " --prefer latency"
    )
