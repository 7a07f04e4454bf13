"""`/ailab …` in a comment -> a command, a mistake, or nothing. Pure: no rights, no network.

Exact, lower case, one per comment, on its first line. What merely looks like a command, in code,
quotes, HTML comments or headings, is none: people must be able to write about the bot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

PREFIX = "/ailab"
NAMES = ("rerun", "run", "accept", "cancel", "explain", "ack", "revert", "help")

_ARGUMENT = re.compile(r"[a-z0-9_.-]{1,64}")
#: Short SHAs as GitHub shows them have 7 digits.
_SHA = re.compile(r"[0-9a-f]{7,40}")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
#: Below a paragraph this makes a heading of it; a line that begins like the other ends a paragraph.
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_OTHER_BLOCK = re.compile(r" {0,3}(>|#{1,6}([ \t]|$)|`{3}|~{3}|[-*+]([ \t]|$)|1[.)][ \t]|<)")
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
class Ack:
    """Take an incident on."""


@dataclass(frozen=True)
class Revert:
    """Prepare a branch that takes an incident's culprit back."""


@dataclass(frozen=True)
class Help:
    pass


class Fault(StrEnum):
    """What is wrong with a command that cannot be followed."""

    UNKNOWN = "unknown"
    ARGUMENTS = "arguments"
    NO_SHA = "no_sha"
    NO_REASON = "no_reason"


@dataclass(frozen=True)
class Mistake:
    """A command that cannot be followed. `command` is the one that was meant, as far as it is
    known; `shown` the user's own text, untrusted; `why` a sentence of ours.
    """

    fault: Fault
    command: str = "help"
    shown: str = ""
    why: str = ""


Command: TypeAlias = Rerun | Run | Accept | Cancel | Explain | Ack | Revert | Help

#: Commands that take nothing more.
_BARE: dict[str, Command] = {
    "cancel": Cancel(),
    "ack": Ack(),
    "revert": Revert(),
    "help": Help(),
}


def parse_command(body: str) -> Command | Mistake | None:
    """What the comment asks for. None: nothing, the comment is not for us."""
    if len(body) > _LONGEST_BODY:
        return None
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = lines[0].rstrip()
    word, *arguments = first.split() or [""]
    if first != first.lstrip() or word.lower() != PREFIX:
        return None
    if _is_heading(lines):
        return None
    if word != PREFIX:
        return Mistake(Fault.ARGUMENTS, why=f"Commands are lower case: `{PREFIX}`.")
    if any(_is_command(line) for line in _spoken(lines[1:])):
        return Mistake(Fault.ARGUMENTS, why="One command per comment: none was carried out.")
    if not arguments:
        return Mistake(Fault.ARGUMENTS, why="The command is missing.")
    name, *rest = arguments
    if name not in NAMES:
        return Mistake(Fault.UNKNOWN, shown=name)
    if name == "accept":
        return _accept(rest, first)
    return _with_scenarios(name, rest)


def _accept(rest: list[str], line: str) -> Command | Mistake:
    if not rest or not _SHA.fullmatch(rest[0]):
        return Mistake(Fault.NO_SHA, "accept", rest[0] if rest else "")
    if len(rest) == 1:
        return Mistake(Fault.NO_REASON, "accept")
    return Accept(rest[0], line.split(None, 3)[3].strip()[:LONGEST_REASON])


def _with_scenarios(name: str, rest: list[str]) -> Command | Mistake:
    def wrong(why: str) -> Mistake:
        return Mistake(Fault.ARGUMENTS, name, " ".join(rest), why)

    names = tuple(dict.fromkeys(rest))
    if name in _BARE:
        return wrong(f"`{name}` takes nothing more.") if names else _BARE[name]
    if not all(_ARGUMENT.fullmatch(argument) for argument in names):
        return wrong("Names of scenarios are lower-case letters, digits, `.`, `_` and `-`.")
    if len(names) > MOST_SCENARIOS:
        return wrong(f"At most {MOST_SCENARIOS} scenarios at a time.")
    if name == "explain":
        return Explain(names)
    alone = "failed" if name == "rerun" else "all"
    if alone in names and len(names) > 1:
        return wrong(f"`{alone}` stands alone.")
    if name == "rerun":
        return Rerun((), failed=True) if names == (alone,) else Rerun(names)
    if not names:
        return wrong("`run` needs scenarios, or `all`.")
    return Run((), everything=True) if names == (alone,) else Run(names)


def _is_heading(lines: list[str]) -> bool:
    """Whether the paragraph that begins the comment is underlined."""
    for line in lines[1:]:
        if _UNDERLINE.fullmatch(line):
            return True
        if not line.strip() or _OTHER_BLOCK.match(line):
            return False
    return False


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
