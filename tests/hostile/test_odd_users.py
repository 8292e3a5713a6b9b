"""Limits, names and users that are not usual: one sentence each, never a defect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgezoo.cli import _main
from edgezoo.core import paths, registry
from edgezoo.core.errors import DataError, UsageError, defect
from edgezoo.core.spec import BuildArguments
from edgezoo.formats.keras_files import reading
from edgezoo.networks import arguments
from edgezoo.pipeline.request import ExportRequest, check_words

LIMITS = ("inf", "-inf", "nan", "1e300", "1e-12", "-1")


@pytest.mark.parametrize("option", ["--max-memory", "--max-seconds"])
@pytest.mark.parametrize("value", LIMITS)
def test_limits(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Infinite ones end in overflows, and tiny ones would round to none."""
    assert _main.main(["classify", "m.tflite", "cat.png", option, value]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("recommend", "store", "--max-latency-ms", "inf"),
        ("recommend", "store", "--max-bytes", "9" * 400 + "G"),
        ("export", "mobilenet", "--alpha", "inf"),
        ("export", "mobilenet", "--seed", "1" + "0" * 30),
        ("classify", "m.tflite", "cat.png", "--top", "1" + "0" * 30),
        ("verify", "m.tflite", "--count", "1" + "0" * 30),
    ],
)
def test_numbers_beyond_all_bounds(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main.main([*words]) == 2
    assert "defect" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        BuildArguments(input_size=10**30),
        BuildArguments(classes=10**30),
        BuildArguments(alpha=1e300),
        BuildArguments(depth_multiplier=10**30),
    ],
)
def test_arguments_that_no_file_can_state(given: BuildArguments) -> None:
    with pytest.raises(UsageError, match="beyond what a file can have"):
        arguments.complete(registry.model("mobilenet"), given)


def test_counts_of_images() -> None:
    with pytest.raises(UsageError, match="too many"):
        check_words(ExportRequest("mobilenet", precisions=("int8",), calibration_count=10**30))


def test_limit_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "9" * 400 + "GB")
    assert _main.main(["cache", "info"]) == 2


def test_too_much_memory_is_no_defect() -> None:
    assert isinstance(defect(MemoryError()), DataError)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/n\xff")
    Path(f"{name}.tflite").write_bytes(b"x")
    Path(f"{name}.h5").write_bytes(b"x")
    for read in (
        lambda: registry.load_artifact(f"{name}.tflite"),
        lambda: reading.read(Path(f"{name}.h5")),
        lambda: check_words(ExportRequest("mobilenet", output=Path(name))),
    ):
        with pytest.raises(DataError, match="is not UTF-8"):
            read()


def test_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without an entry in passwd and without HOME."""
    for name in ("HOME", "EDGEZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no home folder"):
        paths.cache_home()
    paths.mark_cache()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "own"))
    assert paths.cache_home() == tmp_path / "own"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
def test_command_of_a_user_without_a_name(tmp_path: Path) -> None:
    program = (
        "import os; os.setgid(54321); os.setuid(54321); del os.environ['HOME']\n"
        "from edgezoo.core import paths\n"
        "from edgezoo.cli import _main\n"
        "_main._settle_home()\n"
        "print(paths.cache_home())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("EDGEZOO_CACHE",)}
    ended = subprocess.run(
        [sys.executable, "-c", f"import platformdirs, click; import edgezoo.cli._main\n{program}"],
        capture_output=True, text=True, env=environment, cwd="/",
    )  # fmt: skip
    assert ended.stdout.strip() == "/nonexistent/.cache/edgezoo", ended.stderr
