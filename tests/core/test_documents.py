"""The one reader of JSON and TOML: regular files, of bounded size, depth and numbers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgezoo.core import documents
from edgezoo.core.files import open_regular

NOT_JSON: dict[str, str | bytes] = {
    "nested": "[" * 200 + "]" * 200,
    "nested beyond the parser": '{"a":' * 200_000,
    "infinite": '{"a": Infinity}',
    "not a number": "[NaN]",
    "beyond floats": "[1e999]",
    "beyond floats without an exponent": f"[1{'0' * 400}.0]",
    "long integer": f"[1{'0' * 50}]",
    "integer that Python refuses": f"[1{'0' * 5000}]",
    "half a character": '["\\ud800"]',
    "no UTF-8": b"[\"\xff\"]",
    "cut off": '{"a": ',
}  # fmt: skip
NOT_TOML: dict[str, str | bytes] = {
    "brackets": "a = " + "[" * 20_000,
    "brackets that close": "a = " + "[" * 200 + "]" * 200,
    "tables": "a = " + "{a = " * 20_000,
    "dotted key": "a" + ".a" * 100_000 + " = 1",
    "quoted dotted key": 'a."x,y"' + '."x,y"' * 50_000 + " = 1",
    "dotted key behind a string": "x = {s = '''it's''', " + "a." * 100_000 + "a = 1}",
    "dotted table": "[" + "a." * 100_000 + "a]",
    "long integer": f"a = 1{'0' * 5000}",
    "no UTF-8": b"a = '\xff'",
}


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", NOT_JSON)
def test_json_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        documents.read_json(_file(tmp_path, NOT_JSON[case]))


@pytest.mark.parametrize("case", NOT_TOML)
def test_toml_is_refused(case: str, tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError):
        documents.read_toml(_file(tmp_path, NOT_TOML[case]))
    assert time.process_time() - begun < 2


def test_what_is_usual_is_read(tmp_path: Path) -> None:
    digits = "1" * 64  # a hash may look like a long number
    found = documents.read_json(_file(tmp_path, f'{{"a": [1.5e3, -7, "{digits}", 1e-300]}}'))
    assert found == {"a": [1500.0, -7, digits, 1e-300]}
    names = ", ".join(f'"a{i}.b.tflite"' for i in range(500))
    text = f"# a.b.c {'.' * 500}\nfiles = [{names}]\nalpha = [0.25, 0.5]\n[a.b.c]\nd = 1\n"
    assert len(documents.read_toml(_file(tmp_path, text))["files"]) == 500


def test_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 1 MiB"):
        documents.read_toml(_file(tmp_path, "#" * (documents.LARGEST_TOML + 1)))
    with pytest.raises(ValueError, match="more than"):
        documents.read_json(_file(tmp_path, "[1, 2]"), most=5)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe", "missing", "name"])
def test_only_regular_files_are_opened(kind: str, tmp_path: Path) -> None:
    """A pipe without a writer would block for ever."""
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        os.mkfifo(path)
    path = {
        "device": Path("/dev/zero"), "name": Path("a\0b"), "link to a pipe": tmp_path / "link",
    }.get(kind, path)  # fmt: skip
    if kind.startswith("link"):
        path.symlink_to("x")
    with pytest.raises(OSError):
        open_regular(path)
    with pytest.raises(OSError):
        documents.read_json(path)
