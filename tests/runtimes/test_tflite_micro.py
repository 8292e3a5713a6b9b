"""Microcontroller kernels: equal to TFLite's reference kernels, in an arena that is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.runtimes import tflite_micro
from tests.conftest import Ended, Exported, Trained
from tests.docs.test_schemas import check
from tests.support.coral import CORAL, require

On = Callable[..., dict[str, Any]]


@pytest.mark.imagenet
def test_equals_the_reference_kernels_on_every_photograph(
    mobilenet: Exported, photographs: Path, on: On
) -> None:
    facts = on(mobilenet.path("tflite", "int8"), photographs, "cpu", "tflite_micro")
    assert (facts["images"], facts["same_top1"], facts["different_images"]) == (100, 100, 0)
    assert facts["ran_on"]["details"]["equals_reference"] is True


def test_arena_is_as_small_as_it_can_be(exported: Exported) -> None:
    path = exported.path("tflite", "int8")
    size = tflite_micro.probe(path).arena_bytes
    assert size % 16 == 0
    tflite_micro._load(path, size)
    with pytest.raises(DataError, match="cannot open"):
        tflite_micro._load(path, size - 16)


def test_evaluate(exported: Exported, trained: Trained, cli: Callable[..., Ended]) -> None:
    path = exported.path("tflite", "int8")
    ended = cli("evaluate", path, "--images", trained.test, "--runtime", "tflite_micro",
                "--reference", path, "--limit", "100", "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    check("evaluate", ended.json)
    (result,) = ended.json["results"]
    assert result["runtime"].startswith("tflite-micro ")
    assert result["agreement_top1"] >= 0.98, "XNNPACK differs by a step here and there"
    details = result["ran_on"]["details"]
    assert details["equals_reference"] is True and 10_000 < details["arena_bytes"] < 100_000


def test_is_asked_for_by_name(exported: Exported) -> None:
    path = exported.path("tflite", "int8")
    assert registry.runtime_for(path).name == "litert"
    assert registry.runtime_for(path, "tflite_micro").name == "tflite_micro"
    with pytest.raises(UsageError, match="does not open onnx"):
        registry.runtime_for(exported.path("onnx", "int8"), "tflite_micro")
    with pytest.raises(UsageError, match="Did you mean tflite_micro"):
        registry.runtime_for(path, "tflite_micr")


def test_old_uint8_files_are_refused_in_words() -> None:
    require()
    path = CORAL / "mobilenet_v1_0.25_128_quant.tflite"
    with pytest.raises(DataError, match="Hybrid models are not supported"):
        registry.runtimes()["tflite_micro"].open(registry.load_artifact(path))
    reasons = {op.reason for op in registry.target("tflite-micro").place(path).cpu_ops}
    assert reasons == {"has uint8 weights of the older scheme; microcontroller kernels take int8"}


def test_float16_files_are_foreseen_to_fail(exported: Exported, cli: Callable[..., Ended]) -> None:
    path = exported.path("tflite", "float16")
    reasons = {op.reason for op in registry.target("tflite-micro").place(path).cpu_ops}
    assert reasons == {"takes float16; its kernel takes int8, uint8 and int16"}
    table = cli("inspect", path, "--target", "tflite-micro").stdout
    assert "with a kernel" in table and "without a kernel" in table and "accelerated" not in table
    with pytest.raises(DataError):
        registry.runtimes()["tflite_micro"].open(registry.load_artifact(path))


def test_compiled_files_are_refused() -> None:
    require()
    path = CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    with pytest.raises(RefusedError, match="compiled for a Coral"):
        registry.runtimes()["tflite_micro"].open(registry.load_artifact(path))


def test_kernels_of_the_target_are_those_of_the_library(exported: Exported) -> None:
    placement = registry.target("tflite-micro").place(exported.path("tflite", "int8"))
    assert placement.cpu_ops == () and placement.mapped >= 30
