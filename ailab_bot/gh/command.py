"""`/ailab …` in a comment -> a command, a mistake, or nothing. Pure: no rights, no network.

Exact, lower case, one per comment, on its first line. What merely looks like a command, in code,
quotes, HTML comments or headings, is none: people must be able to write about the bot.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TypeAlias

PREFIX = "/ailab"
NAMES = ("rerun", "run", "accept", "cancel", "explain", "help")

_ARGUMENT = re.compile(r"[a-z0-9_.-]{1,64}")
#: Short SHAs as GitHub shows them have 7 digits.
_SHA = re.compile(r"[0-9a-f]{7,40}")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
#: Longer ones are no commands, and GitHub's own limit is 65,536.
_LONGEST_BODY = 70_000
MOST_SCENARIOS = 20
LONGEST_REASON = 200


@dataclass(frozen=True)
class Rerun:
    """Measure again: the scenarios named, those that failed, or (neither) all of the plan."""

    scenarios: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True)
class Run:
    """Measure scenarios in addition to the plan's; `everything`: all that there are."""

    scenarios: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True)
class Accept:
    """The regression at `sha` (7 to 40 digits) is intended, for this reason."""

    sha: str
    reason: str


@dataclass(frozen=True)
class Cancel:
    pass


@dataclass(frozen=True)
class Explain:
    scenarios: tuple[str, ...] = ()


@dataclass(frozen=True)
class Help:
    pass


@dataclass(frozen=True)
class Mistake:
    """A command that cannot be followed: `what` is wrong, in words of ours about `shown` (the
    user's own text, untrusted), and the `suggestion`, a command of ours or "".
    """

    what: str
    shown: str = ""
    suggestion: str = ""


Command: TypeAlias = Rerun | Run | Accept | Cancel | Explain | Help


def parse_command(body: str) -> Command | Mistake | None:
    """What the comment asks for. None: nothing, the comment is not for us."""
    if len(body) > _LONGEST_BODY:
        return None
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = lines[0].rstrip()
    word, *arguments = first.split() or [""]
    if first != first.lstrip() or word.lower() != PREFIX:
        return None
    if word != PREFIX:
        return Mistake("commands are lower case", word, PREFIX + " help")
    if any(_is_command(line) for line in _spoken(lines[1:])):
        return Mistake("one command per comment: none was carried out", "", "")
    if not arguments:
        return Mistake("the command is missing", "", f"{PREFIX} help")
    name, *rest = arguments
    if name not in NAMES:
        close = difflib.get_close_matches(name.lower(), NAMES, n=1)
        return Mistake("unknown command", name, f"{PREFIX} {close[0]}" if close else "")
    if name == "accept":
        return _accept(rest, first)
    return _with_scenarios(name, rest)


def _accept(rest: list[str], line: str) -> Command | Mistake:
    form = f"{PREFIX} accept SHA REASON"
    if not rest:
        return Mistake("`accept` needs the commit and the reason", "", form)
    if not _SHA.fullmatch(rest[0]):
        return Mistake("`accept` needs the commit's SHA first (7 to 40 digits)", rest[0], form)
    reason = line.split(None, 3)[3].strip() if len(rest) > 1 else ""
    if not reason:
        return Mistake("`accept` needs the reason, for those who read it later", "", form)
    return Accept(rest[0], reason[:LONGEST_REASON])


def _with_scenarios(name: str, rest: list[str]) -> Command | Mistake:
    for argument in rest:
        if not _ARGUMENT.fullmatch(argument):
            return Mistake(
                "not the name of a scenario (lower-case letters, digits, . _ -)", argument
            )
    if len(rest) > MOST_SCENARIOS:
        return Mistake(f"at most {MOST_SCENARIOS} scenarios at a time", "", f"{PREFIX} run all")
    names = tuple(dict.fromkeys(rest))
    if name in {"cancel", "help"}:
        if names:
            return Mistake(f"`{name}` takes nothing more", names[0], f"{PREFIX} {name}")
        return Cancel() if name == "cancel" else Help()
    if name == "rerun":
        if "failed" in names and len(names) > 1:
            return Mistake("`failed` stands alone", " ".join(names), f"{PREFIX} rerun failed")
        return Rerun((), failed=True) if names == ("failed",) else Rerun(names)
    if name == "explain":
        return Explain(names)
    if not names:
        return Mistake("`run` needs scenarios, or `all`", "", f"{PREFIX} run all")
    if "all" in names and len(names) > 1:
        return Mistake("`all` stands alone", " ".join(names), f"{PREFIX} run all")
    return Run((), everything=True) if names == ("all",) else Run(names)


def _is_command(line: str) -> bool:
    return line.split(None, 1)[:1] == [PREFIX]


def _spoken(lines: list[str]) -> list[str]:
    """Lines that are neither code, quotes, headings nor inside an HTML comment."""
    spoken: list[str] = []
    fence, hidden = "", False
    for line in lines:
        opening = _FENCE.match(line)
        if fence:
            if opening and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif hidden:
            hidden = "-->" not in line
        elif opening:
            fence = opening[1]
        elif "<!--" in line:
            hidden = "-->" not in line.split("<!--", 1)[1]
        elif not line.startswith((">", "#", "    ", "\t")):
            spoken.append(line)
    return spoken
