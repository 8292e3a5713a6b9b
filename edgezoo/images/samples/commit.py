"""The hashes of the files in a published commit, without downloading the files.

A commit's id is a hash over the id of its tree, which is a hash over the ids of its files, which
are hashes of their bytes (SHA-1 with a header). So a pinned commit pins every file, and git
checks the chain while it fetches.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from edgezoo.system.scratch import scratch

_TIMEOUT_S = 60


class UnknownError(Exception):
    """The hashes are not available; the message says why."""


def blobs(repository: str, commit: str) -> dict[str, str]:
    """Return git's hash of each file in the root of a commit, by name.

    Raises:
        UnknownError: git is not installed, or the repository cannot be reached.
    """
    with scratch() as folder:
        _git(folder, "init", "--quiet", "--bare")
        _git(folder, "remote", "add", "origin", repository)
        _git(folder, "fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit)
        listing = _git(folder, "ls-tree", "-z", commit)
    entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
    return {name: facts.split()[2] for facts, _, name in entries}


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except FileNotFoundError as error:
        raise UnknownError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise UnknownError(f"git did not respond for {_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise UnknownError(f"git reports: {lines[-1]}") from error
    return done.stdout


def blob_of(path: Path) -> str:
    """Return git's hash of a file."""
    state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    state.update(path.read_bytes())
    return state.hexdigest()
