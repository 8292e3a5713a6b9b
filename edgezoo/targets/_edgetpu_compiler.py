"""Run Google's edgetpu_compiler, read its log and explain its results.

The log format is that of version 16.0 (https://coral.ai/docs/edgetpu/compiler).
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.errors import MissingError, RefusedError
from edgezoo.core.protocols import Compilation
from edgezoo.system.staging import publish, staging
from edgezoo.targets import _tool

_PROGRAM = "edgetpu_compiler"
_GET = (
    "It runs on x86-64 Debian and comes from Google's own package source: "
    "https://coral.ai/docs/edgetpu/compiler#download. `edgezoo inspect FILE --target coral` "
    "predicts its result without it."
)
_MAPPED = "Mapped to Edge TPU"
_COUNT = re.compile(r"Number of operations that will run on (?P<place>Edge TPU|CPU): (?P<n>\d+)")
_TOTAL = re.compile(r"Total number of operations: (\d+)")
_ROW = re.compile(r"^(?P<op>[A-Z][A-Z0-9_]*)\s+(?P<count>\d+)\s+(?P<status>\S.*)$", re.M)
# Messages of the compiler about an operation, and what helps.
_FIXES = {
    "More than one subgraph is not supported": (
        "fix the operation before it, which runs on the CPU"
    ),
    "Operation is otherwise supported, but not mapped due to some unspecified limitation": (
        "often a size or a scale: try a smaller input or another layer instead"
    ),
    "Operation is working on an unsupported data type": (
        "export with --target coral, which keeps 8 bits throughout"
    ),
    "Operation not supported": "replace the operation",
    "Operation version not supported": "export with an older converter, or use a newer compiler",
    "Tensor has unsupported rank (up to 3 innermost dimensions mapped)": (
        "keep the batch at 1 and at most three dimensions"
    ),
}
# Messages of the compiler that failed, the cause, and what helps.
_FAILURES = (
    ("Model not quantized", "the file is not quantized", "Export with --target coral."),
    ("dynamic-sized tensors", "the file has sizes that are not fixed", "Fix the batch to 1."),
    (
        "Internal compiler error",
        "the compiler failed with an internal error",
        "Another input size or width often helps; `edgezoo inspect FILE --target coral` shows what "
        "should map.",
    ),
    ("timed out", "the compiler's own timeout was reached", "Try a smaller input size."),
    ("Invalid model", "the compiler does not take the file", "Check it with edgezoo inspect."),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result in the compiler's log.

    Attributes:
        npu_ops, cpu_ops: operations on the Edge TPU and on the CPU.
        rows: (operation, count, status) of the table; an operation may have several rows.
    """

    npu_ops: int
    cpu_ops: int
    rows: tuple[tuple[str, int, str], ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """The rows that are not mapped, each with what helps."""
        return tuple(
            f"{count} {op}: {status}" + (f" ({_FIXES[status]})" if status in _FIXES else "")
            for op, count, status in self.rows
            if status != _MAPPED
        )


def read_log(text: str) -> Verdict:
    """Parse the operator counts and the table of statuses, from stdout or from the log file."""
    found = _ROW.finditer(text)
    rows = dict.fromkeys((row["op"], int(row["count"]), row["status"].strip()) for row in found)
    counts = {match["place"]: int(match["n"]) for match in _COUNT.finditer(text)}
    total = _TOTAL.search(text)
    cpu = counts.get("CPU", sum(n for _, n, status in rows if status != _MAPPED))
    npu = counts.get("Edge TPU")
    if npu is None:
        npu = int(total[1]) - cpu if total else sum(n for _, n, s in rows if s == _MAPPED)
    return Verdict(npu, cpu, tuple(rows))


def compile(path: Path, output: Path, timeout: float) -> Compilation:
    """Compile a TFLite file for the Edge TPU.

    Raises:
        MissingError: the compiler is not installed.
        RefusedError: it failed, mapped no operation, or exceeded the timeout.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise MissingError(f"{_PROGRAM} is not installed.", _GET)
    final = output / f"{path.stem}_edgetpu.tflite"
    with staging(output, final.name) as folder:
        command = [program, "-s", "-o", str(folder), str(path.absolute())]
        code, printed = _tool.run(command, path, folder, timeout, _PROGRAM)
        made = folder / final.name
        log = made.with_suffix(".log")
        text = printed + (log.read_text(errors="replace") if log.is_file() else "")
        if code or not made.is_file():
            raise _failure(path, code, text)
        verdict = read_log(text)
        if not verdict.npu_ops:
            raise RefusedError(
                f"{_PROGRAM} maps none of {path}'s operations to the Edge TPU.",
                "; ".join(verdict.remarks[:3]) or "Export with --target coral.",
            )
        _tool.copy_contract(path, made)
        publish([(made, final)])
    return Compilation(final, verdict.npu_ops, verdict.cpu_ops, None, verdict.remarks)


def _failure(path: Path, code: int, text: str) -> RefusedError:
    for message, cause, fix in _FAILURES:
        if message in text:
            return RefusedError(f"{path} cannot be compiled for the Edge TPU: {cause}.", fix)
    return RefusedError(
        f"{_PROGRAM} failed on {path} with exit code {code}: {_tool.last_line(text)}",
        "Run it directly to see its whole output.",
    )
