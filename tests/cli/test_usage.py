"""What a user gets wrong on the command line: one sentence and exit code 2 or 3, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgezoo.core import registry
from tests.conftest import run_cli

EXPORT = ("export", "mobilenet", "--weights", "random", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "mobilnet"), ("mobilnet", "Did you mean mobilenet")),
        (("export", "resnet-50"), ("resnet-50", "resnet50")),
        (("export", "zebra"), ("zebra", "Known: ", "mobilenet", "vgg16")),
        (("show", "densnet121"), ("densenet121",)),
        (("show", "README.md"), ("README.md", "`edgezoo inspect README.md`")),
        (("export", "docs"), ("The folder of that name has no SavedModel (saved_model.pb).",)),
        (("export", "a" * 300), ("There is no model 'aaa",)),
        (("list", "qqq"), ("qqq",)),
        (("list", "--min-top1", "nan"), ("--min-top1", "nan is not a number")),
        (
            ("recommend", "a", "--max-latency-ms", "nan"),
            ("--max-latency-ms", "nan is not a number"),
        ),
        (("exprt", "mobilenet"), ("exprt", "export")),
        (("export", "mobilenet", "--alhpa", "0.5"), ("--alhpa", "--alpha")),
        (("export", "mobilenet", "--int4"), ("--int4", "--int8")),
        (("export",), ("MODEL",)),
        (("cache",), ("No action was given. Known: info, clear.",)),
        (("samples",), ("No action was given. Known: fetch, info.",)),
        (("completion",), ("No shell was given.", "bash")),
        (("cache", "empty"), ("There is no action 'empty'. Known: info, clear.",)),
        (("list", "--sort", "top"), ("There is no --sort 'top'. Did you mean top1?",)),
        (("doctor", "please"), ("extra argument (please). See edgezoo doctor --help.",)),
        (("export", "mobilenet", "--alpha"), ("--alpha",)),
        (("export", "mobilenet", "--alpha", "half"), ("--alpha", "half")),
        (("export", "mobilenet", "mobilenet"), ("twice",)),
        ((*EXPORT, "--alpha", "0"), ("--alpha", "0", "above 0")),
        ((*EXPORT, "--alpha", "-1"), ("--alpha", "-1", "above 0")),
        ((*EXPORT, "--alpha", "nan"), ("--alpha", "nan")),
        ((*EXPORT, "--alpha", "inf"), ("--alpha", "inf")),
        ((*EXPORT, "--alpha", "0.001"), ("--alpha", "0.001")),
        ((*EXPORT, "--input-size", "31"), ("31", "32")),
        ((*EXPORT, "--input-size", "0"), ("0", "32")),
        ((*EXPORT, "--input-size", "-160"), ("-160", "32")),
        ((*EXPORT, "--depth-multiplier", "0"), ("--depth-multiplier", "0")),
        ((*EXPORT, "--depth-multiplier", "-2"), ("--depth-multiplier", "-2")),
        ((*EXPORT, "--format", "tflit"), ("tflit", "Did you mean tflite")),
        ((*EXPORT, "--format", "coreml"), ("coreml", "onnx", "openvino")),
        ((*EXPORT, "--precision", "int9"), ("int9", "Did you mean int8")),
        ((*EXPORT, "--precision", "float64"), ("float64", "float32")),
        ((*EXPORT, "--int8", "--io", "uint9"), ("uint9", "uint8")),
        ((*EXPORT, "--input", "pixel"), ("pixel", "pixels")),
        ((*EXPORT, "--int8", "--calibration-count", "0"), ("--calibration-count",)),
        ((*EXPORT, "--verify-images", "1"), ("--verify-images",)),
        ((*EXPORT, "--min-agreement", "0.9", "--no-verify"), ("--min-agreement", "--no-verify")),
        ((*EXPORT, "--ground-truth", "a.txt"), ("--ground-truth", "--images")),
        ((*EXPORT, "--calibration", "none", "--no-verify"), ("--calibration none", "Add --int8")),
        ((*EXPORT, "--effort", "best"), ("--effort best", "Add --int8.")),
        ((*EXPORT, "--granularity", "per-tensor"), ("--granularity per-tensor", "--int8")),
        (("benchmark", "mobilenet", "--limit", "9", "--dry-run"), ("--limit", "--images")),
        (("benchmark", "mobilnet"), ("mobilnet", "Did you mean mobilenet, mobilenetv2 or")),
        (("benchmark", "mobilenet", "--threads", "9999", "--dry-run"), ("9999", "1 to 256")),
        (("classify", "a.tflite", "a.jpg", "--threads", "9999"), ("9999", "1<=x<=256")),
        (("finetune", "mobilnet", "--data", "nowhere"), ("mobilnet", "mobilenet")),
        (("finetune", "mobilenet", "--data", "nowhere", "-o", "a.h5"), ("a.h5.keras",)),
        ((*EXPORT, "--min-agreement", "90"), ("--min-agreement", "90")),
        (("export", "vgg16", "--weights", "random", "--alpha", "0.5"), ("vgg16", "--alpha")),
        (("export", "xception", "--weights", "random", "--input-size", "64"), ("64", "71")),
        (("inspect", "pyproject.toml"), ("pyproject.toml", ".tflite")),
        (("classify", "a.tflite", "a.jpg", "--device", "gup"), ("gup", "Did you mean gpu")),
        (("benchmark", "a.tflite", "--device", "cpu,corl"), ("corl", "Did you mean coral")),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    message = run_cli(*arguments).error(2)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--depth-multiplier", "2"), ("depth multiplier 2", "random")),
        (("--alpha", "0.6"), ("0.6", "0.25, 0.5, 0.75, 1", "random")),
    ],
)
def test_no_imagenet_weights_for_that(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    message = run_cli("export", "mobilenet", *arguments, "--dry-run").error(3)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "arguments",
    [
        ("--precision", "float32", "--io", "uint8"),
        ("--int8", "--io", "int8", "--format", "onnx"),
        ("--int8", "--io", "int8", "--format", "openvino"),
    ],
)
def test_refused_combination(arguments: tuple[str, ...]) -> None:
    message = run_cli(*EXPORT, *arguments).error(3)
    assert "--io" in message and "mobilenet" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "docs"), "docs is a folder, not a file. Name a file."),
        (("inspect", "/dev/null"), "/dev/null is a device or a pipe, not a file. Name a file."),
        (("inspect", "no.tflite"), "There is no file no.tflite. Check the path."),
        (("inspect", "a" * 300), f"There is no file {'a' * 300}. Check the path."),
        (("export", f"{'a' * 300}.h5"), f"There is no file {'a' * 300}.h5. Check the path."),
        (
            ("finetune", "mobilenet", "--data", "README.md"),
            "README.md is a file, not a folder. Give a folder with a folder per class.",
        ),
        (
            (*EXPORT, "--classes", "9", "--labels", "no.txt"),
            "The labels file no.txt cannot be read: No such file or directory. "
            "Give a text file with a class name a line.",
        ),
        (
            ("benchmark", "no.toml"),
            "no.toml cannot be read: No such file or directory. See docs/benchmarking.md.",
        ),
    ],
)
def test_wrong_path(arguments: tuple[str, ...], message: str) -> None:
    assert run_cli(*arguments).error(5) == message


def test_training_into_a_folder_is_refused_before_it_begins(tmp_path: Path) -> None:
    place = tmp_path / "net.keras"
    place.mkdir()
    assert "is a folder" in run_cli("finetune", "mobilenet", "--data", "docs", "-o", place).error(2)


def test_errors_are_json_too() -> None:
    ended = run_cli("export", "mobilnet", "--json")
    assert ended.code == 2
    error = ended.json["error"]
    assert error["exit_code"] == 2
    assert "mobilnet" in error["message"] and "mobilenet" in error["hint"]
    assert ended.error(2) == f"{error['message']} {error['hint']}"


def test_debug_shows_the_traceback() -> None:
    ended = run_cli("export", "mobilnet", "--debug")
    assert ended.code == 2
    assert "Traceback" in ended.stderr


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "made"
    ended = run_cli(*EXPORT, "--alpha", "0.5", "--precision", "float32,int8", "--json",
                    "-o", output, cwd=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []
    assert ended.json["dry_run"] is True
    (plan,) = ended.json["plans"]
    assert len(plan["artifacts"]) == 6
    assert plan["cpu_seconds_about"] > 0
    large, small = (
        next(e["bytes_about"] for e in plan["artifacts"] if e["precision"] == precision)
        for precision in ("float32", "int8")
    )
    assert 3 < large / small < 4.2
    assert all(Path(entry["path"]).parent == output for entry in plan["artifacts"])


def test_dry_run_speaks_of_what_it_would_make(tmp_path: Path) -> None:
    ended = run_cli(*EXPORT, "--int8", "--format", "tflite", cwd=tmp_path)
    assert ended.code == 0
    assert "mobilenet_1_224_untrained_int8.tflite" in ended.stdout
    assert ended.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_list() -> None:
    models = run_cli("list", "--json").json["models"]
    assert {model["model"] for model in models} == set(registry.models())
    assert {"model", "parameters", "depth", "size_mb", "top1", "top5", "default_input_size",
            "min_input_size", "preprocessing"} <= models[0].keys()  # fmt: skip
    names = {model["model"] for model in models}
    assert {"mobilenet", "nasnetlarge", "inceptionresnetv2"} <= names
    some = run_cli("list", "DENSE*", "--json").json["models"]
    assert [model["model"] for model in some] == ["densenet121", "densenet169", "densenet201"]
    table = run_cli("list").stdout.splitlines()
    assert any(line.startswith("densenet121 ") for line in table)
    assert max(map(len, table)) <= 80 and len(table) == len(models) + 3


def _names(*options: str) -> list[str]:
    ended = run_cli("list", *options, "--json")
    assert ended.code == 0, ended.stderr
    return [model["model"] for model in ended.json["models"]]


def test_list_answers_which_model_to_use() -> None:
    """Small and accurate enough: the bounds hold together, the best comes first."""
    best = _names("--max-size", "6", "--min-top1", "0.75", "--sort", "top1")
    assert best == ["efficientnetb0", "efficientnet_lite1", "mobilenetv3large",
                    "efficientnet_lite0"]  # fmt: skip
    light = _names("--max-multiply-adds", "400", "--sort", "multiply-adds")
    assert light[:2] == ["mobilenetv3small", "mobilenetv3large"]
    assert light[-1] == "efficientnetb0" and "mobilenet" not in light
    assert _names("--max-parameters", "3") == ["mobilenetv3small"]
    # The same bound on another precision: four times the bytes.
    assert _names("--max-size", "12", "--precision", "float32") == ["mobilenetv3small"]
    assert "criteria" in run_cli("list", "vgg*", "--max-size", "20").error(2)


def test_list_marks_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96.h5").touch()
    ended = run_cli("list", "mobilenet*", "--json", KERAS_HOME=str(tmp_path))
    here = {model["model"]: model["weights_here"] for model in ended.json["models"]}
    assert here["mobilenetv2"] and not here["mobilenet"] and not here["mobilenetv3small"]
    ended = run_cli("list", "mobilenet*", "--with-weights", "--json", KERAS_HOME=str(tmp_path))
    assert [model["model"] for model in ended.json["models"]] == ["mobilenetv2"]


def test_show() -> None:
    facts = run_cli("show", "MobileNet", "--json").json
    assert facts["model"] == "mobilenet"
    assert facts["parameters"] == 4_253_864
    assert (facts["default_input_size"], facts["min_input_size"]) == (224, 32)
    assert facts["alphas_with_imagenet_weights"] == [0.25, 0.5, 0.75, 1.0]
    assert facts["formats"] == ["onnx", "openvino", "tflite"]
    assert "4,253,864" in run_cli("show", "mobilenet").stdout


def test_help_and_version() -> None:
    ended = run_cli("--help")
    assert ended.code == 0
    for command in ("classify", "doctor", "evaluate", "export", "inspect", "list", "verify"):
        assert f"\n  {command} " in ended.stdout
        assert run_cli(command, "--help").code == 0
    from edgezoo import __version__

    assert __version__ in run_cli("--version").stdout


def test_doctor() -> None:
    facts = run_cli("doctor", "--json").json
    assert {r["name"] for r in facts["runtimes"]} >= {"litert", "onnxruntime", "openvino"}
    assert facts["machine"]["cores"] >= 1
    for problem in facts["problems"]:
        assert problem["what"] and problem["fix"]
