"""The accuracy guard: as few layers in float as the limit needs, or the best try and exit 6."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgezoo.core.errors import DataError
from edgezoo.evaluation.drop import Drop, above_chance, paired_interval
from edgezoo.pipeline.guard import Guarded, keep_within
from edgezoo.pipeline.run import _require_knowledge
from tests.conftest import Ended, Trained
from tests.docs.test_schemas import check

LAYERS = [f"layer{i}" for i in range(20)]


def _drop(points: float) -> Drop:
    """A drop of so many percentage points of 10,000 images, none of which were won."""
    return Drop(round(points * 100), 0, 10_000, 0, 0)


def _guard(
    points_of: Callable[[int], float], max_drop: float, only_int8: str | None = None
) -> tuple[Guarded, list[int]]:
    """Guard a file whose drop depends on the number of float layers; also what was made."""
    made = []

    def attempt(layers: tuple[str, ...]) -> Drop:
        assert list(layers) == LAYERS[: len(layers)]
        made.append(len(layers))
        return _drop(points_of(len(layers)))

    def ranking() -> Sequence[str]:
        made.append(-1)
        return LAYERS

    first = _drop(points_of(0))
    return keep_within("a.tflite", max_drop, 0.7, first, ranking, attempt, only_int8), made


@pytest.mark.parametrize("needed", range(1, 21))
def test_keeps_as_few_layers_in_float_as_needed(needed: int) -> None:
    guarded, made = _guard(lambda layers: 0.2 if layers >= needed else 3.0, 1.0)
    assert guarded.met and guarded.failure is None
    assert guarded.float_layers == tuple(LAYERS[:needed])
    assert made[-1] == needed, "the file that is left is not the one that is reported"
    assert len(made) <= 12
    assert bool(guarded.warnings) == (needed > 10), "a file that is float for the most part"
    assert f"{needed} of 20 layers in float" in guarded.record().line("a.tflite")


def test_a_file_that_holds_is_not_touched() -> None:
    guarded, made = _guard(lambda layers: 0.5, 1.0)
    assert guarded.met and not guarded.float_layers
    assert not made
    told = guarded.record().line("a.tflite")
    assert told.startswith("a.tflite: drop seen 0.50 points, proved to be below 0.66 (95 % confid")
    assert "float top-1 70.0 %" in told and told.endswith("no layer in float.")


def test_leaves_the_best_try_where_nothing_helps() -> None:
    points = {0: 9.0, 1: 8.0, 2: 3.0, 4: 2.0, 8: 4.0, 16: 5.0, 20: 6.0}
    guarded, made = _guard(points.__getitem__, 1.0)
    assert not guarded.met
    assert guarded.failure is not None and "above --max-drop 1" in guarded.failure
    assert "images would prove" not in guarded.failure, "no number of images would"
    assert len(guarded.float_layers) == 4 == made[-1]
    assert {attempt.float_layers: attempt.outcome.drop for attempt in guarded.tries} == {
        count: pytest.approx(share / 100) for count, share in points.items()
    }


def test_layers_stay_in_8_bits_where_a_target_takes_nothing_else() -> None:
    guarded, made = _guard(lambda layers: 3.0, 1.0, "--target coral")
    assert not made and not guarded.met and not guarded.float_layers
    assert guarded.failure is not None
    assert "--target coral rules out layers in float, and none was tried" in guarded.failure
    assert guarded.kept.confidence == 0.95, "one test alone needs no correction"


@pytest.mark.parametrize("layers", [0, 1, 2, 3, 20, 28, 106])
def test_all_tests_together_hold_the_confidence(layers: int) -> None:
    """The shares of error of all tests that can be made are no more than the 5 % that are told."""
    names = [f"layer{i}" for i in range(layers)]
    for needed in range(1, layers + 2):

        def attempt(kept: tuple[str, ...], needed: int = needed) -> Drop:
            return _drop(0.2 if len(kept) >= needed else 3.0)

        guarded = keep_within("a", 1.0, 0.7, _drop(3.0), lambda: names, attempt)
        assert sum(1 - attempt.confidence for attempt in guarded.tries) <= 0.05 + 1e-9
        for tried in guarded.tries:
            wanted = paired_interval(tried.outcome.lost, 0, 10_000, 1 - 2 * (1 - tried.confidence))[
                1
            ]
            assert tried.outcome.high == pytest.approx(wanted)


def test_luck_passes_no_more_often_than_told() -> None:
    """Networks that lose 1.01 points, whatever is in float, are let pass in fewer than 1 of 20."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):

        def draw(kept: tuple[str, ...] = ()) -> Drop:
            lost, won, _ = rng.multinomial(2000, [0.0301, 0.02, 0.9499])
            return Drop(int(lost), int(won), 2000, 0, 0)

        passed += keep_within("a", 1.0, 0.7, draw(), lambda: LAYERS, draw).met
    assert passed <= 0.05 * 400 + 2 * (0.05 * 0.95 * 400) ** 0.5


