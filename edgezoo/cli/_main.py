"""The `edgezoo` command: find subcommands, and turn errors into exit codes."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import pkgutil
import signal
import sys
from types import FrameType
from typing import Any

import click
from click.types import FloatParamType, StringParamType

from edgezoo import cli
from edgezoo.cli import _console
from edgezoo.cli._options import COMPLETED
from edgezoo.core import escapes
from edgezoo.core.errors import EdgeZooError, UsageError, defect, did_you_mean

_NO_HOME = "/nonexistent"


class _Commands(click.Group):
    """Imports a command's module on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (module.name for module in pkgutil.iter_modules(cli.__path__))
        return sorted(name for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"edgezoo.cli.{cmd_name}")
        command: click.Command = module.COMMAND
        for parameter in command.params:
            if isinstance(parameter.type, StringParamType):
                parameter.type = COMPLETED.get(parameter.name or "", parameter.type)
            if isinstance(parameter.type, FloatParamType) and parameter.callback is None:
                parameter.callback = _a_number
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.list_commands(ctx):
            raise UsageError(
                f"There is no command {args[0]!r}.", did_you_mean(args[0], self.list_commands(ctx))
            )
        return super().resolve_command(ctx, args)


def _a_number(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Refuse "nan" and "inf", which click accepts as numbers within any bounds."""
    for number in value if isinstance(value, tuple) else (value,):
        if number is not None and not math.isfinite(number):
            raise click.BadParameter(f"{number} is not a number.", ctx, param)
    return value


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Start with: edgezoo export mobilenet --alpha 0.5 --int8",
)
@click.version_option(package_name="edgezoo", prog_name="edgezoo")
def edgezoo() -> None:
    """Export Keras image classifiers to verified, quantized files for edge devices.

    TFLite, ONNX and OpenVINO, in float32, float16 and int8, each compared with Keras.
    """


class _Terminated(BaseException):
    """SIGTERM as an exception, so that everything cleans up as after Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return the exit code, 130 after Ctrl-C or 143 after SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    _settle_home()
    signal.signal(signal.SIGTERM, _terminate)
    _console.follow_log(quiet=not {"-q", "--quiet"}.isdisjoint(arguments))
    try:
        code = edgezoo.main(
            args=arguments, prog_name="edgezoo", standalone_mode=False, color=_console.colour()
        )
        _flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, click.Abort):
        _console.note("Interrupted: no partial files remain.")
        return 130
    except _Terminated:
        _console.note("Terminated: no partial files remain.")
        return 143
    except click.ClickException as error:
        return _report(UsageError(*_click_message(error)), arguments)
    except EdgeZooError as error:
        return _report(error, arguments)
    except SystemExit:
        return 0  # click exits so when the reader of the output closes the pipe
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _report(defect(error), arguments)


def _open_streams() -> None:
    """Open standard streams that the parent process has closed.

    Python sets them to None, and the next opened file would get their descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    # A name that the terminal's encoding lacks is shown as an escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _settle_home() -> None:
    """Give a user without a home folder one that does not exist, as Debian's system users have.

    Otherwise libraries fail when they are imported, and what is optional, such as the cache, is
    not left out.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = _NO_HOME


def _click_message(error: click.ClickException) -> tuple[str, str]:
    """Return message and hint for an error of click."""
    message = error.format_message().rstrip(".") + "."
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return f"There is no option {error.option_name}.", f"Did you mean {error.possibilities[0]}?"
    parameter = getattr(error, "param", None)
    if parameter is not None and isinstance(parameter.type, click.Choice):
        known = [str(word) for word in parameter.type.choices]
        name = parameter.name if isinstance(parameter, click.Argument) else parameter.opts[-1]
        if isinstance(error, click.MissingParameter):
            return f"No {name} was given.", f"Known: {', '.join(known)}."
        typed = error.message.split("'")[1]  # click stores the value nowhere else
        return f"There is no {name} {typed!r}.", did_you_mean(typed, known)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "edgezoo"
    return message, f"See {path} --help."


def _report(error: EdgeZooError, arguments: list[str]) -> int:
    """Print a message on standard error; with --json also an object on standard output."""
    facts = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    try:
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": facts}, indent=1) + "\n")
        sys.stdout.flush()
    except OSError:
        _discard_output()
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True, color=_console.colour())
    # A hint may end with the last lines of a child's log.
    message = escapes.line(escapes.cut(error.message))
    sys.stderr.write(f"{message} {escapes.text(error.hint)}".rstrip() + "\n")
    if "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    return error.exit_code


def _flush() -> None:
    """Write the rest of the output unless its reader has closed the pipe."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    """Discard unwritten output, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Run the installed command."""
    sys.exit(main())
