"""One escape a sink: text of a stranger's file becomes text again, whatever reads it.

Names in files, folders, records and manifests may hold orders to a terminal, markup, formulas or
code. Whoever writes such a name for a reader calls the function of that reader, once, at the end.
"""

from __future__ import annotations

import html as _html
import re
import shlex

# Characters of one name in a table, a line or a page.
LONGEST = 2000
# A class name; the longest of ImageNet's has 121.
LONGEST_LABEL = 1000
# C0 and C1; separators of lines and paragraphs; marks, embeddings, overrides and isolates of
# direction (UAX #9); surrogates, which no encoding of a terminal or a file can represent.
_UNSEEN = "\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE = re.compile(f"[{_UNSEEN}]")
_IN_A_TEXT = re.compile(f"(?![\t\n])[{_UNSEEN}]")
# What no class name may hold: marks of direction are part of some scripts.
_IN_A_LABEL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MARKDOWN = re.compile(r"[\\`*\[\]|#~]")
_PLAIN_CODE = re.compile(r"[\w .,:=+/@%()-]*", re.ASCII)
# Spreadsheets take a cell that begins so for a formula; full-width forms count too.
_FORMULA = re.compile(r"\s*[=+\-@\uff0b\uff0d\uff1d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def _as_python(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def text(value: str) -> str:
    """Escape for a terminal, and keep the lines of a text.

    Control characters except newline and tab, and characters that change the direction of writing,
    become Python's escape sequences.
    """
    return _IN_A_TEXT.sub(_as_python, value)


def line(value: object) -> str:
    """Escape for one line of a terminal: a name can start no line of its own."""
    return _IN_A_LINE.sub(_as_python, str(value))


def label(value: str) -> str:
    """Return a class name on one line, as a contract holds it."""
    return _IN_A_LABEL.sub(_as_python, value)


def cut(value: str, most: int = LONGEST) -> str:
    """Cut a name that is longer than any reader wants, before something is laid out with it."""
    return value if len(value) <= most else f"{value[: most - 1]}…"


def cell(value: object) -> str:
    """Return a name for a cell of a table on a terminal; None is a dash."""
    # Cut first: escaping a name of megabytes costs seconds.
    return "-" if value is None else line(cut(str(value)))


def markdown(value: object) -> str:
    """Escape for Markdown, also within a table: neither HTML nor a link, on one line."""
    if value is None:
        return "-"
    escaped = _html.escape(line(" ".join(cut(str(value), LONGEST).split())))
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", escaped)


def markdown_code(value: object) -> str:
    """Return a code span of Markdown; what could end it is shown as text instead."""
    shown = line(cut(str(value)))
    return f"`{shown}`" if shown and _PLAIN_CODE.fullmatch(shown) else markdown(value)


def csv(value: object) -> object:
    """Escape a cell of a CSV file: no spreadsheet takes it for a formula. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    shown = line(value)
    return f"'{shown}" if _FORMULA.match(shown) and not _NUMBER.fullmatch(shown) else shown


def html(value: object) -> str:
    """Escape for HTML and SVG."""
    return _html.escape(text(str(value)))


def in_template(value: object) -> object:
    """Escape control characters of a value; the template escapes markup itself."""
    return text(value) if type(value) is str else value


def c_comment(value: object) -> str:
    """Escape for a comment of C on one line: it can neither end nor nest it, nor join lines."""
    shown = re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", line(value))
    return f"{shown} " if shown.endswith("\\") else shown


def c_string(value: str) -> str:
    """Return a string literal of C; what is not plain ASCII is written in octal."""
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in value.encode("utf-8", "backslashreplace")
    )
    return f'"{"".join(plain)}"'


def shell(value: object) -> str:
    """Quote a word of a command that a user may copy into a shell."""
    word = str(value)
    if not _IN_A_LINE.search(word):
        return shlex.quote(word)
    # $'...' of bash, zsh and POSIX 2024 is the one form that shows a control character.
    data = word.encode("utf-8", "surrogateescape" if _from_a_path(word) else "backslashreplace")
    quoted = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\{byte:03o}"
        for byte in data
    )
    return f"$'{quoted}'"


def _from_a_path(word: str) -> bool:
    """Whether surrogates stand for bytes of a file's name that are not UTF-8."""
    return not re.search("[\ud800-\udc7f\udd00-\udfff]", word)
