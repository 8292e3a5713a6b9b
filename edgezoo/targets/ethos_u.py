"""Arm Ethos-U: every accelerator that Vela supports, compiled and estimated by Vela.

Vela's exit code is 0 even if no operation maps, so its operator counts are decisive.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import re
import signal
from functools import partial
from pathlib import Path

from edgezoo.core.errors import DataError, MissingError, RefusedError
from edgezoo.core.protocols import Compilation, CpuOp, Estimate, Placement, Target
from edgezoo.formats import tflite_flatbuffer
from edgezoo.system.scratch import scratch
from edgezoo.system.staging import publish, staging
from edgezoo.targets import _network, _tool
from edgezoo.targets._network import Operation

# By family: configurations, and system and memory of Arm's own evaluation kit.
_FAMILIES = {
    "ethos-u55": ((32, 64, 128, 256), "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ((256, 512), "Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ((128, 256, 512, 1024, 2048), "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram"),
}
_COUNT = re.compile(r"^(?P<place>CPU|NPU) operators = (?P<count>\d+)", re.M)
_REFUSED = re.compile(r"operator: (?P<op>\w+), ofm: '(?P<output>[^']*)'\nReason: (?P<why>[^\n]+)")
_FLASH = ("on_chip_flash_memory_used", "off_chip_flash_memory_used")
_TIMEOUT = 600.0
# Types of constants that Vela has a numpy type for.
_CONSTANTS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"}
_CONSTANTS |= {"float16", "float32", "float64"}


def _compile(
    accelerator: str, system: str, memory: str, path: Path, output: Path, timeout: float
) -> Compilation:
    """Compile a TFLite file with Vela.

    Raises:
        MissingError: Vela is not installed.
        RefusedError: no operation maps, Vela fails, or it exceeded the timeout.
        DataError: the file is not a TFLite file.
    """
    count = len(_readable(accelerator, path))
    path = path.absolute()  # a name that starts with a dash would be an option
    final = output / f"{path.stem}_{accelerator}.tflite"
    with staging(output, final.name) as folder:
        log, facts = _vela(accelerator, system, memory, path, folder, timeout)
        npu, cpu = _counts(log, count)
        remarks = tuple(f"{op.op}: {op.reason}" for op in _cpu_ops(log, path))
        if not npu:
            why = remarks[0] if remarks else "Vela reports no reason"
            raise RefusedError(
                f"No operation of {path} runs on {accelerator}: it would only be copied. {why}.",
                f"Ethos-U takes int8 files: export it with --target {accelerator}.",
            )
        made = folder / f"{path.stem}_vela.tflite"
        _tool.copy_contract(path, made)  # Vela keeps metadata, but not the zip at the end
        publish([(made, final)])
    return Compilation(final, npu, cpu, _estimate(facts, accelerator, system, memory), remarks)


def _place(accelerator: str, system: str, memory: str, path: Path) -> Placement:
    """Return where Vela places each operation; the compiled file is discarded."""
    count = len(_readable(accelerator, path))
    path = path.absolute()
    with scratch() as folder:
        log, facts = _vela(accelerator, system, memory, path, Path(folder), _TIMEOUT)
        made = tflite_flatbuffer.read_model(Path(folder, f"{path.stem}_vela.tflite"))
    names = [tflite_flatbuffer.op_name(made, op) for op in made.subgraphs[0].operators]
    cpu_ops = _cpu_ops(log, path)
    npu, _ = _counts(log, count)
    streamed = ("off_chip_flash_weight_read_bytes", "dram_weight_read_bytes")
    weights = int(float(facts["total_npu_encoded_weights"]))
    sent = sum(int(float(facts[name])) for name in streamed)
    return Placement(npu, cpu_ops, names.count("ethos-u"), weights, sent)


def _readable(accelerator: str, path: Path) -> list[Operation]:
    """Read a file's operations, and refuse what Vela does not survive.

    Vela 5.2 dies of a division by zero (SIGFPE) on weights of 4 bits, and of a KeyError on types
    that came after it.

    Raises:
        RefusedError: the file has constants of a type that Vela does not read.
    """
    operations = _network.read(path)
    for op in operations:
        for tensor in op.constants:
            if tensor.dtype not in _CONSTANTS:
                raise RefusedError(
                    f"{path} cannot be compiled for {accelerator}: {op.name} (operation {op.index})"
                    f" has {tensor.dtype} weights, and Vela compiles weights of 8 bits.",
                    f"Quantize the weights to int8: export with --target {accelerator}.",
                )
    return operations


def _vela(
    accelerator: str, system: str, memory: str, path: Path, folder: Path, timeout: float
) -> tuple[str, dict[str, str]]:
    """Run Vela; return its output and the row of its summary."""
    if importlib.util.find_spec("ethosu") is None:
        raise MissingError(
            f"Compiling for {accelerator} needs Arm's Vela, which is not installed.",
            'Run: pip install "edgezoo[ethos-u]"',
        )
    command = [str(path), "--accelerator-config", accelerator, "--system-config", system]
    command += ["--memory-mode", memory, "--config", "Arm/vela.ini", "--output-dir", str(folder)]
    code, printed = _tool.run_module("ethosu.vela", command, path, folder, timeout, "Vela")
    summary = folder / f"{path.stem}_summary_{system}.csv"
    if code or not summary.is_file():
        said = f"it died of {signal.Signals(-code).name}" if code < 0 else _tool.last_line(printed)
        raise RefusedError(f"Vela cannot compile {path} for {accelerator}: {said}")
    with summary.open(newline="") as stream:
        return printed, next(csv.DictReader(stream))


def _counts(log: str, count: int) -> tuple[int, int]:
    """Return how many of a file's `count` operations run on the NPU and on the CPU.

    Vela counts operations after it has split them; only those of the CPU are never split.
    """
    found = {match["place"]: int(match["count"]) for match in _COUNT.finditer(log)}
    if found.keys() != {"CPU", "NPU"}:
        raise DataError("Vela printed no operator counts.", "Check its version.")
    return (count - found["CPU"] if found["NPU"] else 0), found["CPU"]


def _cpu_ops(log: str, path: Path) -> tuple[CpuOp, ...]:
    """Return the operations that Vela leaves to the CPU, with its reasons."""
    reasons = {match["output"]: match["why"] for match in _REFUSED.finditer(log)}
    return tuple(
        CpuOp(op.name, op.index, reasons[op.outputs[0].name])
        for op in _network.read(path)
        if op.outputs[0].name in reasons
    )


def _estimate(facts: dict[str, str], accelerator: str, system: str, memory: str) -> Estimate:
    version = importlib.metadata.version("ethos-u-vela")
    return Estimate(
        inference_ms=float(facts["inference_time"]) * 1e3,
        cycles=int(float(facts["cycles_total"])),
        clock_mhz=float(facts["core_clock"]) / 1e6,
        sram_kib=float(facts["sram_memory_used"]),
        dram_kib=float(facts["dram_memory_used"]),
        flash_kib=sum(float(facts[name]) for name in _FLASH),
        source=f"Vela estimate ({version}, {accelerator}, {system}, {memory})",
    )


TARGETS = tuple(
    Target(
        name=f"{family}-{macs}",
        about=f"Arm {family.title()} with {macs} multipliers",
        formats=("tflite",),
        precisions=("int8",),
        io=("int8", "uint8"),
        memory=f"as in Vela's {system}, {memory}",
        place=partial(_place, f"{family}-{macs}", system, memory),
        compile=partial(_compile, f"{family}-{macs}", system, memory),
        extra="ethos-u",
    )
    for family, (sizes, system, memory) in _FAMILIES.items()
    for macs in sizes
)
