"""Untrusted text in GitHub Markdown: inert, always.

Everything that a pull request could choose (names, messages, output) passes through `code_span`,
`prose` or `code_block`, so that it can neither mention, link, forge a table's row nor break out.
Links are made of checked parts only: a link to anything but our own repository's pages is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ailab_bot.report import words

#: What a sentence of ours is made of: nothing that Markdown or GitHub reads as markup or a link,
#: wherever in a line it stands.
_PROSE = re.compile(r"(?!\d+[.)])[A-Za-z0-9][A-Za-z0-9 \u00a0,.;:%±()'-]*")
#: One word of such a sentence: no name of a file or function, which would have a dot, `_` or `/`.
_PLAIN = re.compile(r"\(?(\d[\d.,]*|[A-Za-z0-9][A-Za-z0-9\u00a0'-]*)[)%]?[.,;:)]*|[-–%±]")
_REFERENCE = re.compile(r"GH-\d|www\.|:\w", re.IGNORECASE)
#: Lines of output shown; their end says why.
_MOST_LINES = 20
_SERVER = re.compile(r"https?://[A-Za-z0-9.-]{1,200}(:\d{1,5})?")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_RUN_PATH = re.compile(r"/actions/runs/\d{1,20}(/attempts/\d{1,6})?")
_SHA = re.compile(r"[0-9a-f]{40}")


def code_span(text: str, most: int = words.LONGEST_NAME) -> str:
    """Untrusted text as an inert code span: one line, cut, its fence longer than any inside."""
    shown = words.clean(text, most).replace("|", "¦").strip() or "\ufffd"
    fence = "`" * (_longest_backticks(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_list(texts: Sequence[str], most: int) -> str:
    """Code spans with commas, and how many more there are than `most`."""
    shown = ", ".join(code_span(text) for text in texts[:most])
    return shown + (f" and {len(texts) - most} more" if len(texts) > most else "")


def prose(text: str, most: int = words.LONGEST_NAME) -> str:
    """A sentence as such when it is made of letters and figures alone, else an inert code span."""
    harmless = _PROSE.fullmatch(text) and not _REFERENCE.search(text)
    return words.clean(text, most) if harmless else code_span(text, most)


def mixed(text: str, most: int = words.LONGEST_NAME) -> str:
    """A sentence of ours with names in it: each word that is no plain one becomes a code span."""
    shown = words.clean(text, most).split()
    return " ".join(word if _is_plain(word) else _code_word(word) for word in shown)


def _is_plain(word: str) -> bool:
    return bool(_PLAIN.fullmatch(word)) and not _REFERENCE.search(word)


def _code_word(word: str) -> str:
    """Without the comma or bracket that belongs to the sentence."""
    inner = word.rstrip(",.;:)").lstrip("(")
    before, _, after = word.partition(inner) if inner else ("", "", "")
    return f"{before}{code_span(inner)}{after}" if inner else code_span(word)


def code_block(lines: tuple[str, ...]) -> str:
    """The last untrusted lines as an inert fenced block."""
    shown = [words.clean(line, 200) for line in lines[-_MOST_LINES:]]
    fence = "`" * max(3, _longest_backticks("\n".join(shown)) + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def commit_link(sha: str, server_url: str, repository: str) -> str:
    """`abc1234def56` as a link to its page; without one where a part is not what it should be."""
    shown = code_span(sha[:12])
    if _is_ours(server_url, repository) and _SHA.fullmatch(sha):
        return f"[{shown}]({server_url}/{repository}/commit/{sha})"
    return shown


def run_link(text: str, url: str, server_url: str, repository: str) -> str:
    """`text` (ours) as a link to a workflow run of this repository, else `text` alone."""
    home = f"{server_url}/{repository}"
    inside = url.removeprefix(home)
    if _is_ours(server_url, repository) and inside != url and _RUN_PATH.fullmatch(inside):
        return f"[{text}]({url})"
    return text


def _is_ours(server_url: str, repository: str) -> bool:
    return bool(_SERVER.fullmatch(server_url) and _REPOSITORY.fullmatch(repository))


def _longest_backticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
