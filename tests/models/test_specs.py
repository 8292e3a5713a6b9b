"""The model tables and the class table, against the installed Keras' source where there is one.

That source is parsed and never imported: TensorFlow stays out of these tests.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import edgezoo.models
from edgezoo.core import typed_json
from edgezoo.core.spec import NORMALIZATIONS, RESIZE_FILTERS, ModelSpec, WeightsFile
from edgezoo.images.imagenet_classes import classes
from edgezoo.networks import catalogue

SHARED = Path(__file__).resolve().parents[3] / "shared"

# name: parameters, default size, minimum size, preprocessing, depth, MB, top-1, top-5
PUBLISHED: dict[str, tuple[int, int, int, str, int, float, float, float | None]] = {
    "xception": (22_910_480, 299, 71, "tf", 81, 88, 0.790, 0.945),
    "vgg16": (138_357_544, 224, 32, "caffe", 16, 528, 0.713, 0.901),
    "vgg19": (143_667_240, 224, 32, "caffe", 19, 549, 0.713, 0.900),
    "resnet50": (25_636_712, 224, 32, "caffe", 107, 98, 0.749, 0.921),
    "inceptionv3": (23_851_784, 299, 75, "tf", 189, 92, 0.779, 0.937),
    "inceptionresnetv2": (55_873_736, 299, 75, "tf", 449, 215, 0.803, 0.953),
    "mobilenet": (4_253_864, 224, 32, "tf", 55, 16, 0.704, 0.895),
    "densenet121": (8_062_504, 224, 32, "torch", 242, 33, 0.750, 0.923),
    "densenet169": (14_307_880, 224, 32, "torch", 338, 57, 0.762, 0.932),
    "densenet201": (20_242_984, 224, 32, "torch", 402, 80, 0.773, 0.936),
    "nasnetmobile": (5_326_716, 224, 32, "tf", 389, 23, 0.744, 0.919),
    "nasnetlarge": (88_949_818, 331, 32, "tf", 533, 343, 0.825, 0.960),
    "mobilenetv2": (3_538_984, 224, 32, "tf", 105, 14, 0.713, 0.901),
    "mobilenetv3small": (2_554_968, 224, 32, "raw", 88, 9.7, 0.681, None),
    "mobilenetv3large": (5_507_432, 224, 32, "raw", 110, 21, 0.756, None),
    "efficientnetb0": (5_330_571, 224, 32, "raw", 132, 29, 0.771, 0.933),
    "efficientnetv2b0": (7_200_312, 224, 32, "raw", 151, 29, 0.787, 0.943),
    "resnet50v2": (25_613_800, 224, 32, "tf", 103, 98, 0.760, 0.930),
    "efficientnet_lite0": (4_694_024, 224, 32, "tf", 99, 17.9, 0.751, None),
    "efficientnet_lite1": (5_470_344, 240, 32, "tf", 129, 20.9, 0.767, None),
    "efficientnet_lite2": (6_150_168, 260, 32, "tf", 129, 23.5, 0.776, None),
}


def _all_specs() -> Iterator[ModelSpec]:
    for module in pkgutil.iter_modules(edgezoo.models.__path__):
        if not module.name.startswith("_"):
            yield from importlib.import_module(f"edgezoo.models.{module.name}").SPECS


SPECS = tuple(_all_specs())
KERAS_SPECS = tuple(spec for spec in SPECS if isinstance(spec.weights, WeightsFile))
each_model = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
each_keras_model = pytest.mark.parametrize("spec", KERAS_SPECS, ids=lambda spec: spec.name)


# The tables by themselves


def test_zoo_holds_each_model_once() -> None:
    names = [spec.name for spec in SPECS]
    assert sorted(names) == sorted(PUBLISHED)
    assert all(name == name.lower() for name in names)
    assert all(spec.name.replace("_", "") == spec.keras_name.lower() for spec in SPECS)


@each_model
def test_published_figures(spec: ModelSpec) -> None:
    assert (
        spec.parameters,
        spec.default_input_size,
        spec.min_input_size,
        spec.preprocessing,
        spec.depth,
        spec.size_mb,
        spec.top1,
        spec.top5,
    ) == PUBLISHED[spec.name]


@each_model
def test_figures_are_plausible(spec: ModelSpec) -> None:
    assert 0 < spec.min_input_size <= spec.default_input_size
    assert 0 < spec.top1 < (spec.top5 or 1) <= 1
    assert spec.preprocessing in NORMALIZATIONS and spec.resize.filter in RESIZE_FILTERS
    # float32 weights in MiB; the files hold some more than the parameters, EfficientNetB0's most.
    assert 0.95 <= spec.size_mb / (spec.parameters * 4 / 2**20) <= 1.45
    # Each parameter of a convolution is used at some positions; all are at least once.
    assert spec.parameters * 0.9 < spec.multiply_adds < spec.parameters * 1000
    assert spec.paper.startswith("https://arxiv.org/abs/")
    assert spec.weights_licence
    json.dumps(typed_json.encode(catalogue.describe(spec.name)), allow_nan=False)


@each_keras_model
def test_weights_belong_to_the_model(spec: ModelSpec) -> None:
    assert isinstance(spec.weights, WeightsFile)
    stem = spec.weights.name.removeprefix("weights_").replace("_", "").replace("-", "")
    assert stem.startswith(spec.name)
    assert spec.weights.url.startswith("https://")
    # Keras publishes no hashes of MobileNet's and MobileNetV2's files.
    assert (spec.weights.md5 is None) == (spec.name in ("mobilenet", "mobilenetv2"))


def test_weights_are_distinct() -> None:
    files = [spec.weights for spec in KERAS_SPECS]
    assert len({repr(file) for file in files}) == len(KERAS_SPECS)
    packages = [spec.weights for spec in SPECS if not isinstance(spec.weights, WeightsFile)]
    assert [len({getattr(p, name) for p in packages}) for name in ("package", "sha256")] == [3, 3]


@pytest.mark.parametrize("spec", [s for s in SPECS if s.width], ids=lambda spec: spec.name)
def test_widths(spec: ModelSpec) -> None:
    """Exact where there are weights; in between an estimate that grows with the width."""
    assert spec.width
    assert spec.width.parameters.keys() == spec.width.alpha_codes.keys()
    assert spec.width.parameters[1.0] == spec.parameters == spec.parameter_count()
    counts = [spec.parameter_count(alpha / 20) for alpha in range(1, 41)]
    assert counts == sorted(counts)


# The tables against Keras


def _builder(spec: ModelSpec) -> str:
    """The module with the shared builder of a family."""
    return {"resnet_v2": "resnet"}.get(spec.family, spec.family)


@cache
def _keras_module(name: str) -> ast.Module:
    """The syntax tree of one module of keras.applications; skips where Keras is absent."""
    found = find_spec("keras")
    if found is None or found.origin is None:
        pytest.skip("keras is not installed")
    folder = Path(found.origin).parent / "src" / "applications"
    return ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an expression of names and constants stands for; LookupError for any other."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.JoinedStr(values=parts):
            return "".join(str(_value(part, names)) for part in parts)
        case ast.FormattedValue(value=value):
            return _value(value, names)
        case ast.Tuple(elts=items):
            return tuple(_value(item, names) for item in items)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key}
        case ast.Subscript(value=value, slice=index):
            return _value(value, names)[_value(index, names)]
        case ast.Call(func=ast.Name(id="float"), args=[argument]):
            return float(_value(argument, names))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, names) + _value(right, names)
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            return _value(left, names) % _value(right, names)
    raise LookupError(ast.dump(node))


def _in_order(node: ast.AST, top: bool = True) -> Iterator[ast.AST]:
    """All nodes as they stand in the source, of `if include_top` the branch with or without one."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    match node:
        case ast.If(test=ast.Name(id="include_top")):
            children = node.body if top else node.orelse
    for child in children:
        yield from _in_order(child, top)


