"""Every way in which the Edge TPU's library fails, with libraries that really fail so."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError, EdgeZooError, MissingError
from edgezoo.runtimes import _edgetpu
from tests.conftest import Ended, Exported
from tests.support import needs
from tests.support.coral import CORAL, require

COMPILED = CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
LIST = (
    "void *edgetpu_list_devices(unsigned long *n) { *n = %s; return 0; }\n"
    "void edgetpu_free_devices(void *d) {}\n"
)
DELEGATE = (
    "void *tflite_plugin_create_delegate(char **k, char **v, unsigned long n, "
    "void (*report)(const char *)) { %s }\n"
    "void tflite_plugin_destroy_delegate(void *d) {}\n"
)
SOURCES = {
    "no device": LIST % 0 + DELEGATE % "return 0;",
    "held device": LIST % 1 + DELEGATE % "return 0;",
    "crash at load":
        "__attribute__((constructor)) static void boom(void) { *(volatile int *)0 = 1; }",
    "crash in delegate": LIST % 1 + DELEGATE % "*(volatile int *)0 = 1; return 0;",
    "other library": "int unrelated(void) { return 1; }",
    "undefined symbol": "extern int missing(void);\nint (*keep)(void) = missing;",
}  # fmt: skip


@pytest.fixture
def library(tmp_path: Path) -> Callable[[str], Path]:
    """A small shared library that fails as the name says."""

    def make(case: str) -> Path:
        path = tmp_path / "libedgetpu.so.1"
        if case == "no library":
            path.write_text("<html>not found</html>" * 20)
        elif case != "missing file":
            needs.require("gcc")
            (tmp_path / "x.c").write_text(SOURCES[case])
            command = ["gcc", "-shared", "-fPIC", "-o", str(path), str(tmp_path / "x.c")]
            subprocess.run(command, check=True)
        return path

    return make


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing file", "which does not exist"),
        ("no library", "is not a shared library"),
        ("other library", "but not libedgetpu"),
        ("no device", "found no Edge TPU"),
        ("held device", "found no Edge TPU"),
        ("crash at load", "crashed the process"),
        ("crash in delegate", "crashed the process"),
        ("undefined symbol", "is not compatible with this TFLite runtime"),
    ],
)
def test_failing_library(
    library: Callable[[str], Path], cli: Callable[..., Ended], case: str, words: str
) -> None:
    """One sentence with a fix, exit code 4, whatever the library does."""
    require()
    env = {_edgetpu.LIBRARY_VARIABLE: str(library(case))}
    ended = cli("classify", COMPILED, "picture.jpg", "--device", "coral", "--preprocessing", "tf",
                **env)  # fmt: skip
    assert words in ended.error(4)


def test_without_any_library(cli: Callable[..., Ended]) -> None:
    require()
    message = cli(
        "classify", COMPILED, "x.jpg", "--device", "coral", "--preprocessing", "tf"
    ).error(4)
    assert "libedgetpu.so.1 is not installed" in message and "coral.ai" in message


def test_plain_file_is_refused(exported: Exported, cli: Callable[..., Ended]) -> None:
    path = exported.path("tflite", "int8")
    message = cli("classify", path, "x.jpg", "--device", "coral").error(3)
    assert "was not compiled for the Edge TPU" in message


def test_compiled_file_on_the_cpu(cli: Callable[..., Ended]) -> None:
    require()
    message = cli("classify", COMPILED, "x.jpg", "--preprocessing", "tf").error(3)
    assert "Coral Edge TPU (--device coral)" in message


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("libusb-1.0.so.0: cannot open shared object file: No such file or directory",
         MissingError, "libusb-1.0-0"),
        ("libedgetpu.so.1: cannot open shared object file: No such file or directory",
         MissingError, "not installed"),
        ("Failed to load delegate from /usr/lib/libedgetpu.so.1\n", MissingError, "plugdev"),
        ("Encountered unresolved custom op: edgetpu-custom-op.\nSee instructions",
         MissingError, "--device coral"),
        ("Failed precondition: Package requires runtime version (14), which is newer than this "
         "runtime version (13).", MissingError, "min_runtime_version"),
        ("something new", DataError, "something new"),
        ("", DataError, "no reason given"),
    ],
)  # fmt: skip
def test_messages_become_causes(said: str, kind: type[EdgeZooError], words: str) -> None:
    error = _edgetpu.cause(said, "file.tflite")
    assert type(error) is kind
    assert words in str(error) and str(error).endswith(".")
