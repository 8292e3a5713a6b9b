"""`python -m edgezoo`."""

from edgezoo.cli.main import run

run()
