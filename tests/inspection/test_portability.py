"""Overflow of 16 bits: the check against the instruction, and the instruction against kernels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.core.protocols import IntegerKernels, IntegerLayer
from edgezoo.inspection import portability
from edgezoo.inspection.inspect_file import inspect
from edgezoo.runtimes._onnx_layers import integer_layers
from tests.conftest import FORMATS, ROOT, Exported, environment, run_cli
from tests.support import needs, single_layer
from tests.support.onnx_forms import onnx_forms
from tests.support.vpmaddubsw import EMULATED, kernel, overflows, vpmaddubsw, why_no_saturation

on_avx2 = pytest.mark.skipif(why_no_saturation() is not None, reason=str(why_no_saturation()))


def _layer(weights: np.ndarray, pairs: Any = "flat", **changes: Any) -> IntegerLayer:
    return IntegerLayer("layer", "conv", weights, "int8", "uint8", pairs, **changes)


def _verdict(layer: IntegerLayer) -> bool:
    (entry,) = portability.describe(IntegerKernels("test", (layer,))).layers
    return entry.can_overflow


# The check against the instruction


def test_every_pair_of_weights() -> None:
    """All 65,536, each at the corners of its two activations."""
    grid = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), -1).reshape(-1, 2)
    weights = grid.astype(np.int8)
    wrong = np.zeros(len(weights), bool)
    for corner in ((0, 255), (255, 0), (255, 255)):
        activations = np.broadcast_to(np.array(corner, np.uint8), weights.shape)
        exact = (activations.astype(np.int32) * weights).sum(1)
        wrong |= vpmaddubsw(activations, weights)[:, 0] != exact
    sums = portability.pair_sums(_layer(weights[:, None, :]))[:, 0]
    np.testing.assert_array_equal(sums > portability.LIMIT, wrong)


@pytest.mark.parametrize("pair", [(127, 1), (127, 2), (64, 64), (64, 65), (-128, -1), (-128, 0)])
def test_corners_are_the_worst(pair: tuple[int, int]) -> None:
    """All 65,536 pairs of activations, for weights on either side of the bound."""
    grid = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2)
    exact = (grid * np.array(pair)).sum(1)
    got = vpmaddubsw(grid.astype(np.uint8), np.broadcast_to(np.array(pair, np.int8), grid.shape))
    assert _verdict(_layer(np.array(pair, np.int8)[None, None])) == (got[:, 0] != exact).any()
    sums = portability.pair_sums(_layer(np.array(pair, np.int8)[None, None]))
    assert sums.item() == np.abs(exact).max()


def _weights(seed: int) -> np.ndarray:
    """Kernels at and around the bound, with odd and even numbers of channels and positions."""
    generator = np.random.default_rng(seed)
    shape = (4, int(generator.choice([1, 4, 9])), int(generator.integers(1, 9)))
    spread = int(generator.choice([20, 66, 80, 128]))
    weights = generator.integers(-spread, spread, shape)
    if seed % 3 == 0:  # one pair exactly at the bound or one above
        weights = generator.integers(-40, 40, shape)
        flat = weights.reshape(4, -1)
        place = int(generator.integers(0, max(1, flat.shape[1] - 1)))
        first = int(generator.integers(2, 128))
        flat[:, place : place + 2] = (first, 128 - first + seed % 2)[: flat.shape[1] - place]
    return np.clip(weights, -128, 127).astype(np.int8)


@pytest.mark.parametrize("pairs", ["flat", "pixel"])
def test_says_overflow_if_and_only_if_some_input_overflows(pairs: Any) -> None:
    said = []
    for seed in range(400):
        weights = _weights(seed)
        expected = overflows(weights, pairs)
        (entry,) = portability.describe(IntegerKernels("test", (_layer(weights, pairs),))).layers
        assert entry.can_overflow == expected.any(), seed
        assert entry.channels_above == expected.sum(), seed
        said.append(entry.can_overflow)
    assert 80 < sum(said) < 320, "both answers are tried"


def test_pairing_matters() -> None:
    """Three channels: counted through, the third meets the first of the next position."""
    weights = np.zeros((1, 2, 3), np.int8)
    weights[0, 0, 2] = weights[0, 1, 0] = 100
    assert _verdict(_layer(weights, "flat")) and not _verdict(_layer(weights, "pixel"))
    assert not _verdict(_layer(weights, "flat", exact="its kernel adds in 32 bits"))


# The instruction against the kernels


def _inputs(weights: np.ndarray) -> list[np.ndarray]:
    """uint8 (positions, in): the worst for some channels, and random ones."""
    most = np.argsort(-portability.pair_sums(_layer(weights)).max(1))[:4]
    worst = [np.where(sign * weights[i] > 0, 255, 0) for i in most for sign in (1, -1)]
    drawn = np.random.default_rng(1).integers(0, 256, (4, *weights.shape[1:]))
    return [values.astype(np.uint8) for values in (*worst, *drawn)]


# (input channels of a group, height and width, groups); the last is depthwise, the one before it
# has two outputs a channel.
KERNELS = [(8, 1, 1), (5, 1, 1), (3, 3, 1), (8, 3, 1), (2, 3, 4), (3, 1, 2), (1, 3, 8), (1, 3, 16)]


@on_avx2
@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.parametrize(("channels", "size", "groups"), KERNELS)
def test_onnxruntime_adds_as_assumed(channels: int, size: int, groups: int, signed: bool) -> None:
    """The default session gives the emulated sum, x64quantprecision the exact one."""
    weights = np.random.default_rng(4).integers(-128, 128, (16, size * size, channels), np.int8)
    probe = single_layer.OnnxConv(weights, size, groups, signed)
    (found,) = probe.layers()
    np.testing.assert_array_equal(found.weights, weights)
    differ = 0
    for values in _inputs(weights):
        exact = (values.astype(np.int32) * weights).sum((1, 2))
        added = exact if found.exact else kernel(values, weights, found.pairs)
        np.testing.assert_array_equal(probe.error(values, exact, "0"), _byte(added - exact))
        np.testing.assert_array_equal(probe.error(values, exact, "1"), 0)
        differ += int((added != exact).any())
    assert (differ > 0) == _verdict(found) == (not signed and groups < 16)


@on_avx2
@pytest.mark.parametrize("form", onnx_forms())
def test_forms_that_onnxruntime_computes_in_integers(form: str) -> None:
    """Found if and only if the default session goes wrong."""
    model = onnx_forms()[form]
    tensor = model.graph.input[0].type.tensor_type
    shape = [n.dim_value for n in tensor.shape.dim]
    batch = np.full(shape, 255, np.float32 if tensor.elem_type == 1 else np.uint8)
    default, precise = (single_layer.run_onnx(model, batch, setting)[0] for setting in "01")
    found = integer_layers(model)
    assert any(map(_verdict, found)) == (default != precise).any()
    in_float = ("conv, float behind", "conv, sigmoid")
    assert len(found) == (0 if form in in_float or "matters" in form else 1)


@on_avx2
@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.parametrize(("channels", "size", "groups"), [*KERNELS, (8, 3, 2)])
def test_openvino_adds_as_assumed(channels: int, size: int, groups: int, signed: bool) -> None:
    weights = np.random.default_rng(4).integers(-127, 128, (16, size * size, channels), np.int8)
    probe = single_layer.OpenVinoConv(weights, size, groups, signed)
    (found,) = probe.layers()
    np.testing.assert_array_equal(found.weights, weights)
    assert found.activations_dtype == ("int8" if signed else "uint8")
    differ = 0
    for values in _inputs(weights):
        exact = (values.astype(np.int32) * weights).sum((1, 2))
        added = exact if found.exact else kernel(values, weights, found.pairs)
        np.testing.assert_array_equal(probe.sums(values), added)
        differ += int((added != exact).any())
    assert (differ > 0) == _verdict(found) == (groups < 16)


@pytest.mark.parametrize("delegate", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_tflite_adds_exactly(kind: Any, delegate: bool, tmp_path: Path) -> None:
    """On any processor: what the check says of TFLite files."""
    inner = 1 if kind == "depthwise" else 8
    positions = 9 if kind != "dense" else 1
    weights = np.random.default_rng(4).integers(-127, 128, (16, positions, inner), np.int8)
    for values in _inputs(weights)[:4]:
        exact = (values.astype(np.int32) * weights).sum((1, 2))
        file = tmp_path / "one.tflite"
        single_layer.write_tflite(file, kind, weights, exact)
        np.testing.assert_array_equal(single_layer.run_tflite(file, kind, values, delegate), 0)
    facts = portability.check(file)
    assert facts is not None and facts.verdict == "does not apply" and not facts.remedies
    (entry,) = facts.layers
    assert (entry.kind, entry.can_overflow, entry.channels) == (kind, False, 16)


@pytest.mark.slow
@pytest.mark.skipif(why_no_saturation() is None, reason="the tests above run on this processor")
def test_the_same_on_an_emulated_haswell() -> None:
    """A processor with AVX2 alone, where this one has VNNI: none of the tests above is left out."""
    needs.require("qemu-x86_64-static")
    ended = subprocess.run(
        ["qemu-x86_64-static", "-cpu", "Haswell", sys.executable, "-m", "pytest", __file__,
         "-q", "-p", "no:cacheprovider", "-k", "as_assumed or forms_that or by_hand"],
        env=environment(**{EMULATED: "1"}), capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:]
    summary = ended.stdout.splitlines()[-1]
    assert "skipped" not in summary and int(summary.split(" passed")[0].split()[-1]) > 50, summary


def _byte(difference: np.ndarray) -> np.ndarray:
    """As an output of scale 1 around 0 shows it."""
    return np.asarray(np.clip(difference, -128, 127))


# Files


def test_files_quantized_by_hand(tmp_path: Path) -> None:
    """quantize_static per channel: exactly the layers that the default session gets wrong."""
    file = single_layer.quantize_by_hand(tmp_path)
    facts = inspect(file).portability
    assert facts is not None
    flagged = {layer.name for layer in facts.layers if layer.can_overflow}
    assert flagged == {"first", "same_sign", "dense"}
    assert {layer.name: layer.kind for layer in facts.layers} == {
        "first": "conv", "depthwise": "depthwise", "alternating": "conv", "same_sign": "conv",
        "dense": "dense",
    }  # fmt: skip
    assert facts.verdict == "can overflow" and facts.runtime == "onnxruntime"
    assert any("x64quantprecision" in text for text in facts.remedies)
    worst = max(layer.worst_pair_sum or 0 for layer in facts.layers)
    assert 1.2 * portability.LIMIT < worst <= 255 * 254
    reason = why_no_saturation()
    if reason is not None:
        pytest.skip(f"the layers are right; that they differ cannot be seen: {reason}")
    assert single_layer.layers_that_differ(file) == flagged


def test_weights_that_are_rounded_when_the_file_loads(tmp_path: Path) -> None:
    """AddQDQPairToWeight keeps them in float; onnxruntime computes in the same integers."""
    plain = inspect(single_layer.quantize_by_hand(tmp_path))
    pairs = inspect(single_layer.quantize_by_hand(tmp_path, AddQDQPairToWeight=True))
    assert pairs.ops["QuantizeLinear"] == plain.ops["QuantizeLinear"] + 5
    assert pairs.portability == plain.portability and plain.portability is not None
    assert pairs.float_ops == ()


def test_dynamically_quantized(tmp_path: Path) -> None:
    """Ranges of activations are found as the file runs; its products are of integers."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    single_layer.quantize_by_hand(tmp_path)
    file = tmp_path / "dynamic.onnx"
    quantize_dynamic(tmp_path / "float.onnx", file, weight_type=QuantType.QInt8)
    facts = inspect(file)
    assert facts.portability is not None
    assert facts.quantized and not {"Conv", "MatMul", "Gemm"} & set(facts.float_ops)
    layers = {layer.name: layer for layer in facts.portability.layers}
    assert set(layers) == {"first", "depthwise", "alternating", "same_sign", "dense"}
    assert [name for name, layer in layers.items() if layer.can_overflow] == ["dense"]
    said = run_cli("inspect", file).stdout
    assert "1 of 5 8-bit layers can overflow" in " ".join(said.split())
    refused = run_cli("explain", file, "--float", file, "--preprocessing", "tf").error(3)
    assert "computes with ConvInteger, MatMulInteger" in refused


