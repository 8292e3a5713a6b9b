"""One file from the network to its place."""

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
from edgezoo.system.downloads.http import OutOfReachError, Timeouts, bring, session
from edgezoo.system.downloads.part import LOG, Part, staged

if TYPE_CHECKING:
    import requests

_LIMIT = 4_000_000_000
# What comes damaged is fetched once more, from its beginning.
_TRIES = 2
_SAID_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file, and what is known about it.

    Attributes:
        what: what it is, for messages: "The ImageNet weights of vgg16".
        url: where it is published; EDGEZOO_MIRROR stands in for the server.
        place: where it goes; nothing is there yet.
        digest: the published hash as "md5:…", "sha256:…"; None where nobody publishes one: then
            the file must be what it was when it first came from there.
        limit: the most bytes that it may have.
        check: says why a staged file cannot be what is wanted, or None.
        ways_out: what to do where it cannot be had.
    """

    what: str
    url: str
    place: Path
    digest: str | None = None
    limit: int = _LIMIT
    check: Callable[[Path], str | None] = lambda path: None
    ways_out: str = "Check the network, and run the same command again."


class _DamageError(Exception):
    """What came is not what is wanted; the words say why."""


def fetch(
    wanted: Wanted,
    timeout: Timeouts | None = None,
    web: requests.Session | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Bring a file to its place: whole and checked, or not at all.

    A second process that wants the same file waits for the first. Bytes of a broken transfer stay
    in a hidden file beside the place, and the next call goes on from there.

    Args:
        wanted: which file.
        timeout: how long to wait, how often to try; by default as the environment says.
        web: connections to use, see `session`.
        progress: called with the bytes that are here, and with how many there are, where known;
            by default the log tells.

    Raises:
        MissingError: the package requests is not installed.
        UsageError: EDGEZOO_MIRROR or EDGEZOO_TIMEOUT is set to what it cannot be.
        DataError: out of reach, damaged, altered, or not to be stored.
    """
    timeout = timeout or Timeouts.from_environment()
    url = mirrored(wanted.url)
    with nullcontext(web) if web else session() as connections, staged(wanted.place, url) as part:
        if part is None:
            return
        if progress is None:
            LOG.info("Fetching %s from %s", wanted.place.name, url)
        for tries_left in reversed(range(_TRIES)):
            try:
                _bring_checked(wanted, url, part, timeout, connections, progress)
                return
            except _DamageError as damage:
                part.restart(None, None)
                if not tries_left:
                    raise DataError(
                        f"What came for {wanted.place.name} from {url} is not used: {damage}. "
                        f"It was wanted in {wanted.place.parent}.",
                        wanted.ways_out,
                    ) from damage
            except OutOfReachError as reason:
                kept = f"; {part.size} bytes are kept for the next try" if part.resumable else ""
                raise DataError(
                    f"{wanted.what} cannot be fetched ({reason}{kept}): {wanted.place.name} from "
                    f"{url}, wanted in {wanted.place.parent}.",
                    wanted.ways_out,
                ) from reason


def mirrored(url: str) -> str:
    """Where a file is asked for: with EDGEZOO_MIRROR below that address, by host and path.

    So a folder that `wget --force-directories` filled is a mirror behind any web server.

    Raises:
        UsageError: EDGEZOO_MIRROR is no address.
    """
    mirror = os.environ.get("EDGEZOO_MIRROR")
    if not mirror:
        return url
    if not mirror.startswith(("http://", "https://")):
        raise UsageError(
            f"EDGEZOO_MIRROR={mirror} is no address.", "Set it to https://host/path, or to nothing."
        )
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _bring_checked(
    wanted: Wanted,
    url: str,
    part: Part,
    timeout: Timeouts,
    web: requests.Session,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    promised = bring(web, url, part, timeout, wanted.limit, progress or _teller(wanted.place.name))
    part.flush()
    sha256 = _check(wanted, part.path, promised)
    if wanted.digest is None and seen.remember(wanted.url, sha256) != sha256:
        raise _DamageError(seen.differs(wanted.url))
    part.settle(wanted.place)


def _check(wanted: Wanted, path: Path, promised: dict[str, str]) -> str:
    """Check a staged file, what tells most first; its SHA-256."""
    with path.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise _DamageError("it is a web page, such as a login page or the notice of a proxy")
    if wanted.digest is not None:
        algorithm, _, digest = wanted.digest.partition(":")
        if _digest(path, algorithm) != digest:
            raise _DamageError(f"its {algorithm.upper()} is not the published one")
    for algorithm, digest in promised.items():
        if _digest(path, algorithm) != digest:
            raise _DamageError(f"its {algorithm.upper()} is not the one that the server sent along")
    reason = wanted.check(path)
    if reason is not None:
        raise _DamageError(reason)
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file; MD5 only because that is what is published."""
    with path.open("rb") as stream:
        made = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return made.hexdigest()


def _teller(name: str) -> Callable[[int, int | None], None]:
    """Says how far a long transfer is, now and then."""
    last = [time.monotonic()]

    def tell(done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - last[0] >= _SAID_EVERY_S:
            last[0] = now
            share = f"{100 * done / total:.0f} % of " if total else ""
            LOG.debug("%s: %s%.1f MB", name, share, (total or done) / 1e6)

    return tell
