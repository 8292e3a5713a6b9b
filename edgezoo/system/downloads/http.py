"""Download one file by HTTP into its staged part, across broken connections.

A broken transfer resumes where it stopped. Range with If-Range (RFC 9110, 14 and 13.1.5) never
mixes two versions: a server whose file has changed, or that lacks ranges, sends the whole file.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgezoo.core.errors import MissingError, UsageError
from edgezoo.system.downloads.part import LOG, Part

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int | None], None]
_CHUNK = 1 << 14
# An attempt that received this many bytes resets the count of failures.
_PROGRESS = 1 << 20
_LONGEST_PAUSE_S = 60.0
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
# Names in headers and in hashlib, strongest first.
_DIGESTS = {"sha-512": "sha512", "sha-256": "sha256", "md5": "md5"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a server, and how often to retry.

    Attributes:
        timeout_s: seconds for a connection, and for the next bytes of a response.
        attempts: consecutive attempts without progress before giving up.
        pause_s: seconds before the second attempt, doubled for each further one.
    """

    timeout_s: float = 20.0
    attempts: int = 4
    pause_s: float = 0.5

    @classmethod
    def from_environment(cls) -> Timeouts:
        """Read EDGEZOO_TIMEOUT in seconds, if it is set.

        Raises:
            UsageError: it is not a number of seconds.
        """
        given = os.environ.get("EDGEZOO_TIMEOUT")
        if not given:
            return cls()
        seconds = 0.0
        with contextlib.suppress(ValueError):
            seconds = float(given)
        if not 0 < seconds < 86_400:
            message = f"EDGEZOO_TIMEOUT={given} is not a number of seconds."
            raise UsageError(message, "Set it to 60 or unset it.")
        return cls(timeout_s=seconds)


class OutOfReachError(Exception):
    """The server is unreachable or responds with an error; the message states which."""


