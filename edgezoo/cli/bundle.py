"""`edgezoo bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, flag, limited, limited_process, option, third_party

_IMAGES = 16  # golden images and more


@click.command("bundle", short_help="Collect files and everything that a device needs to run them.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@option("-o --output DIR|ZIP", type=PATH, required=True)
@flag("--c-array", "Also write C source, with the contract as a header.")
@third_party
@limited
@common
def COMMAND(artifacts: tuple[Path, ...], output: Path, as_json: bool, **options: Any) -> None:
    """Put .tflite files and everything that a device needs to run them into a folder or zip.

    \b
    A bundle contains labels, contract, requirements, classify.py and selftest.py,
    which need only numpy, Pillow and a TFLite runtime, and golden images with
    their expected outputs, by which selftest.py tests decoder, resize and
    runtime.

    \b
    Examples:
      edgezoo bundle exported/mobilenet_0.5_160_int8.tflite -o bundle.zip
      edgezoo bundle m.tflite -o firmware/ --c-array
    """
    from edgezoo.bundling import make
    from edgezoo.system.scratch import scratch

    with scratch() as folder:
        process = limited_process(artifacts, options, items=_IMAGES, writable=[folder])
        result = process.call(make.prepare, folder, artifacts, output, **options)
        make.place(folder, result)
    if as_json:
        _console.print_json(result)
        return
    for note in result.notes or ():
        _console.note(note)
    rows = [(file.path, _console.size(file.bytes)) for file in result.files]
    _console.table(f"{result.path}, {_console.size(result.bytes)}", ("file", "size"), rows)
    _console.next_command("python3 selftest.py (on the device)")
