"""`edgezoo completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from edgezoo.cli import _console
from edgezoo.cli._options import common

# Where each shell looks by itself, below the home folder.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/edgezoo",
    "zsh": "~/.zfunc/_edgezoo",
    "fish": "~/.config/fish/completions/edgezoo.fish",
}


@click.command("completion", short_help="Print what completes commands in a shell.")
@click.argument("shell", type=click.Choice(list(_PLACES)))
@common
def COMMAND(shell: str, as_json: bool, debug: bool) -> None:
    """Print the script that lets SHELL complete commands, options and names.

    bash needs its release 4.4 or newer; zsh looks in folders of its fpath alone.

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
        _console.print_json({"shell": shell, "script": script, "place": _PLACES[shell]})
        return
    click.echo(script)
    _console.next_command(f"edgezoo completion {shell} > {_PLACES[shell]}")
