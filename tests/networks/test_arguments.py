"""Arguments of a network: completed, refused in words before anything heavy, and told in names."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.spec import BuildArguments
from edgezoo.networks.arguments import complete, side, taken_from, words
from edgezoo.pipeline.plan import resolve
from edgezoo.pipeline.request import ExportRequest
from tests.conftest import Trained, run_cli


def _complete(model: str, **given: Any) -> BuildArguments:
    return complete(registry.model(model), BuildArguments(**given))


def test_defaults() -> None:
    assert _complete("mobilenet") == BuildArguments(
        input_size=224, classes=1000, alpha=1.0, depth_multiplier=1
    )
    assert _complete("mobilenetv2", alpha=0.35).alpha == 0.35
    assert _complete("vgg16", include_top=False, pooling="none", input_size=48) == BuildArguments(
        input_size=48, include_top=False
    )
    assert _complete("vgg19", output_layer="block4_pool").classes is None


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        ("mobilenetv2", {"depth_multiplier": 2}, "mobilenetv2 has no --depth-multiplier"),
        ("resnet50v2", {"alpha": 0.5}, "resnet50v2 has no --alpha"),
        ("vgg16", {"dropout": 0.1}, "vgg16 has no --dropout"),
        ("resnet50", {"blocks": (1, 1, 1, 1)}, "Models with it: densenet121, densenet169"),
        ("densenet121", {"blocks": (6, 12, 24)}, "does not fit densenet121"),
        ("densenet121", {"blocks": (6, 12, 24, 0)}, "integers of 1 or more"),
        ("mobilenet", {"alpha": 0.03}, "without channels"),
        ("mobilenet", {"alpha": -1.0}, "not a width"),
        ("mobilenet", {"dropout": 1.0}, "not a rate"),
        ("mobilenet", {"pooling": "avg"}, "Add --no-top"),
        ("mobilenet", {"pooling": "mean", "include_top": False}, "no --pooling 'mean'"),
        ("mobilenet", {"include_top": False, "classes": 10}, "--classes belongs to the top"),
        ("mobilenet", {"include_top": False, "dropout": 0.1}, "--dropout belongs to the top"),
        ("mobilenet", {"include_top": False, "pooling": "max", "output_layer": "conv1"}, "removes"),
        ("mobilenet", {"classes": 10, "output_layer": "conv1"}, "--output-layer removes"),
        ("mobilenet", {"classes": 1}, "2 or more"),
    ],
)
def test_refused(model: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        _complete(model, **given)
    assert says in str(caught.value)


@pytest.mark.parametrize("model", registry.models())
def test_each_family_refuses_what_is_below_its_smallest_size(model: str) -> None:
    least = registry.model(model).min_input_size
    assert _complete(model, input_size=least).input_size == least
    with pytest.raises(UsageError) as caught:
        _complete(model, input_size=least - 1)
    assert str(caught.value) == (
        f"{model} cannot take {least - 1} px images. Its smallest input size is {least} px."
    )


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        ("mobilenet", {"classes": 10}, "--classes 10 does not fit the top of the ImageNet weights"),
        ("mobilenet", {"depth_multiplier": 2}, "depth multiplier 2"),
        ("densenet121", {"blocks": (2, 2, 2, 2)}, "no ImageNet weights for --blocks 2,2,2,2"),
        ("vgg16", {"input_size": 64}, "add --no-top"),
    ],
)
def test_no_such_imagenet_weights(model: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        resolve(ExportRequest(model, BuildArguments(**given)))
    assert says in str(caught.value)


@pytest.mark.parametrize("option", ["min_agreement", "max_drop_points"])
def test_features_have_no_classes_to_bound(option: str, tmp_path: Path) -> None:
    bound: dict[str, Any] = {
        option: 0.5,
        "images": tmp_path if option == "max_drop_points" else None,
    }
    request = ExportRequest("mobilenet", BuildArguments(include_top=False), weights="random",
                            precisions=("int8",), **bound)  # fmt: skip
    with pytest.raises(
        UsageError, match=rf"--{option.removesuffix('_points').replace('_', '-')} needs classes"
    ):
        resolve(request)


def test_tflite_takes_no_nchw() -> None:
    """Named, it is refused; of all formats, the others are left."""
    request = ExportRequest("mobilenet", weights="random", input_layout="nchw", formats=("tflite",))
    with pytest.raises(RefusedError, match="NHWC alone"):
        resolve(request)
    plan = resolve(ExportRequest("mobilenet", weights="random", input_layout="nchw"))
    assert [(job.format, job.layout) for _, job in plan.jobs] == [
        ("onnx", "NCHW"), ("openvino", "NCHW")
    ]  # fmt: skip
    assert plan.skipped and all("tflite" in text for text in plan.skipped)
    with pytest.raises(UsageError, match=r"--input-layout 'nhcw'.* Did you mean nhwc or nchw"):
        resolve(ExportRequest("mobilenet", weights="random", input_layout="nhcw"))


def test_names_of_files_tell_networks_apart() -> None:
    """Two networks that differ never share a name, and so neither a file nor a manifest."""
    small: dict[str, Any] = {"input_size": 64}
    networks: list[tuple[str, dict[str, Any]]] = [
        ("mobilenet", {}),
        ("mobilenet", {"alpha": 0.5}),
        ("mobilenet", {"depth_multiplier": 2}),
        ("mobilenet", {"dropout": 0.5}),
        ("mobilenet", {"classes": 10}),
        ("mobilenet", {"include_top": False}),
        ("mobilenet", {"include_top": False, "pooling": "avg"}),
        ("mobilenet", {"include_top": False, "pooling": "max"}),
        ("densenet121", {}),
        ("densenet121", {"blocks": (1, 2, 3, 4)}),
    ]
    stems = [
        resolve(ExportRequest(name, BuildArguments(**small, **given), weights="random")).stem
        for name, given in networks
    ]
    assert len(set(stems)) == len(stems)
    assert "mobilenet_1_notop_avg_64_untrained" in stems
    assert words(_complete("vgg19", output_layer="block4_pool")) == ["block4_pool"]


def test_arguments_of_python() -> None:
    options: dict[str, Any] = {"input_size": 96, "alpha": 0.5, "formats": ("onnx",)}
    assert taken_from(options) == BuildArguments(input_size=96, alpha=0.5)
    assert options == {"formats": ("onnx",)}
    for size, shape in ((None, (96, 96, 3)), (96, (96, 96, 3)), (96, None), ("96", None)):
        assert side(size, shape) == (96, None)
    for wide, shape in ((None, (96, 64, 3)), ("96x64", None), ((96, 64), None)):
        assert side(wide, shape) == (96, 64)
    for wrong in ((96, 96, 1), (96, 96), (None, None, 3)):
        with pytest.raises(UsageError, match="not that of RGB"):
            side(None, wrong)
    for no_size in ("96x", "x", "-3", "0", (96,), 0):
        with pytest.raises(UsageError, match="not a size"):
            side(no_size, None)
    with pytest.raises(UsageError, match="contradict"):
        side(64, (96, 96, 3))


def test_way_through_json() -> None:
    given = _complete("densenet121", blocks=(1, 2, 3, 4), input_size=64)
    assert BuildArguments.from_json(json.loads(json.dumps(asdict(given)))) == given


# In the words of the command line; each takes a child process that builds the network or not


def test_sizes_are_not_known_before_building(tmp_path: Path) -> None:
    ended = run_cli("export", "densenet121", "--blocks", "1,1,1,1", "--weights", "random",
                    "--input-size", "32", "--dry-run", "--json", cwd=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.stderr
    (plan,) = ended.json["plans"]
    assert plan["parameters"] is None
    assert {entry["bytes_about"] for entry in plan["artifacts"]} == {None}
    assert list(tmp_path.iterdir()) == []


def test_blocks_are_numbers() -> None:
    assert "list of integers" in run_cli("export", "densenet121", "--blocks", "6,x").error(2)


def test_layer_that_is_not_there(tmp_path: Path) -> None:
    ended = run_cli("export", "mobilenet", "--alpha", "0.25", "--weights", "random",
                    "--output-layer", "conv_pw_5_rel", "--dry-run", cwd=tmp_path)  # fmt: skip
    message = ended.error(2)
    assert message.startswith("mobilenet has no layer 'conv_pw_5_rel'. Did you mean conv_pw_5_relu")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_network(trained: Trained, tmp_path: Path) -> None:
    """The tensor that does not fit is named, and nothing is left behind."""
    ended = run_cli("export", "mobilenet", "--alpha", "0.5", "--input-size", "32", "--weights",
                    trained.weights, "--format", "tflite", "-o", tmp_path / "made")  # fmt: skip
    message = ended.error(5)
    assert "does not contain the weights of this mobilenet: tensor " in message
    assert "3 x 3 x 3 x 8, the network's conv1/kernel takes 3 x 3 x 3 x 16" in message
    assert not list((tmp_path / "made").glob("*"))
