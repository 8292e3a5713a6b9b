"""`edgezoo completion`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click
from click.shell_completion import get_completion_class

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.core.typed_json import OneOf

# The default folder of each shell.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/edgezoo",
    "zsh": "~/.zfunc/_edgezoo",
    "fish": "~/.config/fish/completions/edgezoo.fish",
}


@dataclass(frozen=True, slots=True)
class CompletionScript:
    """The completion script of a shell.

    Attributes:
        script: text that the shell reads.
        place: file in which the shell looks for it by default.
    """

    shell: Annotated[str, OneOf(tuple(_PLACES))]
    script: str
    place: str


@click.command("completion", short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(list(_PLACES)))
@common
def COMMAND(shell: str, as_json: bool, debug: bool) -> None:
    """Print a script that lets SHELL complete commands, options and names.

    Requires bash 4.4 or newer; for zsh, a folder in fpath.

    \b
    Examples:
      source <(edgezoo completion bash)
      edgezoo completion bash > ~/.local/share/bash-completion/completions/edgezoo
      edgezoo completion zsh > ~/.zfunc/_edgezoo
      edgezoo completion fish > ~/.config/fish/completions/edgezoo.fish
    """
    from edgezoo.cli._main import edgezoo

    completion = get_completion_class(shell)
    assert completion is not None, "click knows these shells"
    script = completion(edgezoo, {}, "edgezoo", "_EDGEZOO_COMPLETE").source()
    if as_json:
        _console.print_json(CompletionScript(shell, script, _PLACES[shell]))
        return
    click.echo(script)
    _console.next_command(f"edgezoo completion {shell} > {_PLACES[shell]}")
