"""Verdicts say what the figures allow, in words that an engineer can use."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgezoo.measurement.comparisons import compare, short_names
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import Session, Subject
from edgezoo.measurement.statistics import Ratio
from edgezoo.measurement.verdicts import covering, int8_remark, judge, noise_floor
from edgezoo.system.machine import environment
from tests.support.fake_sweep import measured_file


@pytest.mark.parametrize(
    ("ratio", "word", "text"),
    [
        (Ratio(1 / 1.42, 1 / 1.47, 1 / 1.38, 12), "faster",
         "a is 1.42 times faster than b (95 %: 1.36 to 1.49)"),
        (Ratio(1.42, 1.38, 1.47, 12), "slower",
         "b is 1.42 times faster than a (95 %: 1.36 to 1.49)"),
        (Ratio(1.01, 0.99, 1.03, 12), "same",
         "a against b: no difference can be seen; noise floor 3.0 %"),
        (Ratio(1.029, 1.02, 1.04, 12), "unknown",
         "a against b: cannot tell, 1.00 to 1.06 times (95 %)"),
        (Ratio(1.5, 0.9, 1.9, 12), "unknown",
         "a against b: cannot tell, 0.90 to 1.90 times (95 %)"),
        (Ratio(2.0, 0.0, float("inf"), 5), "unknown",
         "a against b: 5 rounds are too few to distinguish them"),
    ],
)  # fmt: skip
def test_judge(ratio: Ratio, word: str, text: str) -> None:
    verdict = judge("a", "b", ratio, 0.03)
    assert (verdict.word, verdict.text) == (word, text)


def test_intervals_cover_what_processes_differ_by() -> None:
    """Two processes of one file: the printed 95 % holds the truth, however steady the runs are."""
    rng = np.random.default_rng(0)
    for floor in (0.02, 0.05):
        apart = math.log1p(floor) / 1.96
        within = rng.normal(0, 0.002, 4000)
        truths = rng.normal(0, apart, 4000) + within
        wide = [
            covering(Ratio(math.exp(t), math.exp(t - 0.00392), math.exp(t + 0.00392), 12), floor)
            for t in truths
        ]
        assert 0.93 <= np.mean([ratio.low <= 1 <= ratio.high for ratio in wide]) <= 0.97
    assert covering(Ratio(1.0, 0.0, float("inf"), 3), 0.02).high == float("inf")


def test_files_of_one_name_are_told_apart() -> None:
    assert short_names(["x/a.onnx", "y/b.onnx", "x/a.onnx"]) == {
        "x/a.onnx": "a.onnx", "y/b.onnx": "b.onnx",
    }  # fmt: skip
    assert short_names(["v1/m.tflite", "v2/m.tflite", "v2/n.tflite"]) == {
        "v1/m.tflite": "v1/m.tflite", "v2/m.tflite": "v2/m.tflite", "v2/n.tflite": "n.tflite",
    }  # fmt: skip
    assert short_names(["/r/1/out/m.onnx", "/r/2/out/m.onnx", "m.onnx"]) == {
        "/r/1/out/m.onnx": "1/out/m.onnx", "/r/2/out/m.onnx": "2/out/m.onnx", "m.onnx": "m.onnx",
    }  # fmt: skip


def test_verdict_on_files_of_one_name() -> None:
    made = measured_file(Subject(Path("m.tflite")))
    results = tuple(replace(made, artifact=f"{folder}/m.tflite") for folder in ("v1", "v2"))
    blocks = ([[2.0] * 10] * 24, [[1.0] * 10] * 24)
    (found,) = compare(Session(results, blocks, None, environment(), Settings()))
    assert found.text.startswith("v2/m.tflite is 2.00 times faster than v1/m.tflite")


def test_noise_floor() -> None:
    assert noise_floor(None) == 0.02
    assert noise_floor(Ratio(1.0, 0.999, 1.001, 12)) == 0.02, "processes differ, whatever one saw"
    assert noise_floor(Ratio(0.97, 0.96, 0.98, 12)) == pytest.approx(0.04)
    assert noise_floor(Ratio(1.0, 0.5, 1.5, 3)) == 0.02, "three rounds say nothing"


def test_why_int8_is_not_faster() -> None:
    text = int8_remark("same", ["avx2"], "x86_64")
    assert text == "int8 is not faster than float32 on this CPU: it has no VNNI"
    assert "dot product" in str(int8_remark("slower", ["asimd"], "aarch64"))
    assert "although" in str(int8_remark("same", ["avx2", "avx512_vnni"], "x86_64"))
    assert int8_remark("faster", [], "x86_64") is None
    assert int8_remark("unknown", ["avx2"], "x86_64") is None
