"""The accuracy guard: as few layers in float as the limit needs, or the best try and exit 6."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgezoo.pipeline.guard import Guarded, keep_within
from edgezoo.statistics import Drop
from tests.conftest import Ended, Trained

LAYERS = [f"layer{i}" for i in range(20)]


def _drop(bound: float) -> Drop:
    """A drop whose upper bound is so many percentage points."""
    return Drop(0, 0, 1000, 0.0, bound / 100)


def _guard(bound_of: Callable[[int], float], max_drop: float) -> tuple[Guarded, list[int]]:
    """Guard a file whose bound depends on the number of float layers; also what was made."""
    made = []

    def attempt(layers: tuple[str, ...]) -> Drop:
        assert list(layers) == LAYERS[: len(layers)]
        made.append(len(layers))
        return _drop(bound_of(len(layers)))

    def ranking() -> Sequence[str]:
        made.append(-1)
        return LAYERS

    first = _drop(bound_of(0))
    return keep_within("a.tflite", max_drop, first, ranking, attempt), made


@pytest.mark.parametrize("needed", range(1, 21))
def test_keeps_as_few_layers_in_float_as_needed(needed: int) -> None:
    guarded, made = _guard(lambda layers: 0.5 if layers >= needed else 3.0, 1.0)
    assert guarded.met and guarded.failure is None
    assert guarded.float_layers == tuple(LAYERS[:needed])
    assert made[-1] == needed, "the file that is left is not the one that is reported"
    assert len(made) <= 12


def test_a_file_that_holds_is_not_touched() -> None:
    guarded, made = _guard(lambda layers: 0.9, 1.0)
    assert guarded.met and not guarded.float_layers
    assert not made


def test_leaves_the_best_try_where_nothing_helps() -> None:
    bounds = {0: 9.0, 1: 8.0, 2: 3.0, 4: 2.0, 8: 4.0, 16: 5.0, 20: 6.0}
    guarded, made = _guard(bounds.__getitem__, 1.0)
    assert not guarded.met
    assert guarded.failure is not None and "above --max-drop 1" in guarded.failure
    assert len(guarded.float_layers) == 4 == made[-1]
    assert {count: bound for count, _, bound in guarded.tries} == {
        count: pytest.approx(bound / 100) for count, bound in bounds.items()
    }


def test_export_keeps_layers_in_float_until_the_drop_is_proved(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    """One scale for all channels and no correction: the network needs help."""
    ended = cli("export", *trained.options, "--int8", "--format", "tflite", "--effort", "fast",
                "--granularity", "per-tensor", "--max-drop", "1", "--images", trained.test,
                "-o", output, "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    (entry,) = ended.json["artifacts"]
    guard = entry["guard"]
    assert guard["met"] and guard["drop_bound"] <= 0.01 and guard["images"] == 400
    kept = guard["float_layers"]
    # A training on some processors gives a network that loses nothing to begin with.
    needed = guard["tries"][0]["drop_bound"] > 0.01
    assert (0 < len(kept) < 28) if needed else not kept
    facts = cli("inspect", entry["path"], "--json").json
    assert facts["contract"]["quantization"]["float_layers"] == kept
    assert bool({"CONV_2D", "DEPTHWISE_CONV_2D"} & set(facts["float_ops"])) == needed
    manifest = json.loads(Path(ended.json["manifest"]).read_text())
    assert manifest["artifacts"][0]["guard"] == guard
    scored = cli("evaluate", entry["path"], "--images", trained.test, "--json")
    assert trained.top1 - scored.json["results"][0]["top1"] == pytest.approx(guard["drop"])


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_every_format_can_keep_layers_in_float(
    cli: Callable[..., Ended], trained: Trained, output: Path, format: str
) -> None:
    """Nothing but float can hold a limit that so few images cannot prove: exit 6, all in float."""
    few = output.parent / "few"
    for folder in sorted(trained.test.iterdir()):
        for picture in sorted(folder.iterdir())[:3]:
            (few / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, few / folder.name)
    ended = cli("export", *trained.options, "--int8", "--format", format, "--effort", "fast",
                "--max-drop", "0.01", "--images", few, "-o", output, "--json")  # fmt: skip
    assert ended.code == 6
    assert "above --max-drop 0.01" in ended.stderr
    (entry,) = ended.json["artifacts"]
    counts = [attempt["float_layers"] for attempt in entry["guard"]["tries"]]
    assert counts[0] == 0 and counts[-1] >= 28
    assert entry["verification"]["verdict"] == "passed"


def test_images_that_calibrate_prove_nothing(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    message = cli("export", *trained.options, "--int8", "--max-drop", "1", "--images",
                  trained.calibration, "-o", output).error(3)  # fmt: skip
    assert "calibrated on too" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--int8", "--max-drop", "1"), "--max-drop and --images belong together"),
        (("--int8", "--images", "."), "--max-drop and --images belong together"),
        (("--max-drop", "1", "--images", "."), "guards int8 files"),
        (("--int8", "--max-drop", "0", "--images", "."), "not above 0"),
        (("--int8", "--effort", "bets"), "There is no --effort 'bets'. Did you mean best?"),
        (("--int8", "--granularity", "per-tenser"), "Did you mean per-tensor?"),
        (
            ("--int8", "--weights", "random", "--max-drop", "1", "--images", "."),
            "Untrained weights have no accuracy",
        ),
    ],
)
def test_wrong_requests(
    cli: Callable[..., Ended], output: Path, options: tuple[str, ...], expected: str
) -> None:
    assert expected in cli("export", "mobilenet", *options, "-o", output).error(2)
