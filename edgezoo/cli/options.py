"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def common(function: F) -> F:
    """--json and --debug, which every command has; main.py acts on --debug."""
    function = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object; all else goes to stderr."
    )(function)
    return click.option(
        "--debug", is_flag=True, help="Show tracebacks and what child processes print."
    )(function)


def quiet(function: F) -> F:
    """--quiet, for commands that show progress."""
    return click.option("-q", "--quiet", is_flag=True, help="No progress, no closing hints.")(
        function
    )


def foreign(function: F) -> F:
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
        "--on",
        metavar="URL",
        help="Run it on ssh://user@host[:port][/path/to/python].",
    )(function)


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Lists may be given by commas or by repeating the option."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())
