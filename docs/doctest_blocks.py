"""Griffe extension for the site: a doctest in a docstring becomes a code block (Markdown reads `>>>` as a quotation)."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^( *)>>> .*\n?(?:^(?!\s*$).*\n?)*", re.MULTILINE)


class DoctestBlocks(griffe.Extension):
    """Put every doctest between fences."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match[str]) -> str:
    return f"{match[1]}```pycon\n{match[0].rstrip()}\n{match[1]}```\n"
