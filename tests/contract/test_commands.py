"""One suite for every command: a new file in edgezoo/cli is tested on arrival.

Each command is run once in a pipe, on what is cheap, and must behave as its neighbours do.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgezoo.cli._main import edgezoo
from tests.conftest import ROOT, Ended, Exported, Trained, environment, made_once, run_cli
from tests.support.fake_records import grid, write_store

CONTEXT = click.Context(edgezoo, info_name="edgezoo", **edgezoo.context_settings)
NAMES = edgezoo.list_commands(CONTEXT)
each_command = pytest.mark.parametrize("name", NAMES)
WIDTH = 80
# What a run needs that ends well: {tflite}, {float}, {onnx}, {pictures}, {picture}, {store}, {out}.
# Commands that take long are asked for their plan, which has no next command.
RUNS = {
    "benchmark": "benchmark {tflite} --dry-run",
    "bundle": "bundle {tflite} -o {out}",
    "cache": "cache info",
    "classify": "classify {tflite} {picture}",
    "compile": "compile {tflite} --target ethos-u55-128 -o {out}",
    "completion": "completion bash",
    "doctor": "doctor",
    "evaluate": "evaluate {tflite} --images {pictures} --limit 20",
    "explain": "explain {tflite} --float {float} --images {pictures} --count 4",
    "export": "export mobilenet --weights random --int8 --dry-run",
    "finetune": "finetune mobilenet --alpha 0.25 --input-size 32 --weights {weights} "
    "--data {pictures} --epochs 1 --unfreeze-blocks 0 -o {out}.keras",
    "inspect": "inspect {tflite}",
    "list": "list",
    "recommend": "recommend {store}",
    "report": "report {store} --as csv -o {out}",
    "samples": "samples info",
    "show": "show mobilenet",
    "verify": "verify {onnx} --weights {weights} --count 4",
}
PLANS = {"benchmark", "export"}


def _command(name: str) -> click.Command:
    command = edgezoo.get_command(CONTEXT, name)
    assert command is not None
    return command


def _options(name: str) -> dict[str, click.Option]:
    return {
        word: option
        for option in _command(name).params
        if isinstance(option, click.Option)
        for word in option.opts
    }


@each_command
def test_has_what_all_have(name: str) -> None:
    options = _options(name)
    assert {"--json", "--debug", "-q", "--quiet", "-v", "--verbose"} <= options.keys()
    silent = [word for word, option in options.items() if not option.help and not option.metavar
              and not option.show_default]  # fmt: skip
    assert silent == [], "an option without a word of help"


@each_command
def test_help_has_examples_and_fits(name: str) -> None:
    context = click.Context(_command(name), CONTEXT, info_name=name, max_content_width=WIDTH)
    text = context.get_help()
    assert re.search(r"Examples?:\n +(edgezoo|source <\(edgezoo) ", text)
    assert f"edgezoo {name}" in text.split("Example")[1]
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not _command(name).get_short_help_str(64).endswith("...")


@each_command
def test_misspelt_option(name: str) -> None:
    option = max(_options(name), key=len)
    message = run_cli(name, option[:-2] + option[-1] + option[-2]).error(2)
    assert f"Did you mean {option}" in message


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("exprot", "mobilenet"), "export"),
        (("completion", "bsh"), "bash"),
        (("list", "--sort", "nmae"), "name"),
        (("recommend", "x", "--prefer", "acuracy"), "accuracy"),
        (("show", "mobilnet"), "mobilenet"),
        (("export", "mobilenet", "--target", "corl"), "coral"),
        (("export", "mobilenet", "--format", "opnevino"), "openvino"),
        (("export", "mobilenet", "--effort", "bst"), "best"),
        (("report", "x", "--as", "htm"), "html"),
    ],
)
def test_did_you_mean(arguments: tuple[str, ...], meant: str) -> None:
    message = run_cli(*arguments).error(2)
    assert re.search(rf"Did you mean .*\b{meant}\b", message)


def test_did_you_mean_of_files(exported: Exported, picture: Path) -> None:
    path = exported.path("tflite", "int8")
    message = run_cli("classify", path, picture, "--runtime", "tflite_mirco").error(2)
    assert "Did you mean tflite_micro" in message
    message = run_cli("inspect", path, "--target", "ethos-u55-12").error(2)
    assert "ethos-u55-128" in message


@pytest.fixture(scope="session")
def store(common: Path) -> Path:
    def make(folder: Path) -> None:
        write_store(folder, grid(6))

    return made_once(common / "command-store", make)


@pytest.fixture(scope="session")
def picture(trained: Trained) -> Path:
    return next(trained.test.rglob("*.png"))


@pytest.fixture
def words(
    exported: Exported, trained: Trained, picture: Path, store: Path, tmp_path: Path
) -> dict[str, Path]:
    """What stands for the names in RUNS."""
    return {
        "tflite": exported.path("tflite", "int8"),
        "float": exported.path("tflite", "float32"),
        "onnx": exported.path("onnx", "float32"),
        "pictures": trained.test,
        "picture": picture,
        "weights": trained.weights,
        "store": store,
        "out": tmp_path / "out",
    }


def _run(name: str, words: dict[str, Path], *more: str) -> Ended:
    line = [word.format(**words) for word in RUNS[name].split()]
    ended = run_cli(*line, *more, cwd=words["out"].parent)
    assert ended.code == 0, ended.stderr
    return ended


def test_every_command_is_run() -> None:
    assert sorted(RUNS) == NAMES


@each_command
def test_in_a_pipe(name: str, words: dict[str, Path]) -> None:
    """Tables fit, nothing is coloured, and the last line says what to do next."""
    ended = _run(name, words)
    assert "\x1b" not in ended.stdout + ended.stderr
    if name != "completion":  # a script for a shell
        wide = [line for line in ended.stdout.splitlines() if len(line) > WIDTH]
        # What cannot be folded: a path of its own.
        assert [line for line in wide if not line.startswith(str(words["out"].parent.anchor))] == []
    hints = re.findall(r"^Next: (edgezoo \w+|python3)", ended.stderr, re.M)
    assert len(hints) == (name not in PLANS)
    for hint in hints:
        assert hint == "python3" or hint.removeprefix("edgezoo ") in NAMES


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"verify", "explain", "compile", "finetune"}))
def test_quiet_and_json(name: str, words: dict[str, Path]) -> None:
    """Of the cheap ones: --quiet gives no hints, and --json one object."""
    ended = _run(name, words, "--quiet", "--json")
    assert isinstance(ended.json, dict)
    assert "Next:" not in ended.stderr


def test_quiet_without_json(words: dict[str, Path]) -> None:
    assert _run("list", words, "--quiet").stderr == ""
    assert "Next:" not in _run("classify", words, "-q").stderr


def test_verbose_says_each_step(words: dict[str, Path]) -> None:
    """In a pipe too, where no spinner turns; results stay alone on standard output."""
    ended = _run("explain", words, "--verbose", "--json")
    assert isinstance(ended.json, dict)
    assert re.search(r"^ +\d+\.\d s  \w+", ended.stderr, re.M)


def _on_a_terminal(*arguments: str, **env: str) -> str:
    """What a command writes to standard error where that is a terminal."""
    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "edgezoo", *arguments],
        cwd=ROOT, env=environment(TERM="xterm", **env), stderr=slave, check=False,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(slave)
    try:
        return os.read(master, 10_000).decode()
    finally:
        os.close(master)


def test_colour_only_on_a_terminal_that_wants_it() -> None:
    assert "\x1b[31m" in _on_a_terminal("show", "mobilnet")
    assert "\x1b" not in _on_a_terminal("show", "mobilnet", NO_COLOR="1")
    assert "\x1b" not in run_cli("show", "mobilnet").stderr


def _completed(*typed: str) -> list[str]:
    """What bash would offer for the last word."""
    ended = run_cli(_EDGEZOO_COMPLETE="bash_complete", COMP_WORDS=" ".join(("edgezoo", *typed)),
                    COMP_CWORD=str(len(typed)))  # fmt: skip
    assert ended.code == 0, ended.stderr
    return [line.partition(",")[2] for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("exp",), {"explain", "export"}),
        (("export", "resnet"), {"resnet50", "resnet50v2"}),
        (("export", "mobilenet", "--gran"), {"--granularity"}),
        (("inspect", "m.tflite", "--target", "cor"), {"coral"}),
        (("export", "mobilenet", "--format", "onnx,tf"), {"onnx,tflite"}),
        (("list", "--sort", "top"), {"top1"}),
    ],
)
def test_completion_offers_names(typed: tuple[str, ...], offered: set[str]) -> None:
    assert set(_completed(*typed)) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_for_the_shell(shell: str, tmp_path: Path) -> None:
    script = run_cli("completion", shell).stdout
    assert f"_EDGEZOO_COMPLETE={shell}_complete" in script
    if shell == "bash":
        (tmp_path / "script").write_text(script + "\ncomplete -p edgezoo\n")
        told = subprocess.run(["bash", str(tmp_path / "script")], capture_output=True, text=True,
                              check=True)  # fmt: skip
        assert "_edgezoo_completion edgezoo" in told.stdout
