"""Fine-tuning from end to end, on the small network that knows the digits."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from edgezoo.core import registry
from tests.conftest import (
    FINETUNE_OPTIONS,
    ROOT,
    TUNED_DIGITS,
    Trained,
    Tuned,
    environment,
    run_cli,
)
from tests.support.processes import PATIENCE


def test_what_is_written(tuned: Tuned) -> None:
    facts = tuned.facts
    assert facts["labels"] == list(TUNED_DIGITS)
    assert {epoch["stage"] for epoch in facts["epochs"]} == {"top", "blocks"}
    assert facts["epochs"][facts["best_epoch"] - 1]["best"]
    counts = facts["images"]
    assert len(facts["held_out"]["files"]) == counts["held_out"]
    assert all((tuned.data / name).is_file() for name in facts["held_out"]["files"])
    low, high = facts["held_out"]["top1_ci95"]
    assert low <= facts["held_out"]["top1"] <= high
    # Two depthwise separable layers of 256 channels, and the new top.
    assert facts["learning_parameters"] == 9 * 256 + 256 * 256 + (256 + 1) * 3
    names = {path.name for path in tuned.folder.iterdir()}
    assert names == {"data", "fresh", "facts.json", "digits.keras", "digits.json", "digits.svg"}
    assert json.loads((tuned.folder / "digits.json").read_text()) == facts
    with zipfile.ZipFile(tuned.network) as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]


def test_evaluate_takes_it_as_it_is(tuned: Tuned) -> None:
    """And refuses the images that it learned from."""
    ended = run_cli("evaluate", tuned.network, "--images", tuned.fresh, "--json")
    (result,) = ended.json["results"]
    # A network that knows all ten digits tells three of them apart; a shuffled top would not.
    assert result["top1"] >= 0.9
    assert "is not evidence" in run_cli(
        "evaluate", tuned.network, "--images", tuned.data
    ).error(3)  # fmt: skip


def test_export_takes_it_as_it_is(tuned: Tuned, output: Path) -> None:
    made = run_cli("export", tuned.network, "--int8", "--format", "tflite", "--calibration",
                   tuned.data, "-o", output, "--json")  # fmt: skip
    assert made.code == 0, made.stderr
    (entry,) = made.json["artifacts"]
    assert Path(entry["path"]).name == "digits_32_int8.tflite"
    inside = registry.load_artifact(entry["path"]).required_contract()
    before = registry.load_artifact(tuned.network).required_contract()
    assert inside.labels == before.labels == TUNED_DIGITS
    assert inside.preprocessing == before.preprocessing == "tf"
    assert inside.weights.sha256 == before.weights.sha256
    picture = next((tuned.fresh / "seven").iterdir())
    told = run_cli("classify", entry["path"], picture, "--json").json["results"][0]
    assert told["classes"][0]["label"] == "seven"


def test_options_that_contradict_the_file(tuned: Tuned, output: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    export = ("export", tuned.network, "-o", output)
    assert "its own labels" in run_cli(*export, "--labels", labels).error(2)
    assert "its own preprocessing" in run_cli(*export, "--preprocessing", "torch").error(2)


def _interrupted(moment: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`edgezoo finetune`, with Ctrl-C where the progress says a text; the bar is replaced."""
    program = f"""
import contextlib, os, signal, sys
from edgezoo.cli import _console as console
from edgezoo.cli._main import main

@contextlib.contextmanager
def share(enabled):
    sent = []
    def progress(text, done):
        if {moment!r} in text and not sent:
            sent.append(text)
            os.kill(os.getpid(), signal.SIGINT)
    yield progress

console.share = share
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main({[str(argument) for argument in arguments]!r}))
"""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True,
        text=True, check=False, timeout=3 * PATIENCE,
    )  # fmt: skip


def test_ctrl_c_keeps_the_best_state(tuned: Tuned, trained: Trained, output: Path) -> None:
    """Until then the same happened as without it: a seed gives the same training again."""
    network = output / "digits.keras"
    ended = _interrupted("blocks, epoch 2", "finetune", "mobilenet", "--alpha", "0.25",
                         "--input-size", "32", "--weights", trained.weights, "--data", tuned.data,
                         *FINETUNE_OPTIONS, "-o", network, "--json")  # fmt: skip
    assert ended.returncode == 130, ended.stderr
    facts = json.loads(ended.stdout)
    assert facts["interrupted"]
    assert facts["epochs"] == tuned.facts["epochs"][:4]
    assert facts["held_out"]["files"] == tuned.facts["held_out"]["files"]
    assert registry.load_artifact(network).required_contract().labels == TUNED_DIGITS
    assert "best state" in ended.stderr


def test_ctrl_c_before_there_is_anything_to_keep(
    tuned: Tuned, trained: Trained, output: Path
) -> None:
    ended = _interrupted("Decoding", "finetune", trained.keras, "--preprocessing", "tf", "--data",
                         tuned.data, "-o", output / "x.keras")  # fmt: skip
    assert ended.returncode == 130
    assert "no partial files" in ended.stderr
    assert not output.exists()


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no model": (("mobilnet",), 2, "Did you mean mobilenet"),
    "no folder": (("mobilenet", "--data", "absent"), 5, "There is no folder absent"),
    "share": (("mobilenet", "--held-out", "0.9"), 2, "--held-out 0.9 is invalid"),
    "epochs": (("mobilenet", "--epochs", "0"), 2, "--epochs 0 is invalid"),
    "rate": (("mobilenet", "--learning-rate", "2"), 2, "--learning-rate 2 is invalid"),
    "ending": (("mobilenet", "-o", "net.h5"), 2, "does not end in .keras"),
    "known preprocessing": (("mobilenet", "--preprocessing", "tf"), 2, "is known"),
    "too small": (("mobilenet", "--input-size", "16"), 2, "smallest input size is 32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, tuned: Tuned) -> None:
    arguments, code, word = REFUSED[case]
    data = () if "--data" in arguments else ("--data", str(tuned.data))
    weights = ("--weights", "random")
    assert word in run_cli("finetune", *arguments, *data, *weights).error(code)


def test_saved_model_is_not_taken_apart(own_networks: Path, tuned: Tuned) -> None:
    ended = run_cli("finetune", own_networks / "plain", "--preprocessing", "none", "--data",
                    tuned.data)  # fmt: skip
    assert "layers cannot be changed" in ended.error(3)


def test_top_within_a_nested_network(own_networks: Path, tuned: Tuned, output: Path) -> None:
    ended = run_cli("finetune", own_networks / "nested.keras", "--preprocessing", "none", "--data",
                    tuned.data, "-o", output / "x.keras")  # fmt: skip
    assert "is a network itself" in ended.error(3)
    assert not output.exists()


def test_more_blocks_than_there_are(trained: Trained, tuned: Tuned, output: Path) -> None:
    ended = run_cli("finetune", trained.keras, "--preprocessing", "tf", "--data", tuned.data,
                    "--unfreeze-blocks", "99", "-o", output / "x.keras")  # fmt: skip
    assert "has 27 blocks" in ended.error(3)
    assert not output.exists()


def test_classes_of_one_image(tmp_path: Path) -> None:
    """They cannot be split, which is said before anything is loaded."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 50)).save(tmp_path / name / "1.png")
    ended = run_cli("finetune", "mobilenet", "--weights", "random", "--data", tmp_path)
    assert "has 1 image, and each class needs at least 3" in ended.error(5)
