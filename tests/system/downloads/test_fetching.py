"""Files come whole and checked or not at all, whatever a real server on loopback does."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError, UsageError
from edgezoo.system.downloads import Timeouts, Wanted, fetch, seen
from tests.conftest import ROOT, environment
from tests.support.file_server import HTML, Fault, FileServer
from tests.support.processes import PATIENCE, until

DATA = random.Random(0).randbytes(300_000)
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
QUICK = Timeouts(timeout_s=PATIENCE, attempts=3, pause_s=0.0)
# For servers that fall silent.
SHORT = replace(QUICK, timeout_s=4)


@pytest.fixture
def wanted(site: FileServer, tmp_path: Path) -> Wanted:
    site.files["/file.bin"] = DATA
    site.tags["/file.bin"] = '"one"'
    return Wanted("The file", f"{site.address}/file.bin", tmp_path / "place" / "file.bin", MD5)


def _left(wanted: Wanted) -> list[str]:
    return sorted(path.name for path in wanted.place.parent.iterdir())


def _refused(wanted: Wanted, timeouts: Timeouts = QUICK) -> str:
    """The message of a download that is not used; nothing of it is in place."""
    with pytest.raises(DataError) as caught:
        fetch(wanted, timeouts)
    assert not wanted.place.exists()
    assert caught.value.hint == wanted.ways_out
    assert wanted.url in caught.value.message and str(wanted.place.parent) in caught.value.message
    return caught.value.message


def test_comes_whole_and_alone(site: FileServer, wanted: Wanted) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(wanted, QUICK, progress=lambda done, total: told.append((done, total)))
    assert wanted.place.read_bytes() == DATA
    assert _left(wanted) == ["file.bin"]
    assert site.asked == [("/file.bin", None)]
    assert told[-1] == (len(DATA), len(DATA)) and told == sorted(told)


@pytest.mark.parametrize("fault", [Fault(cut=100_000), Fault(stall=100_000)])
def test_goes_on_where_it_broke(site: FileServer, wanted: Wanted, fault: Fault) -> None:
    site.faults["/file.bin"].append(fault)
    fetch(wanted, SHORT)
    assert wanted.place.read_bytes() == DATA
    (_, first), (_, second) = site.asked
    assert first is None
    # What was still on its way in the stalled answer's last block may be asked for again.
    assert second is not None and 80_000 < int(second[6:-1]) <= 100_000


def test_goes_on_in_another_process(site: FileServer, wanted: Wanted) -> None:
    """Killed at an arbitrary moment: the place stays empty, the next call goes on."""
    site.faults["/file.bin"].append(Fault(stall=200_000))
    program = (
        "import pathlib, sys; from edgezoo.system.downloads import Wanted, fetch;"
        "fetch(Wanted('The file', sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, wanted.url, str(wanted.place), MD5]
    with subprocess.Popen(command, cwd=ROOT, env=environment(EDGEZOO_TIMEOUT="600")) as child:
        part = wanted.place.with_name(".file.bin.edgezoo-part")
        assert site.stalled.wait(PATIENCE)
        assert until(lambda: part.exists() and part.stat().st_size >= 150_000)
        child.send_signal(signal.SIGKILL)
    assert not wanted.place.exists()
    fetch(wanted, QUICK)
    assert wanted.place.read_bytes() == DATA
    assert int(str(site.asked[-1][1])[6:-1]) >= 150_000
    assert _left(wanted) == ["file.bin"]


def test_what_is_kept_is_told(site: FileServer, wanted: Wanted) -> None:
    site.for_good = Fault(cut=1000)
    message = _refused(wanted)
    kept = int(message.partition(" bytes are kept")[0].rpartition(" ")[2])
    assert 0 < kept < len(DATA)
    site.forget()
    fetch(wanted, QUICK)
    assert site.asked == [("/file.bin", f"bytes={kept}-")]


def test_nothing_is_kept_of_an_unknown_version(site: FileServer, wanted: Wanted) -> None:
    """Without an ETag or a date, two versions could be mixed."""
    del site.tags["/file.bin"]
    site.for_good = Fault(cut=1000)
    assert "are kept" not in _refused(wanted)
    assert _left(wanted) == []
    assert {asked for _, asked in site.asked} == {None}


def test_a_server_that_knows_no_ranges(site: FileServer, wanted: Wanted) -> None:
    site.faults["/file.bin"].extend([Fault(cut=100_000), Fault(whole=True)])
    fetch(wanted, QUICK)
    assert wanted.place.read_bytes() == DATA


@pytest.mark.parametrize("blind", [False, True])
def test_a_file_that_changes_between_attempts(
    site: FileServer, wanted: Wanted, blind: bool
) -> None:
    """The old half never meets the new one, not even where the server ignores If-Range."""
    new = DATA[::-1]
    site.faults["/file.bin"].append(Fault(cut=100_000))
    site.faults["/file.bin"].append(Fault(blind=blind))
    first = replace(wanted, digest=None)

    def change(done: int, total: int | None) -> None:
        if done:
            site.files["/file.bin"], site.tags["/file.bin"] = new, '"two"'

    fetch(first, QUICK, progress=change)
    assert wanted.place.read_bytes() == new


def test_a_range_of_something_else(site: FileServer, wanted: Wanted) -> None:
    site.faults["/file.bin"].append(Fault(cut=100_000))
    other = Fault(alter=lambda _: bytes(300_000), headers={"Content-Range": "bytes 5-9/300000"})
    site.faults["/file.bin"].append(other)
    fetch(replace(wanted, digest=None), QUICK)
    assert wanted.place.read_bytes() == DATA


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_servers_that_are_busy_are_asked_again(
    site: FileServer, wanted: Wanted, status: int
) -> None:
    site.faults["/file.bin"].extend([Fault(status=status, headers={"Retry-After": "0"})] * 2)
    fetch(wanted, QUICK)
    assert len(site.asked) == 3


@pytest.mark.parametrize(("status", "requests"), [(503, 3), (404, 1), (403, 1)])
def test_servers_that_have_no_file(
    site: FileServer, wanted: Wanted, status: int, requests: int
) -> None:
    site.for_good = Fault(status=status)
    assert f"the server answers {status}" in _refused(wanted)
    assert len(site.asked) == requests
    assert _left(wanted) == []


def test_silence(site: FileServer, wanted: Wanted) -> None:
    site.for_good = Fault(stall=0)
    assert "nothing came for 0.5 s" in _refused(wanted, replace(QUICK, timeout_s=0.5))


def test_nobody_there(wanted: Wanted) -> None:
    gone = replace(wanted, url="http://127.0.0.1:9/file.bin")
    assert "no connection, after 3 attempts" in _refused(gone)


def test_progress_is_not_counted_as_failure(site: FileServer, wanted: Wanted) -> None:
    """Of a large file every attempt may break, as long as it brings something."""
    site.files["/file.bin"] = large = DATA * 20
    site.faults["/file.bin"].extend([Fault(cut=1_100_000)] * 4)
    fetch(replace(wanted, digest=None), QUICK)
    assert wanted.place.read_bytes() == large


def test_redirects(site: FileServer, wanted: Wanted) -> None:
    site.faults["/old"].append(Fault(status=302, headers={"Location": "/file.bin"}))
    fetch(replace(wanted, url=f"{site.address}/old"), QUICK)
    assert wanted.place.read_bytes() == DATA


def test_redirects_in_a_circle(site: FileServer, wanted: Wanted) -> None:
    site.for_good = Fault(status=302, headers={"Location": "/file.bin"})
    assert "TooManyRedirects" in _refused(wanted)


def test_one_alteration_is_mended_by_fetching_again(site: FileServer, wanted: Wanted) -> None:
    site.faults["/file.bin"].append(Fault(alter=lambda data: data[:-1] + b"x"))
    fetch(wanted, QUICK)
    assert wanted.place.read_bytes() == DATA


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(alter=lambda data: HTML), "web page"),
        (Fault(alter=lambda data: data[:-1] + b"x"), "MD5 is not the published one"),
        (Fault(alter=lambda data: data[:-1]), "MD5 is not the published one"),
        (Fault(headers={"Content-Encoding": "gzip"}), "packed"),
    ],
)
def test_altered(site: FileServer, wanted: Wanted, fault: Fault, words: str) -> None:
    site.for_good = fault
    assert words in _refused(wanted)
    assert _left(wanted) == []


def test_more_than_expected(site: FileServer, wanted: Wanted) -> None:
    """Told by the length, or without one while it comes."""
    for headers in ({}, {"Content-Length": None, "Connection": "close"}):
        site.for_good = Fault(headers=headers)
        assert "more than the 1000" in _refused(replace(wanted, limit=1000))
        assert len(site.asked) == 1
        site.forget()


@pytest.mark.parametrize(
    ("header", "prefix", "algorithm", "suffix"),
    [
        ("Repr-Digest", "sha-256=:", "sha256", ":"),
        ("x-goog-hash", "crc32c=AAAAAA==,md5=", "md5", ""),
        ("Content-MD5", "", "md5", ""),
    ],
)
def test_hash_that_the_server_sends_along(
    site: FileServer, wanted: Wanted, header: str, prefix: str, algorithm: str, suffix: str
) -> None:
    digest = b64encode(hashlib.new(algorithm, DATA).digest()).decode()
    headers: dict[str, str | None] = {header: f"{prefix}{digest}{suffix}"}
    unknown = replace(wanted, digest=None)
    site.for_good = Fault(headers=headers, alter=lambda data: data[:-1] + b"x")
    assert "is not the one that the server sent along" in _refused(unknown)
    site.for_good = Fault(headers=headers)
    fetch(unknown, QUICK)
    assert wanted.place.read_bytes() == DATA


def test_first_seen_is_compared_later(site: FileServer, wanted: Wanted, tmp_path: Path) -> None:
    unknown = replace(wanted, digest=None)
    fetch(unknown, QUICK)
    assert seen.known() == {unknown.url: hashlib.sha256(DATA).hexdigest()}
    again = replace(unknown, place=tmp_path / "again" / "file.bin")
    site.files["/file.bin"] = DATA[:-1] + b"x"
    assert "not the file that first came" in _refused(again)
    seen.record_path().unlink()  # as the message says
    fetch(again, QUICK)


def test_record_that_was_cut_short(site: FileServer) -> None:
    """A full disk may leave half a line; the next one is not glued to it."""
    seen.remember("http://a/1", "11")
    with seen.record_path().open("a") as stream:
        stream.write("22\thttp://a/")
    assert seen.remember("http://a/2", "33") == "33"
    assert seen.remember("http://a/2", "44") == "33"
    assert seen.known()["http://a/1"] == "11" and seen.known()["http://a/2"] == "33"


def test_mirror(site: FileServer, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the mirror, by host and path; nobody else is asked, and hashes belong to the origin."""
    origin = "https://files.example.invalid/models/file.bin"
    site.files["/keras/files.example.invalid/models/file.bin"] = DATA
    monkeypatch.setenv("EDGEZOO_MIRROR", f"{site.address}/keras/")
    fetch(replace(wanted, url=origin, digest=None), QUICK)
    assert wanted.place.read_bytes() == DATA
    assert list(seen.known()) == [origin]
    monkeypatch.setenv("EDGEZOO_MIRROR", "my-mirror")
    with pytest.raises(UsageError, match="EDGEZOO_MIRROR=my-mirror is no address"):
        fetch(replace(wanted, place=wanted.place.with_name("other")), QUICK)


