"""A bundle takes the place of nothing but a bundle as EdgeZoo wrote it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgezoo.bundling.place import check_folder
from edgezoo.core.errors import UsageError
from tests.bundling.conftest import tree
from tests.conftest import Exported, run_cli


def test_places_that_are_taken(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert "is not a bundle" in run_cli("bundle", file, "-o", tmp_path / "mine").error(2)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert "same name" in run_cli("bundle", file, file, "-o", tmp_path / "x").error(2)
    made = tmp_path / "made"
    for arguments in ((file, "--c-array"), (file,)):
        assert run_cli("bundle", *arguments, "-o", made).code == 0
    assert not (made / "c").exists(), "an earlier bundle is replaced as a whole"


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "no JSON", '{"schema": 1, "models": [], "sha256": {}}',
     '{"schema": 1, "models": [], "sha256": {}, "others": {}}', "[" * 100_000],
)  # fmt: skip
def test_folder_with_a_list_of_its_own_is_kept(
    text: str, exported: Exported, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "bundle.json").write_text(text)
    (project / "thesis.txt").write_text("keep")
    run_cli("bundle", exported.path("tflite", "int8"), "-o", project).error(2)
    assert tree(project) == {"bundle.json": text.encode(), "thesis.txt": b"keep"}


@pytest.mark.parametrize(
    ("added", "named"),
    [("v/bin/python", "v/"), ("golden/mine.png", "golden/mine.png"), ("my.py", "my.py"),
     ("classify.py", "classify.py"), ("README.md", "README.md"), ("c/mine.c", "c/mine.c")],
)  # fmt: skip
def test_what_a_user_added_or_changed_is_kept(
    added: str, named: str, bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / added).parent.mkdir(parents=True, exist_ok=True)
    (copy / added).write_text("mine")
    with pytest.raises(UsageError) as refused:
        check_folder(copy)
    assert f"{named} in it was added or changed" in refused.value.message
    assert f"Move {named} out of it" in refused.value.hint


def test_links_in_a_bundle_are_not_its_own(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    check_folder(copy)
    shutil.move(copy / "golden", tmp_path / "golden")
    (copy / "golden").symlink_to(tmp_path / "golden")
    with pytest.raises(UsageError, match="golden/ in it"):
        check_folder(copy)
    (copy / "golden").unlink()
    (copy / "README.md").rename(tmp_path / "README.md")
    (copy / "README.md").symlink_to(tmp_path / "README.md")
    with pytest.raises(UsageError, match=r"README\.md in it"):
        check_folder(copy)


def test_bundle_that_was_used_is_replaced(exported: Exported, tmp_path: Path) -> None:
    file, made = exported.path("tflite", "int8"), tmp_path / "made"
    assert run_cli("bundle", file, "-o", made).code == 0
    before = tree(made)
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "classify.cpython-311.pyc").write_bytes(b"")
    (made / "README.md").unlink()
    assert run_cli("bundle", file, "-o", made).code == 0
    assert tree(made) == before


def test_folder_that_one_is_in(exported: Exported, tmp_path: Path) -> None:
    """A shell in a folder that is renamed away sees nothing more."""
    file, here = exported.path("tflite", "int8"), tmp_path / "here"
    here.mkdir()
    for _ in ("an empty one", "a bundle"):
        before = tree(here)
        message = run_cli("bundle", file, "-o", ".", cwd=here).error(2)
        assert f"{here} is the current folder" in message and f"cd {tmp_path}" in message
        assert tree(here) == before
        assert run_cli("bundle", file, "-o", "here", cwd=tmp_path).code == 0


def test_link_to_a_bundle(exported: Exported, tmp_path: Path) -> None:
    file, real, link = exported.path("tflite", "int8"), tmp_path / "a" / "real", tmp_path / "link"
    real.mkdir(parents=True)
    link.symlink_to(real)
    for arguments in ((file, "--c-array"), (file,)):
        ended = run_cli("bundle", *arguments, "-o", link, "--json")
        assert ended.code == 0 and ended.json["path"] == str(link)
    assert link.is_symlink() and tree(real) and not (real / "c").exists()
    (real / "mine.txt").write_text("keep")
    assert "mine.txt" in run_cli("bundle", file, "-o", link).error(2)
    assert link.is_symlink() and (real / "mine.txt").is_file()
