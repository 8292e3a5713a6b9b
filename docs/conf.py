"""Sphinx builds the site from these pages: `make site` writes it to build/site.

The pages are plain Markdown, which code hosts render as well. Warnings are errors.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # this checkout, whatever is installed

import plots  # noqa: E402

from edgezoo import __version__  # noqa: E402

project = "EdgeZoo"
author = "The EdgeZoo developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["examples"]
source_suffix = {".md": "markdown"}
nitpicky = False  # docstrings name types informally

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"EdgeZoo {release}"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def _keep_inside(app: Any, docname: str, source: list[str]) -> None:
    """Turn links to files outside this folder into plain text: the site does not have them."""
    folder = (HERE / docname).parent

    def replaced(match: re.Match[str]) -> str:
        inside = (folder / match["file"]).resolve().is_relative_to(HERE)
        return match[0] if inside else match["text"]

    source[0] = re.sub(
        r"\[(?P<text>[^\]]+)\]\((?P<file>[^)#:]+\.md)(#[^)]*)?\)", replaced, source[0]
    )


def setup(app: Any) -> None:
    """Draw the plots of committed results before the pages are read."""
    plots.write(HERE / "_plots")
    app.connect("source-read", _keep_inside)
