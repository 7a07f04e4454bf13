"""Parses Python that a stranger may have written, within bounds. Nothing of it is run.

CPython joins the words of a dotted import one by one, so that 196 KB of `import a.a.a…` took 25 s
and 10 GB: such chains are refused before any parser sees them.
"""

from __future__ import annotations

import ast
import re
import warnings

#: Words of a dotted name; nobody writes a tenth of them.
_CHAIN = re.compile(rb"(?>\.[\s\\]*+[\w\x80-\xff]++[\s\\]*+){200}")

#: How a source says its encoding (PEP 263), and encodings that leave dots and letters as they are.
_ENCODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")
_LINE_END = re.compile(rb"\r\n?|\n")
_ENCODINGS = frozenset({"utf-8", "utf8", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1",
                        "iso8859-1", "iso-8859-15", "cp1252", "windows-1252"})  # fmt: skip


#: What a source raises that is none, or that asks for too much.
UNREADABLE = (
    SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, LookupError,
)  # fmt: skip


def parse(source: bytes, *, python: tuple[int, int] | None = None, path: str = "") -> ast.Module:
    """The tree; any of UNREADABLE where there is none. `python`: the oldest interpreter that has to
    understand it."""
    check(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, path or "<source>", feature_version=python)


def check(source: bytes) -> None:
    """ValueError for what would cost a parser more than its length."""
    first_lines = _LINE_END.split(source, maxsplit=2)[:2]
    said = next(filter(None, map(_ENCODING.match, first_lines)), None)
    if said and said[1].decode("ascii").lower().replace("_", "-") not in _ENCODINGS:
        raise ValueError("an encoding in which the chain might not be seen")
    if _CHAIN.search(source):
        raise ValueError("a dotted name is too long")
