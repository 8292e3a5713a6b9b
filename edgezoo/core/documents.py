"""The one reader of JSON and TOML files: regular files of bounded size and depth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgezoo.core.files import read_limited
from edgezoo.core.typed_json import parse_json, require_shallow

# A record of a thousand rounds has 1 MB, a manifest 30 kB.
LARGEST_JSON = 64 << 20
# TOML takes its parser seconds a megabyte.
LARGEST_TOML = 1 << 20
# Comments and strings, in the order in which TOML reads them; they may hold any number of dots.
_QUOTED = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.S
)
# A dotted key of a hundred parts: tomllib keeps every prefix of it, which takes gigabytes for
# one of megabytes.
_DEEP_KEY = re.compile(r"(?:\.[ \t]*[^\s.=,\[\]{}]{0,300}[ \t]*){100}")


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Parse a JSON file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is larger than `most` bytes, or as of `parse_json`.
    """
    return parse_json(read_limited(path, most))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is not TOML, has more than a MiB, or is nested too deeply.
    """
    import tomllib

    text = read_limited(path, LARGEST_TOML).decode("utf-8")
    if _DEEP_KEY.search(_QUOTED.sub("q", text)):
        raise ValueError("it is nested too deeply")
    try:
        facts = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    require_shallow(facts)
    return facts