def test_too_few_images_are_said() -> None:
    """The drop is below the limit, but so few images cannot prove it."""
    first = Drop(2, 0, 400, 0, 0)
    guarded = keep_within("a", 1.0, 0.7, first, lambda: (), lambda kept: first, "--target coral")
    assert guarded.failure is not None
    (needed,) = re.findall(r"about (\d+) such images would prove it", guarded.failure)
    high = paired_interval(0.005 * int(needed), 0, int(needed), 0.9)[1]
    assert int(needed) > 400 and high == pytest.approx(0.01, abs=2e-4)


def test_a_gain_is_called_so() -> None:
    """By a word that is not "a drop of -1.54 points", and suspicious as in evaluate."""
    first = Drop(10, 40, 2000, 0, 0)
    guarded = keep_within("a", 1.0, 0.7, first, lambda: (), lambda kept: first)
    (text,) = guarded.warnings
    assert text.startswith("suspicious gain of 0.8") and "-" not in text.partition(":")[0]
    assert "gain seen 1.50 points" in guarded.record().line("a")
    few = Drop(1, 3, 130, 0, 0)
    guarded = keep_within("a", 1.0, 0.7, few, lambda: (), lambda kept: few)
    assert not guarded.warnings
    assert guarded.failure is not None and "gain seen 1.54 points" in guarded.failure