def test_proxy_of_the_environment(
    site: FileServer, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://files.example.invalid/file.bin"
    monkeypatch.setenv("http_proxy", site.address)
    fetch(replace(wanted, url=url), QUICK)
    assert site.asked == [(url, None)]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="the proxy does not answer"):
        fetch(replace(wanted, url=url, place=wanted.place.with_name("other")), QUICK)


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_timeout_that_is_none(wanted: Wanted, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("EDGEZOO_TIMEOUT", given)
    with pytest.raises(UsageError, match="EDGEZOO_TIMEOUT"):
        fetch(wanted)


def test_folder_that_cannot_be_written(wanted: Wanted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(replace(wanted, place=tmp_path / "file" / "file.bin"), QUICK)


def test_two_processes_at_once(site: FileServer, wanted: Wanted) -> None:
    """The second waits for the first and finds the file."""
    program = (
        "import logging, pathlib, sys; from edgezoo.system.downloads import Wanted, fetch;"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s');"
        "fetch(Wanted('The file', sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]))"
    )
    command = [sys.executable, "-u", "-c", program, wanted.url, str(wanted.place), MD5]
    site.faults["/file.bin"].append(Fault(stall=200_000))
    env = environment(EDGEZOO_TIMEOUT="600")
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as first:
        assert site.stalled.wait(PATIENCE)
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as second:
            assert second.stdout is not None
            assert second.stdout.readline().startswith(b"Another process is fetching")
            site.released.set()
            assert (first.wait(PATIENCE), second.wait(PATIENCE)) == (0, 0)
    assert wanted.place.read_bytes() == DATA
    assert len(site.asked) == 2, "one that stalled, one that went on"
    assert _left(wanted) == ["file.bin"]


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_stays(site: FileServer, wanted: Wanted) -> None:
    before = _open_files()
    for _ in range(20):
        site.for_good = Fault(cut=10)
        _refused(wanted)
        site.forget()
        fetch(wanted, QUICK)
        wanted.place.unlink()
    # The server, in this process, closes its side in its own time.
    assert until(lambda: _open_files() <= before), f"{before} open files became {_open_files()}"
