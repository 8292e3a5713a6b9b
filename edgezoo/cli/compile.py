"""`edgezoo compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, SHARE, common, option, protected
from edgezoo.core.escapes import shell
from edgezoo.core.protocols import Estimate
from edgezoo.inspection.compile_file import compile_artifact


@click.command("compile", short_help="Compile ARTIFACT for an accelerator.")
@click.argument("artifact", type=PATH)
@option("--target NAME", "coral, ethos-u55-128, ethos-u85-256, …", required=True)
@option("-o --output DIR", "Default: next to ARTIFACT.", PATH)
@option(
    "--min-offload SHARE", "Exit 6 where a smaller share of the operations is accelerated.", SHARE
)
@option("--timeout SECONDS", type=click.FloatRange(0, min_open=True), shown=600.0)
@protected
@common
def COMMAND(artifact: Path, target: str, as_json: bool, debug: bool, **options: Any) -> None:
    """Compile ARTIFACT for an accelerator with the accelerator's own compiler.

    Vela for Arm Ethos-U, edgetpu_compiler for Coral where it is installed. A file without any
    operation to accelerate is refused.

    \b
    Examples:
      edgezoo compile mobilenet_0.25_96_int8.tflite --target ethos-u55-128
      edgezoo compile m_int8.tflite --target coral --min-offload 0.95
    """
    result = compile_artifact(artifact, target, **options)
    if as_json:
        _console.print_json(result)
        return
    rows = [
        ("accelerated", f"{result.npu_ops} operations"),
        ("on the CPU", f"{result.cpu_ops} operations"),
        ("size", _console.size(result.bytes)),
        *(_estimate_rows(result.estimate) if result.estimate else ()),
    ]
    _console.table(str(result.path), ("", ""), rows)
    for remark in result.remarks:
        _console.warn(f"On the CPU: {remark}")
    _console.next_command(f"edgezoo inspect {shell(result.path)}")


def _estimate_rows(estimate: Estimate) -> list[tuple[str, str]]:
    memory = (
        f"{estimate.sram_kib:.0f} KiB SRAM, {estimate.dram_kib:.0f} KiB DRAM, "
        f"{estimate.flash_kib:.0f} KiB flash"
    )
    time = f"{estimate.inference_ms:.2f} ms, {estimate.cycles:,} cycles"
    return [
        ("estimated time", f"{time} at {estimate.clock_mhz:g} MHz"),
        ("estimated memory", memory),
        ("estimated by", estimate.source),
    ]