def _calls(tree: ast.AST, function: str) -> Iterator[ast.Call]:
    for node in _in_order(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(function):
            yield node


def _downloads(family: str, top: bool = True, **given: object) -> set[tuple[str, str, str | None]]:
    """(cached name, url, md5) of what a family's code fetches, given some variables."""
    names: dict[str, Any] = dict(given)
    files = set()
    for node in _in_order(_keras_module(family), top):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in given:
                try:
                    names[name] = _value(value, names)
                except LookupError:
                    names.pop(name, None)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("get_file"):
            name, url = (_value(argument, names) for argument in node.args[:2])
            options = {option.arg: option.value for option in node.keywords}
            md5 = _value(options["file_hash"], names) if "file_hash" in options else None
            files.add((name, url, md5))
    assert files
    return files


def _default_sizes(tree: ast.AST) -> set[int]:
    """The numbers that a piece of Keras' source gives to `default_size`."""
    sizes = set()
    for node in _in_order(tree):
        match node:
            case (
                ast.keyword(arg="default_size", value=ast.Constant(value=int(size)))
                | ast.Assign(
                    targets=[ast.Name(id="default_size")], value=ast.Constant(value=int(size))
                )
            ):
                sizes.add(size)
    return sizes


@pytest.mark.parametrize("top", [True, False], ids=["top", "no top"])
@each_keras_model
def test_weights_are_those_that_keras_downloads(spec: ModelSpec, top: bool) -> None:
    assert isinstance(spec.weights, WeightsFile)
    file = spec.weights if top else spec.weights.no_top
    assert file is not None
    widths: dict[float, str] = spec.width.alpha_codes if spec.width else {1.0: ""}
    for alpha, code in widths.items():
        for size in spec.width.imagenet_sizes if spec.width else (0,):
            name = file.name.format(alpha=code, size=size)
            url = file.url.format(alpha=code, size=size)
            given = _given(spec, alpha, code, size)
            assert (name, url, file.hash_for(alpha)) in _downloads(_builder(spec), top, **given)


def _given(spec: ModelSpec, alpha: float, code: str, size: int) -> dict[str, object]:
    """The variables of each family's code that choose the file."""
    match spec.family:
        case "mobilenet":
            return {"alpha_text": code, "rows": size}
        case "mobilenet_v2":
            return {"alpha": alpha, "rows": size}
        case "mobilenet_v3":
            kind = spec.name.removeprefix("mobilenetv3")
            return {"model_name": f"{kind}_224_{alpha}_float"}
        case "efficientnet":
            return {"name": spec.name, "weights_name": spec.name[-2:]}
        case "efficientnet_v2":
            return {"name": "efficientnetv2-b0", "weights_name": spec.name[-2:]}
        case _:
            return {"weights_name": spec.name}


@each_keras_model
def test_input_sizes_are_those_of_keras(spec: ModelSpec) -> None:
    tree = _keras_module(_builder(spec))
    calls = list(_calls(tree, "obtain_input_shape"))
    if spec.family == "mobilenet_v3":  # it checks by itself, and weights exist for one size
        assert not calls and "rows < 32" in ast.unparse(tree) and "rows != 224" in ast.unparse(tree)
        assert (spec.min_input_size, spec.default_input_size) == (32, 224)
        return
    options = {option.arg: option.value for option in calls[0].keywords}
    assert _value(options["min_size"], {}) == spec.min_input_size
    builders = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == spec.keras_name
    ]
    if spec.family == "efficientnet":  # width, depth and size by position
        (call,) = _calls(builders[0], "EfficientNet")
        assert [_value(argument, {}) for argument in call.args[:3]] == [1.0, 1.0, 224]
        return
    # Where the function only calls a shared builder, the size stands in the builder.
    sizes = {size for builder in builders for size in _default_sizes(builder)}
    assert (sizes or _default_sizes(tree)) == {spec.default_input_size}


