"""Download one file to its destination."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgezoo.core.errors import DataError, UsageError
from edgezoo.system.downloads import seen
from edgezoo.system.downloads.http import OutOfReachError, Progress, Timeouts, bring, session
from edgezoo.system.downloads.part import LOG, staged

if TYPE_CHECKING:
    import requests

_LIMIT = 4_000_000_000
# A damaged file is downloaded once more, from its beginning.
_TRIES = 2
_LOG_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to download, and how to check it.

    Attributes:
        what: its name in messages: "The ImageNet weights of vgg16".
        url: its published address; EDGEZOO_MIRROR replaces the server.
        place: its destination, which does not exist yet.
        digest: the published hash as "md5:…" or "sha256:…"; None if there is none: the file must
            then equal the first download from that address.
        limit: its maximum size in bytes.
        check: returns why a staged file is not the wanted file, or None.
        ways_out: the hint of an error message.
    """

    what: str
    url: str
    place: Path
    digest: str | None = None
    limit: int = _LIMIT
    check: Callable[[Path], str | None] = lambda path: None
    ways_out: str = "Check the network, and run the same command again."


class _DamageError(Exception):
    """The downloaded file is not the wanted file; the message states why."""


def fetch(
    wanted: Wanted,
    timeout: Timeouts | None = None,
    web: requests.Session | None = None,
    progress: Progress | None = None,
) -> None:
    """Download a file to its destination: complete and checked, or not at all.

    A second process that wants the same file waits for the first. An interrupted download stays
    in a hidden file next to the destination, and the next call resumes it.

    Args:
        timeout: timeouts and number of attempts; by default from the environment.
        progress: called with the bytes received and the total, if known; logs them by default.

    Raises:
        MissingError: the package requests is not installed.
        UsageError: EDGEZOO_MIRROR or EDGEZOO_TIMEOUT is invalid.
        DataError: the file is unreachable, damaged or altered, or cannot be written.
    """
    timeout = timeout or Timeouts.from_environment()
    url = mirrored(wanted.url)
    with nullcontext(web) if web else session() as connections, staged(wanted.place, url) as part:
        if part is None:
            return
        report = progress or _log_progress(wanted.place.name, url)
        for tries_left in reversed(range(_TRIES)):
            try:
                promised = bring(connections, url, part, timeout, wanted.limit, report)
                part.flush()
                _check(wanted, part.path, promised)
                part.settle(wanted.place)
                return
            except _DamageError as damage:
                part.restart(None, None)
                if not tries_left:
                    raise _failed(wanted, url, f"the response was rejected: {damage}") from damage
            except OutOfReachError as reason:
                kept = f"; {part.size} bytes are kept for the next try" if part.resumable else ""
                raise _failed(wanted, url, f"{reason}{kept}") from reason


def _failed(wanted: Wanted, url: str, reason: str) -> DataError:
    return DataError(
        f"{wanted.what} cannot be fetched ({reason}): {wanted.place.name} from {url} to "
        f"{wanted.place.parent}.",
        wanted.ways_out,
    )


def mirrored(url: str) -> str:
    """Return the address to download from: host and path below EDGEZOO_MIRROR, if that is set.

    Any web server on a folder filled by `wget --force-directories` is a mirror.

    Raises:
        UsageError: EDGEZOO_MIRROR is not an address.
    """
    mirror = os.environ.get("EDGEZOO_MIRROR")
    if not mirror:
        return url
    if not mirror.startswith(("http://", "https://")):
        message = f"EDGEZOO_MIRROR={mirror} is not an address."
        raise UsageError(message, "Set it to https://host/path.")
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _check(wanted: Wanted, path: Path, promised: dict[str, str]) -> None:
    """Check a staged file, the most telling check first, and remember its SHA-256."""
    with path.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise _DamageError("it is a web page, such as a login page or a proxy's notice")
    if wanted.digest is not None:
        algorithm, _, digest = wanted.digest.partition(":")
        if _digest(path, algorithm) != digest:
            raise _DamageError(f"its {algorithm.upper()} is not the published one")
    for algorithm, digest in promised.items():
        if _digest(path, algorithm) != digest:
            raise _DamageError(f"its {algorithm.upper()} is not the one that the server sent")
    reason = wanted.check(path)
    if reason is not None:
        raise _DamageError(reason)
    sha256 = _digest(path, "sha256")
    if wanted.digest is None and seen.remember(wanted.url, sha256) != sha256:
        raise _DamageError(seen.differs(wanted.url))


def _digest(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file; MD5 is used only where it is the published hash."""
    with path.open("rb") as stream:
        state = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return state.hexdigest()


def _log_progress(name: str, url: str) -> Progress:
    """Log the start of a download, and return a function that logs its progress at intervals."""
    LOG.info("Fetching %s from %s", name, url)
    last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_INTERVAL_S:
            last = time.monotonic()
            share = f"{100 * done / total:.0f} % of " if total else ""
            LOG.debug("%s: %s%.1f MB", name, share, (total or done) / 1e6)

    return report
