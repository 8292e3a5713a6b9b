"""OpenVINO's XML: document types, entities, depth and shapes that nobody can hold."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgezoo.core.errors import DataError
from edgezoo.runtimes import _openvino_xml
from tests.conftest import Exported, Trained, run_cli

LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10))
HEADS = {
    "laughs": f'<?xml version="1.0"?><!DOCTYPE net [{LAUGHS}]><net name="&l9;"/>',
    "external": '<!DOCTYPE net SYSTEM "file:///etc/passwd"><net/>',
    "empty type": "<!DOCTYPE net><net/>",
    "other root": "<html><net/></html>",
    "deep": "<net>" + "<a>" * 100_000,
    "encoding": '<?xml version="1.0" encoding="no-such"?><net/>',
    "zeros": "<net>\0</net>",
    "empty": "",
}


@pytest.mark.parametrize("kind", HEADS)
def test_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(HEADS[kind])
    with pytest.raises(DataError, match=r"m\.xml"):
        _openvino_xml.read(path)


@settings(max_examples=150)
@given(text=st.text(st.sampled_from('<net> "=!/DOCTYPE&;layer version"opset1?x\0'), max_size=80))
def test_any_text(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.xml"
    path.write_text(text)
    with contextlib.suppress(DataError):
        assert _openvino_xml.read(path).opset >= 1


def test_a_shape_that_nobody_can_hold(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    whole = exported.path("openvino", "float32")
    shutil.copy(whole.with_suffix(".bin"), tmp_path / "m.bin")
    text = whole.read_text().replace('"1,32,32,3"', '"1,400000000,400000000,3"')
    (tmp_path / "m.xml").write_text(text)
    picture = next(trained.test.rglob("*.png"))
    ended = run_cli("classify", tmp_path / "m.xml", picture)
    assert "m.xml" in ended.error(5)
