"""Vela compiles what EdgeZoo exports, wholly; what it would only copy is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core import registry, typed_json
from edgezoo.core.errors import RefusedError
from edgezoo.inspection.compile_file import compile_artifact, estimate
from edgezoo.inspection.inspect_file import inspect
from tests.conftest import SHARED, Ended, Exported, run_cli
from tests.docs.test_schemas import check
from tests.support import coral

CONFIGURATIONS = [name for name in registry.targets() if name.startswith("ethos-u")]
FAST = ("ethos-u55-128", "ethos-u65-512", "ethos-u85-256")


def test_every_configuration_of_vela_is_a_target() -> None:
    pytest.importorskip("ethosu")
    from ethosu.vela.architecture_features import Accelerator

    assert set(CONFIGURATIONS) == set(Accelerator.member_list())


@pytest.mark.parametrize("target", FAST)
def test_all_operations_on_the_npu(exported: Exported, tmp_path: Path, target: str) -> None:
    facts = compile_artifact(exported.path("tflite", "int8"), target, output=tmp_path)
    check("compile", typed_json.encode(facts))
    assert facts.cpu_ops == 0
    assert facts.npu_ops == sum(inspect(exported.path("tflite", "int8")).ops.values())
    assert list(tmp_path.iterdir()) == [facts.path]
    expected = facts.estimate
    assert expected is not None
    assert expected.source.startswith("Vela estimate") and target in expected.source
    assert 0 < expected.inference_ms < 10
    milliseconds = expected.cycles / (expected.clock_mhz * 1e3)
    assert expected.inference_ms == pytest.approx(milliseconds, rel=0.01)
    assert expected.sram_kib > 1


def test_compiled_file_is_recognised(exported: Exported, tmp_path: Path) -> None:
    source = exported.path("tflite", "int8")
    made = compile_artifact(source, "ethos-u55-128", output=tmp_path).path
    facts = inspect(made)
    assert facts.ops == {"ethos-u": 1}
    assert facts.compiled == {"target": "ethos-u", "accelerator_ops": 1}
    assert (facts.contract or {})["model"] == "mobilenet", "the contract goes on with the file"
    with pytest.raises(RefusedError, match="Ethos-U and runs nowhere else"):
        registry.runtime_for(made).open(registry.load_artifact(made))


def test_float_file_is_refused_not_copied(
    exported: Exported, tmp_path: Path, cli: Callable[..., Ended]
) -> None:
    """Vela itself ends with exit code 0 and writes a file."""
    ended = cli("compile", exported.path("tflite", "float32"), "--target", "ethos-u55-128",
                "-o", tmp_path)  # fmt: skip
    assert "No operation" in ended.error(3)
    assert list(tmp_path.iterdir()) == []


def test_placement(exported: Exported) -> None:
    facts = inspect(exported.path("tflite", "int8"), target="ethos-u55-128").target
    assert facts is not None
    assert (facts.cpu_ops, facts.subgraphs) == ((), 1)
    floating = inspect(exported.path("tflite", "float32"), target="ethos-u55-128").target
    assert floating is not None and floating.mapped == floating.subgraphs == 0
    assert "Float32" in floating.cpu_ops[0].reason


def test_a_network_that_is_cut(tmp_path: Path) -> None:
    """Vela splits operations; what is told are the file's own: 72, of which one is refused."""
    coral.require()
    file = coral.CORAL / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    placed = inspect(file, target="ethos-u55-128").target
    assert placed is not None
    assert (placed.mapped, len(placed.cpu_ops), placed.subgraphs) == (71, 1, 2)
    facts = compile_artifact(file, "ethos-u55-128", output=tmp_path)
    assert (facts.npu_ops, facts.cpu_ops) == (71, 1)
    run_cli("compile", file, "--target", "ethos-u55-128", "--min-offload", "0.99",
            "-o", tmp_path / "more").error(6)  # fmt: skip
    compiled = inspect(facts.path).compiled
    assert compiled is not None and compiled["accelerator_ops"] == placed.subgraphs


def test_a_name_that_begins_with_a_dash(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-x.tflite").write_bytes(exported.path("tflite", "int8").read_bytes())
    monkeypatch.chdir(tmp_path)
    facts = compile_artifact(Path("-x.tflite"), "ethos-u55-128", output=tmp_path / "made")
    assert facts.cpu_ops == 0


def test_estimate_as_data(exported: Exported) -> None:
    facts = estimate(exported.path("tflite", "int8"), "ethos-u85-256")
    assert facts.source.startswith("Vela estimate")
    assert (facts.target, facts.cpu_ops) == ("ethos-u85-256", 0)
    assert facts.inference_ms > 0 and facts.cycles > 0 and facts.sram_kib > 0


def test_other_formats_are_refused(exported: Exported, cli: Callable[..., Ended]) -> None:
    ended = cli("compile", exported.path("onnx", "int8"), "--target", "ethos-u55-128")
    assert "takes tflite files" in ended.error(3)


@pytest.mark.slow
@pytest.mark.imagenet
def test_every_configuration_takes_the_whole_mobilenet(tmp_path: Path) -> None:
    made = run_cli("export", "mobilenet", "--alpha", "0.25", "--input-size", "128",
                   "--target", "ethos-u55-128", "--no-verify", "--json", "-o", tmp_path,
                   KERAS_HOME=str(SHARED / "keras"))  # fmt: skip
    (artifact,) = made.json["artifacts"]
    assert artifact["input"]["dtype"] == "int8"
    for target in CONFIGURATIONS:
        facts = compile_artifact(artifact["path"], target)
        assert (facts.cpu_ops, facts.remarks) == (0, ()), target