def test_layers_with_a_bias_in_float(tmp_path: Path) -> None:
    """onnxruntime rounds it when it loads the file: such layers compute in integers."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    file = single_layer.quantize_by_hand(tmp_path)
    model = onnx.load(file)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            width = 16 if node.op_type == "Conv" else 10
            bias = numpy_helper.from_array(np.full(width, 0.1, np.float32), f"{node.output[0]}/b")
            model.graph.initializer.append(bias)
            node.input.append(bias.name)
    onnx.save(model, file)
    facts = inspect(file)
    assert facts.portability is not None
    assert facts.float_ops == () and len(facts.portability.layers) == 5
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "o.onnx"), 3
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]
    assert kinds.count("QLinearConv") == 4 and not {"Conv", "Gemm"} & set(kinds)


@pytest.mark.parametrize("format", FORMATS)
def test_our_own_files(exported: Exported, format: str) -> None:
    facts = inspect(exported.path(format, "int8")).portability
    assert facts is not None
    assert facts.verdict == ("does not apply" if format == "tflite" else "safe")
    assert facts.remedies == ()
    kinds = [layer.kind for layer in facts.layers]
    assert kinds.count("depthwise") == 13 and len(kinds) == 28
    assert facts.layers[0].name.startswith("conv1")
    assert len({layer.name for layer in facts.layers}) == 28
    sums = [layer.worst_pair_sum or 0 for layer in facts.layers if layer.kind == "conv"]
    if format == "tflite":
        assert max(sums) > portability.LIMIT, "these weights would overflow elsewhere"
    else:
        assert 0.9 * portability.LIMIT < max(sums) <= portability.LIMIT
    assert inspect(exported.path(format, "float32")).portability is None


def test_table(tmp_path: Path, exported: Exported) -> None:
    ended = run_cli("inspect", single_layer.quantize_by_hand(tmp_path))
    assert "3 of 5 8-bit layers can overflow" in ended.stdout
    assert "same_sign" in ended.stdout and "session.x64quantprecision" in ended.stdout
    assert "alternating" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    for format, words in (("tflite", "does not apply"), ("onnx", "none of 28 8-bit layers")):
        text = run_cli("inspect", exported.path(format, "int8")).stdout
        assert words in " ".join(text.split()) and "can overflow" not in text
