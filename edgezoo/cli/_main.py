"""The `edgezoo` command: finds its subcommands, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import json
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
from edgezoo.core.errors import EdgeZooError, UsageError, defect, did_you_mean


class _Commands(click.Group):
    """Imports a command's module when it is needed."""

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
    """Refuse "nan", which click takes for a number within every bound."""
    if value is not None and value != value:
        raise click.BadParameter("nan is no number.", ctx, param)
    return value


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Start with: edgezoo export mobilenet --alpha 0.5 --int8",
)
@click.version_option(package_name="edgezoo", prog_name="edgezoo")
def edgezoo() -> None:
    """Make verified, quantized files of Keras image classifiers for the edge.

    TFLite, ONNX and OpenVINO, in float32, float16 and int8, each checked against its source.
    """


class _Terminated(BaseException):
    """SIGTERM, so that everything cleans up as it does at Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def main(arguments: list[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit code: see `edgezoo.core.errors`; 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    _console.follow_log(quiet=not {"-q", "--quiet"}.isdisjoint(arguments))
    try:
        code = edgezoo.main(
            args=arguments, prog_name="edgezoo", standalone_mode=False, color=_console.colour()
        )
        _flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, click.Abort):
        _console.note("Interrupted: nothing half-written was left.")
        return 130
    except _Terminated:
        _console.note("Terminated: nothing half-written was left.")
        return 143
    except click.ClickException as error:
        return _report(UsageError(*_click_words(error)), arguments)
    except EdgeZooError as error:
        return _report(error, arguments)
    except SystemExit:
        return 0  # click's way of saying that whoever read our output has had enough
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _report(defect(error), arguments)


def _open_streams() -> None:
    """Give standard streams that whoever started us has closed a place that takes everything.

    Python leaves them None, and the next file to be opened would get their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _click_words(error: click.ClickException) -> tuple[str, str]:
    message = error.format_message().rstrip(".") + "."
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return f"There is no option {error.option_name}.", f"Did you mean {error.possibilities[0]}?"
    parameter = getattr(error, "param", None)
    if parameter is not None and isinstance(parameter.type, click.Choice):
        known = [str(word) for word in parameter.type.choices]
        name = parameter.name if isinstance(parameter, click.Argument) else parameter.opts[-1]
        if isinstance(error, click.MissingParameter):
            return f"No {name} was named.", f"Known: {', '.join(known)}."
        typed = error.message.split("'")[1]  # the one place where click names it
        return f"There is no {name} {typed!r}.", did_you_mean(typed, known)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "edgezoo"
    return message, f"See {path} --help."


def _report(error: EdgeZooError, arguments: list[str]) -> int:
    """One clear message on standard error; with --json also an object on standard output."""
    facts = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    try:
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": facts}, indent=1) + "\n")
        sys.stdout.flush()
    except OSError:
        _give_up_output()
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True, color=_console.colour())
    _console.note(str(error))
    if "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    return error.exit_code


def _flush() -> None:
    """Write what is left of the output, as long as somebody reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()


def _give_up_output() -> None:
    """Let go of what could not be written, which Python would try once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
