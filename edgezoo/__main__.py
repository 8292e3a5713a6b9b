"""`python -m edgezoo`, and the installed command."""

import sys


def run() -> None:
    """What `edgezoo` runs: Ctrl-C ends it without a traceback also while modules are loaded."""
    try:
        from edgezoo.cli._main import run as begin
    except KeyboardInterrupt:
        sys.exit(130)
    begin()


if __name__ == "__main__":
    run()
