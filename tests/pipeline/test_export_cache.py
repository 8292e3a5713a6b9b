"""The cache: whole entries or none, within its limit, with several processes at once."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import UsageError
from edgezoo.pipeline import export_cache
from edgezoo.pipeline.export_result import MadeFiles, ManifestHead, OriginalWeights
from edgezoo.pipeline.provenance import Code, Platform
from edgezoo.system.process import Usage
from tests.conftest import run_cli


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "home"))
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "12kB")
    return tmp_path / "home"


def _keep(folder: Path, key: str, size: int = 3000) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "m.bin").write_bytes(key.encode() * (size // len(key)))
    export_cache.keep(key, [folder / "m.bin"], _made(key))


def _made(key: str) -> MadeFiles:
    head = ManifestHead(
        model=key,
        trained=False,
        weights=OriginalWeights("random", "0", origin="nowhere"),
        request={},
        command="edgezoo export",
        edgezoo=Code("0", None, "0"),
        versions={},
        platform=Platform("3", "Linux", "x86_64", []),
        reproducible_within=[],
        usage={"make_source": Usage(1.0, 2.0)},
    )
    return MadeFiles((), head, (), ())


def _fetch(folder: Path, key: str) -> bytes | None:
    """What comes back of an entry; its facts are checked."""
    folder.mkdir(exist_ok=True)
    found = export_cache.fetch(key, folder)
    if found is None:
        return None
    assert found == _made(key)
    return (folder / "m.bin").read_bytes()


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    assert _fetch(tmp_path / "out", "a") is None
    _keep(tmp_path / "in", "a")
    assert _fetch(tmp_path / "out", "a") == b"a" * 3000
    assert _fetch(tmp_path / "out", "b") is None


@pytest.mark.parametrize(
    "harm",
    ["files/m.bin changed", "files/m.bin gone", "entry.json changed", "entry.json cut short",
     "entry.json gone"],
)  # fmt: skip
def test_damaged_entry_is_made_anew(harm: str, home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    name, _, what = harm.partition(" ")
    victim = home / "exports" / "a" / name
    data = victim.read_bytes()
    if what == "gone":
        victim.unlink()
    elif what == "cut short":
        victim.write_bytes(data[:-9])
    else:  # one letter of the file, or of the facts
        place = data.index(b'"model": "a"') + 10 if name == "entry.json" else 1234
        victim.write_bytes(data[:place] + b"b" + data[place + 1 :])
    assert _fetch(tmp_path / "out", "a") is None
    assert not (home / "exports" / "a").exists()
    _keep(tmp_path / "in", "a")
    assert _fetch(tmp_path / "out", "a") == b"a" * 3000


def test_least_recently_used_go_first(home: Path, tmp_path: Path) -> None:
    for age, key in enumerate("abc"):
        _keep(tmp_path / "in", key)
        os.utime(home / "exports" / key / "entry.json", (age, age))
    assert _fetch(tmp_path / "out", "a"), "and a is the one that was used last"
    _keep(tmp_path / "in", "d")
    assert sorted(path.name for path in (home / "exports").iterdir()) == ["a", "c", "d"]
    assert export_cache.info().bytes <= 12_000


def test_what_is_larger_than_the_limit_is_not_kept(home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    _keep(tmp_path / "in", "b", 13_000)
    assert [path.name for path in (home / "exports").iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("500MB", 500_000_000), ("1.5 g", 1_500_000_000), ("7", 7)]
)
def test_limit(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", text)
    assert export_cache.limit() == count


@pytest.mark.parametrize("text", ["much", "-1", "5 apples", "1e9"])
def test_illegal_limit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", text)
    with pytest.raises(UsageError, match="is not a size"):
        export_cache.limit()


def test_several_at_once(tmp_path: Path) -> None:
    """Whoever comes second lets the first one write; nobody gets a mixture."""

    def work(number: int) -> bool:
        for key in "abcd" * 5:
            _keep(tmp_path / f"in{number}", key)
            found = _fetch(tmp_path / f"out{number}", key)
            assert found in (None, key.encode() * 3000)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert export_cache.info().bytes <= 12_000


def test_a_cache_that_cannot_be_written_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "file"))
    _keep(tmp_path / "in", "a")
    assert _fetch(tmp_path / "out", "a") is None


def test_command(home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    (home / "samples").mkdir()
    (home / "samples" / "one.jpg").write_bytes(b"x" * 50)
    facts = run_cli("cache", "info", "--json").json
    assert [(part["name"], part["entries"]) for part in facts["parts"]] == [
        ("exports", 1),
        ("samples", 1),
    ]
    assert facts["bytes"] > 3050 and facts["limit"] == 12_000
    assert "Did you mean samples" in run_cli("cache", "clear", "sample").error(2)
    cleared = run_cli("cache", "clear", "exports", "--json").json
    assert [part["name"] for part in cleared["removed"]] == ["exports"]
    assert [part["name"] for part in cleared["parts"]] == ["samples"]
    assert "EDGEZOO_CACHE_LIMIT" in run_cli("cache", "info", EDGEZOO_CACHE_LIMIT="x").error(2)
    assert json.loads(run_cli("cache", "clear", "--json").stdout)["bytes"] == 0


def _rewritten(folder: Path, change: dict[str, str]) -> None:
    """Give an entry other files, with a hash that fits: what a foreign writer could do."""
    facts = json.loads((folder / "entry.json").read_text())
    facts["files"] = change
    entry = typed_json.decode(export_cache._Entry, facts)
    facts["sha256"] = export_cache._hash(entry.made, entry.files)
    (folder / "entry.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("name", ["../../planted", "/tmp/edgezoo-planted", "..", "a\nb", ""])
def test_names_that_lead_elsewhere(name: str, home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    _rewritten(home / "exports" / "a", {name: hashlib.sha256(b"x").hexdigest()})
    (home / "exports" / "planted").write_text("x")
    told: list[str] = []
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    assert export_cache.fetch("a", out, told.append) is None
    (line,) = told
    assert "names files outside of it" in line and "\n" not in line
    assert [path.name for path in tmp_path.rglob("planted")] == ["planted"]
    assert not (home / "exports" / "a").exists(), "thrown away"


@pytest.mark.parametrize(
    ("place", "reason"),
    [(".", "others may write a"), ("files", "others may write files"),
     ("entry.json", "others may write entry.json"), ("files/m.bin", "others may write m.bin")],
)  # fmt: skip
def test_entries_that_others_may_write(place: str, reason: str, home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    victim = home / "exports" / "a" / place
    victim.chmod(victim.stat().st_mode | 0o020)
    (tmp_path / "out").mkdir()
    told: list[str] = []
    assert export_cache.fetch("a", tmp_path / "out", told.append) is None
    assert reason in told[0]


@pytest.mark.parametrize("place", ["files/m.bin", "files", "entry.json", "."])
def test_entries_with_links(place: str, home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    victim = home / "exports" / "a" / place
    victim.rename(tmp_path / "moved")
    victim.symlink_to(tmp_path / "moved")
    (tmp_path / "out").mkdir()
    told: list[str] = []
    assert export_cache.fetch("a", tmp_path / "out", told.append) is None
    assert len(told) == 1
    assert (tmp_path / "moved").exists(), "what the link leads to stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")
def test_entries_of_another_user(home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    os.chown(home / "exports" / "a" / "files" / "m.bin", 65534, 65534)
    (tmp_path / "out").mkdir()
    told: list[str] = []
    assert export_cache.fetch("a", tmp_path / "out", told.append) is None
    assert "belongs to another user" in told[0]


def test_an_open_umask_makes_no_open_entries(home: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _keep(tmp_path / "in", "a")
    finally:
        os.umask(before)
    assert _fetch(tmp_path / "out", "a") == b"a" * 3000


def test_a_users_folder_is_not_cleared(home: Path, tmp_path: Path) -> None:
    """Also where its folders have names that the cache has."""
    for name in ("photos", "exports"):
        (home / name).mkdir(parents=True)
        (home / name / "only copy.txt").write_text("mine")
    before = sorted(home.rglob("*"))
    for parts in ((), ("exports",)):
        assert f"{home}, which EDGEZOO_CACHE names" in run_cli("cache", "clear", *parts).error(2)
    assert "has no part 'photos'" in run_cli("cache", "clear", "photos").error(2)
    _keep(tmp_path / "in", "a")  # uses it as a cache, which does not make it one
    assert "holds exports, photos. Nothing was removed" in run_cli("cache", "clear").error(2)
    assert set(before) <= set(home.rglob("*"))


def test_only_known_parts_of_a_cache_are_cleared(home: Path, tmp_path: Path) -> None:
    _keep(tmp_path / "in", "a")
    (home / "thesis").mkdir()
    (home / "notes.txt").write_text("mine")
    (home / "weights").symlink_to(tmp_path / "in")
    assert "cannot be removed" in run_cli("cache", "clear").error(5)
    assert (tmp_path / "in" / "m.bin").exists()
    (home / "weights").unlink()
    cleared = run_cli("cache", "clear")
    assert cleared.code == 0 and "notes.txt, thesis" in cleared.stderr
    assert sorted(path.name for path in home.iterdir()) == ["CACHEDIR.TAG", "notes.txt", "thesis"]
