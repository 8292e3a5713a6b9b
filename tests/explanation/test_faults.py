"""Each fault that is put into a file is named, with its layer, and nothing else is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgezoo.calibration import sources
from edgezoo.core import registry, typed_json
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork
from edgezoo.pipeline.explain_file import analyse_file
from tests.conftest import FORMATS, Exported, Trained
from tests.support.faults import Spoilt

IMAGES = 24


@pytest.fixture(scope="module")
def pixels(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen, _ = sources.choose(str(trained.test), 32, IMAGES, 2, 0)
    return sources.store(chosen, 32, tmp_path_factory.mktemp("pixels"), "images").path


@pytest.fixture
def explain(exported: Exported, pixels: Path, tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    """What the child process of `edgezoo explain --float` finds out about a file."""

    def run(path: Path) -> dict[str, Any]:
        contract = registry.load_artifact(path).required_contract()
        found = analyse_file(
            path, contract, exported.path("tflite", "float32"), "pixels", tmp_path, pixels, None
        )
        facts: dict[str, Any] = json.loads(json.dumps(typed_json.encode(found)))
        return facts

    return run


def _share(facts: dict[str, Any], cause: str) -> float:
    (share,) = [entry["error_share"] for entry in facts["causes"] if entry["cause"] == cause]
    return float(share)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_wrong(
    format: str, exported: Exported, explain: Callable[[Path], dict[str, Any]]
) -> None:
    facts = explain(exported.path(format, "int8"))
    assert facts["verdict"]["healthy"], facts["verdict"]["text"]
    assert facts["verdict"]["text"].startswith("Nothing is wrong")
    assert facts["findings"] == [] and facts["unmatched_layers"] == []
    assert facts["trace_difference"] == 0, "looking inside must not change the answers"
    assert _share(facts, "preprocessing") == 0
    # The rest is what the levels cannot say: kernels compute what weights and levels mean.
    assert abs(_share(facts, "kernel")) < 0.1
    assert facts["stages"][-1]["sqnr_db"] > 25
    weighted = [layer for layer in facts["layers"] if layer["weights"]]
    assert len(weighted) == 28
    for layer in weighted:
        assert layer["weights"]["granularity"] == "per-channel"
        assert layer["weights"]["far"] == 0
        assert layer["accumulated_sqnr_db"] is not None
    for layer in facts["layers"]:
        if layer["error_over_step"] is not None:
            assert layer["error_over_step"] < 0.7, layer


FAULTS: dict[str, tuple[Callable[[Spoilt], None], str, str, str | None]] = {
    "swapped channels": (Spoilt.swap_channels, "preprocessing", "channel order", None),
    "other range": (Spoilt.shift_input, "preprocessing", "input range", None),
    "clipped": (
        lambda file: file.clip("conv_pw_4_relu"),
        "activations",
        "clipped activations",
        "conv_pw_4_relu",
    ),
    "clipped depthwise": (
        lambda file: file.clip("conv_dw_2_relu", 0.3),
        "activations",
        "clipped activations",
        "conv_dw_2_relu",
    ),
    "too wide": (
        lambda file: file.clip("conv_pw_7_relu", 8.0),
        "activations",
        "unused range",
        "conv_pw_7_relu",
    ),
    "per tensor": (
        lambda file: file.quantize_per_tensor(reach=16),
        "weights",
        "per-tensor weights",
        "conv_dw_",  # all have it; which is the worst depends on the training
    ),
    "flipped bits": (
        lambda file: file.flip_bits("conv_pw_6_relu"),
        "weights",
        "corrupt weights",
        "conv_pw_6_relu",
    ),
    "flipped bits, depthwise": (
        lambda file: file.flip_bits("conv_dw_5_relu"),
        "weights",
        "corrupt weights",
        "conv_dw_5_relu",
    ),
    "shifted bias": (
        lambda file: file.shift_bias("conv_pw_7_relu"),
        "weights",
        "bias",
        "conv_pw_7_relu",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(
    fault: str, exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    spoil, cause, name, layer = FAULTS[fault]
    file = Spoilt(exported.path("tflite", "int8"))
    spoil(file)
    facts = explain(file.save(tmp_path / "spoilt.tflite"))
    verdict = facts["verdict"]
    assert not verdict["healthy"]
    if layer == "conv_dw_" and str(verdict["layer"]).startswith(layer):
        layer = str(verdict["layer"])
    found = (verdict["cause"], verdict["fault"], verdict["layer"])
    assert found == (cause, name, layer), verdict["text"]
    assert _share(facts, cause) > 0.5, facts["causes"]
    if layer is not None:
        assert layer in verdict["text"]
        assert [finding["layer"] for finding in facts["findings"]] == [layer]
        assert facts["layers"][0]["name"] == layer, "the layer at fault stands first"


def test_shares_add_up_to_the_loss(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    file = Spoilt(exported.path("tflite", "int8"))
    file.swap_channels()
    file.clip("conv_pw_4_relu")
    facts = explain(file.save(tmp_path / "spoilt.tflite"))
    assert sum(c["error_share"] for c in facts["causes"]) == pytest.approx(1)
    lost = sum(c["lost_agreement"] for c in facts["causes"])
    assert lost == pytest.approx(facts["lost_agreement"]) and lost > 0.5
    assert {f["fault"] for f in facts["findings"]} >= {"channel order", "clipped activations"}


def test_equalized_layers_are_no_fault(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    """Half the values and twice the weights behind them: the same levels, the same figures."""
    plain = explain(exported.path("tflite", "int8"))
    file = Spoilt(exported.path("tflite", "int8"))
    file.share_out("conv_pw_4_relu", "conv_dw_5_relu", 0.5)
    shared = explain(file.save(tmp_path / "shared.tflite"))
    assert shared["verdict"]["healthy"], shared["verdict"]["text"]
    before, after = ({x["name"]: x for x in facts["layers"]} for facts in (plain, shared))
    for name in ("conv_pw_4_relu", "conv_dw_5_relu", "conv_pw_5_relu"):
        for figure in ("local_sqnr_db", "accumulated_sqnr_db", "error_over_step"):
            assert after[name][figure] == pytest.approx(before[name][figure], rel=0.03), figure
        assert after[name]["kernel_steps"] < 0.1


def test_coarse_channels_are_not_taken_for_equalized(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    """Weights of one or two levels seem half as large again; the next layer knows better."""
    file = Spoilt(exported.path("tflite", "int8"))
    file.quantize_per_tensor(reach=64)
    facts = explain(file.save(tmp_path / "spoilt.tflite"))
    assert [finding["fault"] for finding in facts["findings"]] == ["per-tensor weights"]
    assert sum(layer["weights"]["far"] for layer in facts["layers"] if layer["weights"]) == 0


def _guarded(exported: Exported, folder: Path, spoil: Callable[[Any], None] | None = None) -> Path:
    """An equalized per-tensor file in which two layers stay in float, as the guard makes it."""
    file = Spoilt(exported.path("tflite", "int8"))
    network = StepwiseNetwork(exported.path("tflite", "float32"))
    file.share_out("conv_dw_5_relu", "conv_pw_5_relu", 0.5)
    file.quantize_per_tensor(reach=16)
    for layer, size in (("conv_pw_5_relu", 2.0), ("conv_dw_9_relu", 1.0)):
        (step,) = [s for s in network.steps if network.name(s.output) == layer]
        assert step.weights is not None and step.bias is not None
        weights, bias = network.constant(step.weights) * size, network.constant(step.bias)
        if spoil is not None and size != 1:
            spoil(weights)
        file.keep_float(layer, weights, bias)
    return file.save(folder / "guarded.tflite")


def test_float_layers_beside_equalized_ones_are_not_corrupt(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    """Their weights tell the factors that rounding hid; who reads them rounds."""
    facts = explain(_guarded(exported, tmp_path))
    found = {finding["fault"] for finding in facts["findings"]}
    assert found <= {"per-tensor weights"}, facts["findings"]
    layers = {layer["name"]: layer for layer in facts["layers"]}
    for name in ("conv_pw_5_relu", "conv_dw_9_relu"):
        assert layers[name]["weights"]["granularity"] == "float"
        assert (layers[name]["weights"]["sqnr_db"] or math.inf) > 60  # None: nothing differs
        assert layers[name]["weights"]["far"] == 0
    for name in ("conv_dw_6_relu", "conv_pw_9_relu"):  # they read what float layers give
        assert layers[name]["kernel_steps"] < 0.1


def test_corrupt_float_layer_is_named(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    def spoil(weights: Any) -> None:
        weights.reshape(-1)[::50] += abs(weights).max()

    facts = explain(_guarded(exported, tmp_path, spoil))
    (corrupt,) = [finding for finding in facts["findings"] if finding["fault"] == "corrupt weights"]
    assert corrupt["layer"] == "conv_pw_5_relu"
    assert "where float weights have more than 40" in corrupt["evidence"]
    assert not corrupt["evidence"].startswith("0 ")


def test_advice_on_a_kernel_follows_the_lint() -> None:
    """16-bit saturation is named where it can be, and ruled out where it cannot."""
    from edgezoo.explanation.findings import _kernel_advice

    for layer, saturating in (("a", {"a": True, "b": False}), ("other name", {"a": True})):
        assert _kernel_advice(layer, saturating).startswith("On x86 without VNNI")
    for harmless in ({}, {"a": False, "b": True}, {"b": False}):
        assert _kernel_advice("a", harmless).startswith("It is not 16-bit saturation")


def test_weights_of_another_network(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    file = Spoilt(exported.path("tflite", "int8"))
    for layer in (*file.layers("CONV_2D"), *file.layers("DEPTHWISE_CONV_2D")):
        file.flip_bits(layer)
    facts = explain(file.save(tmp_path / "spoilt.tflite"))
    assert facts["verdict"]["fault"] == "other weights"
    assert "--weights" in facts["verdict"]["text"]


def _has_vnni() -> bool:
    information = Path("/proc/cpuinfo")
    return not information.exists() or "vnni" in information.read_text()


@pytest.mark.skipif(_has_vnni(), reason="only x86 without VNNI saturates")
def test_saturating_kernel(
    exported: Exported, explain: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    """Pairs of full weights: ONNX Runtime's 16-bit sums overflow."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(exported.path("onnx", "int8")))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = tensors["conv_pw_6_relu/weights_quantized"]
    levels = numpy_helper.to_array(weights).copy()
    levels[:, 0::4] = levels[:, 1::4] = 127  # a pair; the next one cancels it in exact arithmetic
    levels[:, 2::4] = levels[:, 3::4] = -127
    weights.CopyFrom(numpy_helper.from_array(levels, weights.name))
    onnx.save(model, str(tmp_path / "spoilt.onnx"))
    facts = explain(tmp_path / "spoilt.onnx")
    (kernel,) = [finding for finding in facts["findings"] if finding["cause"] == "kernel"]
    assert kernel["layer"] == "conv_pw_6_relu"
    assert "VNNI" in kernel["next"]


def test_spoilt_file_still_opens(exported: Exported, tmp_path: Path) -> None:
    """The faults are faults of values: the files are whole and carry their contract."""
    file = Spoilt(exported.path("tflite", "int8"))
    file.quantize_per_tensor()
    path = file.save(tmp_path / "spoilt.tflite")
    assert registry.load_artifact(path).contract is not None
    model = tflite_flatbuffer.read_model(path)
    scales = [len(t.quantization.scale) for t in model.subgraphs[0].tensors
              if tflite_flatbuffer.text(t.name).endswith("dw_1_relu/weights")]  # fmt: skip
    assert scales == [1]
