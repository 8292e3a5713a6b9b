"""The messages that troubleshooting.md quotes are messages of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.conftest import ROOT
from tests.docs.test_docs import DOCS

TEXT = (DOCS / "troubleshooting.md").read_text()
QUOTES = [
    " ".join(line.removeprefix("> ") for line in quote.splitlines())
    for quote in re.findall(r"(?:^> .*\n)+", TEXT, re.MULTILINE)
]
# Shorter pieces between the values of an f-string could be found anywhere.
SHORTEST = 5


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote[:40])
def test_message_is_in_the_code(quote: str) -> None:
    rest = quote
    for piece in sorted(_pieces(), key=len, reverse=True):
        rest = rest.replace(piece, " | ")
    # What stays are values, such as a file's name; one of them may be a plain word.
    words = [word for word in rest.split() if re.fullmatch("[a-z]{4,}", word)]
    assert len(words) <= 1, words


@cache
def _pieces() -> frozenset[str]:
    """Return the texts in the code, those with values in pieces between them."""
    files = (
        file
        for folder in ("edgezoo", "runtimes", "exporters", "calibration")
        for file in (ROOT / folder).rglob("*.py")
    )
    texts = {text for file in files for text in _texts(ast.parse(file.read_text()))}
    return frozenset(text.strip() for text in texts if len(text.strip()) >= SHORTEST)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