@each_keras_model
def test_preprocessing_is_that_of_keras(spec: ModelSpec) -> None:
    (function,) = (
        node
        for node in _keras_module(spec.family).body
        if isinstance(node, ast.FunctionDef) and node.name == "preprocess_input"
    )
    calls = list(_calls(function, "preprocess_input"))
    if spec.preprocessing == "raw":
        assert not calls and ast.unparse(function.body[-1]) == "return x"
        return
    (call,) = calls
    options = {option.arg: option.value for option in call.keywords}
    assert _value(options["mode"], {}) == spec.preprocessing


@each_keras_model
def test_names_are_public_in_keras(spec: ModelSpec) -> None:
    exported = {
        node.value
        for node in ast.walk(_keras_module(spec.family))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert f"keras.applications.{spec.keras_name}" in exported
    assert f"keras.applications.{spec.family}.preprocess_input" in exported
    assert f"keras.applications.{spec.family}.decode_predictions" in exported


def test_widths_are_those_of_keras() -> None:
    (spec,) = (spec for spec in SPECS if spec.name == "mobilenet")
    assert spec.width
    codes: dict[float, str] = {}
    fallback: list[str] = []
    sizes: list[tuple[int, ...]] = []
    for node in _in_order(_keras_module(spec.family)):
        match node:
            case ast.If(
                test=ast.Compare(left=ast.Name(id="alpha"), comparators=[ast.Constant(value=a)]),
                body=[ast.Assign(targets=[ast.Name(id="alpha_text")], value=text)],
                orelse=rest,
            ):
                codes[float(str(a))] = _value(text, {})
                if rest and isinstance(rest[0], ast.Assign):
                    fallback.append(_value(rest[0].value, {}))
            case ast.Compare(
                left=ast.Name(id="rows"), ops=[ast.In()], comparators=[ast.List(elts=items)]
            ):
                sizes.append(tuple(_value(item, {}) for item in items))
    assert codes | {0.25: fallback[0]} == spec.width.alpha_codes
    assert sizes == [spec.width.imagenet_sizes]
    assert spec.width.fallback_size in spec.width.imagenet_sizes


# The class table


def test_classes_are_sorted_by_wnid() -> None:
    wnids = [wnid for wnid, _ in classes()]
    assert len(wnids) == len(set(wnids)) == 1000
    assert wnids == sorted(wnids)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdecimal() for wnid in wnids)


def test_class_names_are_one_word() -> None:
    assert all(name and not set(name) & set(" \t\r\n") for _, name in classes())


@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench"),
        (1, "n01443537", "goldfish"),
        (134, "n02012849", "crane"),
        (207, "n02099601", "golden_retriever"),
        (285, "n02124075", "Egyptian_cat"),
        (386, "n02504458", "African_elephant"),
        (517, "n03126707", "crane"),
        (954, "n07753592", "banana"),
        (999, "n15075141", "toilet_tissue"),
    ],
)
def test_known_classes(index: int, wnid: str, name: str) -> None:
    assert classes()[index] == (wnid, name)


def test_classes_are_read_once() -> None:
    assert classes() is classes()


def test_classes_equal_those_of_keras() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    path = SHARED / "keras" / "models" / "imagenet_class_index.json"
    index: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    assert classes() == tuple((index[str(i)][0], index[str(i)][1]) for i in range(1000))
