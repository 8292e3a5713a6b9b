"""Real files in real processes: what is reported, and what ends in words."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest

from edgezoo.core.errors import CrashError, DataError, MissingError
from edgezoo.measurement import comparisons, session
from edgezoo.measurement.child import Opened
from edgezoo.measurement.protocol import Block, Settings
from edgezoo.measurement.session import Measurement, Subject, measure
from tests.conftest import Exported
from tests.support.foreign import strip_contract

QUICK = Settings(min_rounds=6, min_seconds=0.02, warm_up_seconds=0.01, block_seconds=0.001,
                 warm_up_cap_seconds=0.5)  # fmt: skip


def test_three_runtimes_in_one_session(exported: Exported) -> None:
    paths = [exported.path(format, "int8") for format in ("tflite", "onnx", "openvino")]
    floats = exported.path("tflite", "float32")
    measured = measure([*(Subject(path) for path in paths), Subject(floats)], QUICK)
    facts = comparisons.result(measured)
    for path, result, blocks in zip([*paths, floats], measured.results, measured.blocks,
                                    strict=True):  # fmt: skip
        assert isinstance(result, Measurement) and blocks is not None
        latency = result.latency_ms
        assert result.artifact == str(path) and result.bytes > 100_000
        assert sum(map(len, blocks)) == latency.n >= 120
        assert len(blocks) % 2 == 0 and len(blocks) >= 12
        assert 0 < latency.min <= latency.p5 <= latency.median <= latency.p95
        assert result.cpu_ms > 0
        cold = result.cold_start
        total = cold.open_ms + cold.first_inference_ms
        assert result.cold_start_ms == pytest.approx(total, abs=0.02)
        around = result.apart_ms
        assert around and min(around.decode, around.to_input, around.dequantize) > 0
        assert 0 < result.memory_over_runtime_mb < result.peak_rss_mb
        assert result.trust.level in ("good", "caution", "poor")
    pairs = [(Path(c.artifact).name, Path(c.base).name) for c in facts.comparisons]
    assert pairs[0] == (paths[0].name, floats.name), "int8 against float32 of one format"
    assert {(path.name, paths[0].name) for path in paths[1:]} <= set(pairs)
    assert facts.self_check and facts.self_check.rounds >= 6 and facts.noise_floor >= 0.02
    assert facts.environment.machine.cpu


def test_memory_is_that_of_the_child_alone(exported: Exported) -> None:
    """ru_maxrss of a child starts at what its parent had."""
    ballast = bytearray(os.urandom(1) * 400_000_000)
    (result,) = measure([Subject(exported.path("tflite", "int8"))], QUICK, self_check=False).results
    assert isinstance(result, Measurement) and len(ballast) == 400_000_000
    assert result.peak_rss_mb < 200


def test_file_without_contract(exported: Exported, tmp_path: Path) -> None:
    foreign = strip_contract(exported.path("tflite", "int8"), tmp_path)
    (result,) = measure([Subject(foreign)], QUICK, self_check=False).results
    assert isinstance(result, Measurement)
    assert result.apart_ms is None and result.model is None


def test_one_damaged_file_leaves_the_others(exported: Exported, tmp_path: Path) -> None:
    good = exported.path("tflite", "int8")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    measured = measure([Subject(damaged), Subject(good)], QUICK, self_check=False)
    assert isinstance(measured.results[0], DataError) and measured.blocks[0] is None
    assert isinstance(measured.results[1], Measurement)
    assert comparisons.compare(measured) == []


def test_unknown_device_is_refused(exported: Exported) -> None:
    (found,) = measure([Subject(exported.path("onnx", "int8"), "tpu9")], QUICK).results
    assert isinstance(found, MissingError) and "tpu9" in found.message


def test_more_pinned_threads_than_cores(exported: Exported) -> None:
    (found,) = measure([Subject(exported.path("onnx", "int8"), threads=4096)], pin=True).results
    assert isinstance(found, MissingError) and "--pin" in found.message


def test_pinned_process_stays_on_its_core(exported: Exported) -> None:
    child = session._Child(Subject(exported.path("tflite", "int8")), session._cpus(1), False)
    with child.talk:
        status = Path(f"/proc/{child.talk._child.pid}/status").read_text()
    allowed = status.partition("Cpus_allowed_list:")[2].split()[0]
    assert allowed == str(session._cpus(1)[0])


class _Silent(session._Child):
    """Its process stops, as one does that waits for a driver; the one of a number stops alone."""

    opened_before: ClassVar[int] = 0
    stopping: ClassVar[int] = 0

    def block(self, runs: int, lead_in: int) -> Block:
        if self.number == self.stopping:
            self.talk.timeout_s = 1.0
            os.kill(self.talk._child.pid, signal.SIGSTOP)
        return super().block(runs, lead_in)

    def _open(self, cpus: list[int] | None) -> Opened:
        self.number = _Silent.opened_before
        _Silent.opened_before += 1
        return super()._open(cpus)


@pytest.mark.parametrize("stopping", [0, 1])
def test_a_process_that_hangs(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, stopping: int
) -> None:
    """It is told as such, not as out of memory; without an A/A check the trust says so."""
    monkeypatch.setattr(session, "_Child", _Silent)
    monkeypatch.setattr(_Silent, "opened_before", 0)
    monkeypatch.setattr(_Silent, "stopping", stopping)
    measured = measure([Subject(exported.path("tflite", "int8"))], QUICK)
    assert measured.self_check is None
    (result,) = measured.results
    if stopping == 0:
        assert isinstance(result, CrashError) and "did not respond" in result.message
    else:
        assert isinstance(result, Measurement) and result.trust.level != "good"
        (told,) = [text for text in result.trust.reasons if "A/A" in text]
        assert told.startswith("The A/A check failed, so a noise floor of 2.0 % is assumed: ")
        assert "did not respond" in told and told.endswith(".")


def test_a_process_that_dies_is_told_in_words(exported: Exported) -> None:
    child = session._Child(Subject(exported.path("tflite", "int8")), None, False)
    with child.talk:
        child.talk._child.kill()
        with pytest.raises(DataError, match="killed"):
            child.block(1, 0)
    assert child.talk._child.poll() is not None