class _BrokenError(Exception):
    """An attempt failed for a reason that may be temporary."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def session() -> requests.Session:
    """Return a session with proxies and certificates from the environment.

    Raises:
        MissingError: the package requests is not installed.
    """
    try:
        import requests
    except ImportError as error:
        message = "Fetching files needs the package requests, which is not installed."
        raise MissingError(message, 'Run: pip install "edgezoo[export]"') from error
    made = requests.Session()
    made.headers["Accept-Encoding"] = "identity"  # ranges count bytes of the file itself
    return made


def bring(
    web: requests.Session, url: str, part: Part, timeout: Timeouts, limit: int, progress: Progress
) -> dict[str, str]:
    """Fill a part with a file of at most `limit` bytes, with retries.

    Returns:
        Hex digests of the whole file that the server sent, by hashlib name.

    Raises:
        OutOfReachError: the file cannot be downloaded.
        DataError: the file cannot be written.
    """
    failures = 0
    while True:
        before = part.size
        progress(part.size, part.total)  # may raise to cancel the download
        try:
            return _attempt(web, url, part, timeout, limit, progress)
        except _BrokenError as broken:
            failures = 1 if part.size - before >= _PROGRESS else failures + 1
            if failures >= timeout.attempts:
                tries = f", after {failures} attempts" if failures > 1 else ""
                raise OutOfReachError(f"{broken}{tries}") from broken
            pause = max(broken.pause_s, timeout.pause_s * 2 ** (failures - 1))
            LOG.debug("%s: trying again", broken)
            time.sleep(min(pause, _LONGEST_PAUSE_S))


def _attempt(
    web: requests.Session, url: str, part: Part, timeout: Timeouts, limit: int, progress: Progress
) -> dict[str, str]:
    if part.complete:
        return {}
    resume = {"Range": f"bytes={part.size}-", "If-Range": str(part.validator)}
    headers = resume if part.resumable else {}
    seconds = timeout.timeout_s
    with (
        _translated(timeout),
        web.get(url, headers=headers, stream=True, timeout=seconds) as answer,
    ):
        _check_status(answer, url)
        _start(answer, part)
        if max(part.total or 0, part.size) > limit:
            size = f"{part.total} bytes"
            raise OutOfReachError(f"it has {size}, more than the {limit} expected at most")
        for data in answer.raw.stream(_CHUNK, decode_content=False):
            part.add(data)
            if part.size > limit:
                raise OutOfReachError(f"it has more than the {limit} bytes expected at most")
            progress(part.size, part.total)
        if part.total is not None and part.size < part.total:
            raise _BrokenError(f"the answer ended after {part.size} of {part.total} bytes")
        return _promised(answer.headers)


@contextlib.contextmanager
def _translated(timeout: Timeouts) -> Iterator[None]:
    """Translate exceptions of requests and urllib3 into temporary and permanent errors."""
    import requests
    import urllib3.exceptions as low

    try:
        yield
    except requests.exceptions.SSLError as error:
        raise OutOfReachError("its certificate is not trusted") from error
    except requests.exceptions.ProxyError as error:
        raise _BrokenError("the proxy does not respond") from error
    except (requests.exceptions.Timeout, low.TimeoutError) as error:
        raise _BrokenError(f"no data for {timeout.timeout_s:g} s") from error
    except requests.exceptions.ConnectionError as error:
        unknown = "NameResolutionError" in str(error)
        raise _BrokenError("its host is not found" if unknown else "no connection") from error
    except (requests.exceptions.RequestException, low.HTTPError) as error:
        if isinstance(error, low.ProtocolError | requests.exceptions.ChunkedEncodingError):
            raise _BrokenError("the connection broke") from error
        raise OutOfReachError(f"{type(error).__name__}") from error


def _check_status(answer: requests.Response, url: str) -> None:
    hops = [hop.url for hop in answer.history] + [answer.url]
    if url.startswith("https:") and not all(hop.startswith("https:") for hop in hops):
        raise OutOfReachError("it is redirected from https to http, which is insecure")
    status = answer.status_code
    if status in _BUSY:
        wait = answer.headers.get("Retry-After", "")
        raise _BrokenError(f"the server returns {status}", float(wait) if wait.isdecimal() else 0.0)
    if status not in (200, 206, 416):
        raise OutOfReachError(f"the server returns {status} {answer.reason or ''}".rstrip())
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise OutOfReachError("the server compresses it although the request excludes that")


def _start(answer: requests.Response, part: Part) -> None:
    """Prepare the part for the response: resume where the server does, else start again."""
    if answer.status_code == 200:
        length = answer.headers.get("Content-Length", "")
        part.restart(_validator(answer.headers), int(length) if length.isdecimal() else None)
        return
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    fits = (
        answer.status_code == 206
        and found is not None
        and int(found[1]) == part.size
        and part.total in (None, int(found[2]))
        and _validator(answer.headers) in (None, part.validator)
    )
    if not fits:
        part.restart(None, None)
        raise _BrokenError("the server resumed with another version")


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return a validator for If-Range: a strong ETag, else the date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _promised(headers: Mapping[str, str]) -> dict[str, str]:
    """Return digests of the whole file: RFC 9530's, Google's, and the older Content-MD5.

    Repr-Digest and x-goog-hash describe the whole file in responses to range requests, too.
    """
    fields: dict[str, str] = {}
    for item in headers.get("Repr-Digest", "").split(","):
        name, _, value = item.strip().partition("=")
        fields[name.lower()] = value.strip(":")
    for item in headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        fields.setdefault(name.lower(), value)
    if "Content-Range" not in headers:
        fields.setdefault("md5", headers.get("Content-MD5", ""))
    found = {}
    for name, algorithm in _DIGESTS.items():
        with contextlib.suppress(binascii.Error):
            found[algorithm] = base64.b64decode(fields.get(name, ""), validate=True).hex()
    return {algorithm: digest for algorithm, digest in found.items() if digest}