def test_export_keeps_layers_in_float_until_the_drop_is_proved(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    """One scale for all channels and no correction: the network needs help."""
    ended = cli("export", *trained.options, "--int8", "--format", "tflite", "--effort", "fast",
                "--granularity", "per-tensor", "--max-drop", "1", "--images", trained.test,
                "-o", output, "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    check("export", ended.json)
    (entry,) = ended.json["artifacts"]
    guard = entry["guard"]
    assert guard["reference_top1"] == pytest.approx(trained.top1)
    assert guard["top1"] == pytest.approx(trained.top1 - guard["drop_points"] / 100)
    assert guard["met"] and guard["drop_bound_points"] <= 1 and guard["images"] == 400
    kept = guard["float_layers"]
    # A training on some processors gives a network that loses nothing to begin with.
    needed = guard["tries"][0]["drop_bound_points"] > 1
    assert (0 < len(kept) < 28) if needed else not kept
    facts = cli("inspect", entry["path"], "--json").json
    assert facts["contract"]["quantization"]["float_layers"] == kept
    assert bool({"CONV_2D", "DEPTHWISE_CONV_2D"} & set(facts["float_ops"])) == needed
    assert facts["faults"] == []
    assert ("often takes int8 alone" in ended.stderr) == needed
    manifest = json.loads(Path(ended.json["manifest"]).read_text())
    assert manifest["artifacts"][0]["guard"] == guard
    scored = cli("evaluate", entry["path"], "--images", trained.test, "--json")
    assert trained.top1 - scored.json["results"][0]["top1"] == pytest.approx(
        guard["drop_points"] / 100
    )


def test_a_target_of_int8_gets_no_float_layers(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    ended = cli("export", *trained.options, "--target", "coral", "--effort", "fast",
                "--max-drop", "0.01", "--images", trained.test, "-o", output)  # fmt: skip
    assert ended.code == 6
    assert "--target coral rules out layers in float, and none was tried" in ended.stderr
    assert "points, proved to be below" in ended.stdout and "no layer in float." in ended.stdout
    (file,) = output.glob("*.tflite")
    assert not cli("inspect", file, "--json").json["contract"]["quantization"]["float_layers"]


def test_a_network_that_knows_nothing_of_the_images_proves_nothing(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    """All pictures in the folder of one class, which few of them show: int8 would lose nothing."""
    wrong = output.parent / "wrong" / min(folder.name for folder in trained.test.iterdir())
    wrong.mkdir(parents=True)
    for picture in trained.test.glob("*/*0.png"):
        shutil.copy(picture, wrong / f"{picture.parent.name}_{picture.name}")
    ended = cli("export", *trained.options, "--int8", "--format", "tflite", "--effort", "fast",
                "--max-drop", "1", "--images", wrong.parent, "-o", output)  # fmt: skip
    assert "no more than chance" in ended.error(5) and "--ground-truth" in ended.stderr


@pytest.mark.parametrize(
    ("right", "images", "chance", "known"),
    [
        (0, 130, 0.001, False),
        (1, 130, 0.001, False),  # expected every eighth time
        (2, 130, 0.001, True),
        (55, 100, 0.5, False),
        (65, 100, 0.5, True),
        (400, 50_000, 0.001, True),
        (3, 3, 1.0, False),
    ],
)
def test_better_than_guesses(right: int, images: int, chance: float, known: bool) -> None:
    assert above_chance(right, images, chance) == known


@pytest.mark.parametrize(
    ("answers", "classes", "known"),
    [
        ([1, 1, 2, 2, 3, 3] * 5, [2, 3, 1, 3, 1, 2] * 5, False),  # folders with others' names
        ([1, 1, 2, 2, 3, 3] * 5, [1, 2, 2, 2, 3, 3] * 5, True),
        ([1, 2, 3, 4, 5, 6] * 5, [1] * 30, False),  # one of six shows it
        ([1, 1, 1, 1, 5, 6] * 5, [1] * 30, True),  # one class alone, and the network knows it
        ([1] * 30, [1, 2] * 15, False),  # a network that names one class alone
    ],
)
def test_knowledge_is_more_than_chance(answers: list[int], classes: list[int], known: bool) -> None:
    work = SimpleNamespace(
        contract=SimpleNamespace(classes=1000),
        plan=SimpleNamespace(request=SimpleNamespace(images=Path("val"))),
    )
    expected: Any = (
        contextlib.nullcontext() if known else pytest.raises(DataError, match="than chance")
    )
    with expected:
        _require_knowledge(np.array(answers), np.array(classes), work)  # type: ignore[arg-type]


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
    assert "are calibration images too" in message


@pytest.mark.parametrize("missing", ["--images", "--ground-truth"])
def test_images_that_are_not_there_are_found_missing_at_once(
    cli: Callable[..., Ended], trained: Trained, output: Path, missing: str
) -> None:
    """A dry run says that all is well only where it is."""
    given = {"--images": trained.test, missing: output / "none"}
    options = [word for pair in given.items() for word in pair]
    ended = cli("export", *trained.options, "--int8", "--max-drop", "1", *options, "--dry-run")
    assert str(output / "none") in ended.error(5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--int8", "--max-drop", "1"), "--max-drop and --images belong together"),
        (("--int8", "--images", "."), "--max-drop and --images belong together"),
        (("--max-drop", "1", "--images", "."), "--max-drop has no effect"),
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
