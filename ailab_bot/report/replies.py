"""Replies to slash commands: help, refusals with what to write instead, and the full evidence.

A refusal says what, why and what now, in two sentences at most. What somebody wrote is quoted as a
code span only. Refuses to decide whether a command is allowed; that is `gh`'s duty.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ailab_bot.model.report import Report
from ailab_bot.model.verdict import Explanation
from ailab_bot.report import words
from ailab_bot.report.comment import BANNER_ROOM, MOST_CHARACTERS, utf16_length
from ailab_bot.report.filters import environment
from ailab_bot.report.markdown import code_span, commit_link
from ailab_bot.report.pull import COMMANDS, INCIDENT_COMMANDS
from ailab_bot.report.spark import spark, spark_words

_RIGHTS = {
    "rerun": "the author, or who may write here",
    "run": "the author, or who may write here",
    "cancel": "the author, or who may write here",
    "accept": "who may write here, except the author",
    "ack": "who may write here, or the culprit's author",
    "revert": "who may write here",
}
_ALL = (*COMMANDS[:-1], *INCIDENT_COMMANDS, COMMANDS[-1])
_SHA = re.compile(r"[0-9a-f]{40}")
_MOST_LISTED = 20
_MOST_CONFLICTS = 8
_EXPLAINED = (200, 50, 20, 10, 5, 2, 1)


def help_text() -> str:
    """The commands, what they do, and who may give them."""
    rows = [
        # A table's cell may hold no bare bar.
        f"| `/ailab {usage.replace('|', chr(92) + '|')}` | {what} | {_who(usage)} |"
        for usage, what in _ALL
    ]
    return "\n".join(
        [
            "One command in a comment, on its first line, in lower case.",
            "",
            "| Command | Does | Who may |",
            "|:--|:--|:--|",
            *rows,
            "",
        ]
    )


def unknown_command(word: str) -> str:
    """For a command that does not exist: the one that was meant, if one is close."""
    names = [usage.split()[0] for usage, _ in _ALL]
    close = difflib.get_close_matches(words.clean(word.lower(), 40), names, n=1, cutoff=0.5)
    if close:
        usage = next(usage for usage, _ in _ALL if usage.split()[0] == close[0])
        return f"There is no command {code_span(word, 40)}. Did you mean `/ailab {usage}`?\n"
    listed = ", ".join(f"`{name}`" for name in names)
    return f"There is no command {code_span(word, 40)}. There are {listed}; see `/ailab help`.\n"


def bad_arguments(command: str, why: str) -> str:
    """For a known command with arguments that it does not take. `why` is a sentence of ours."""
    usage = next((usage for usage, _ in _ALL if usage.split()[0] == command), "help")
    if usage == "help":
        return f"{why} See `/ailab help`.\n"
    return f"{why} It is written `/ailab {usage}`.\n"


def unknown_scenarios(names: Sequence[str], known: Sequence[str]) -> str:
    """For scenarios that the base's configuration does not have."""
    shown = ", ".join(code_span(name, 64) for name in names[:5])
    guesses = [
        match
        for name in names[:5]
        for match in difflib.get_close_matches(words.clean(name, 64), known, n=1)
    ]
    if guesses:
        meant = ", ".join(code_span(name, 64) for name in dict.fromkeys(guesses))
        return f"There is no scenario {shown}. Did you mean {meant}?\n"
    there = ", ".join(code_span(name, 64) for name in known[:_MOST_LISTED])
    more = len(known) - _MOST_LISTED
    there += f" and {more} more" if more > 0 else ""
    return f"There is no scenario {shown}. " + (
        f"There are {there}.\n" if known else "The base branch has none.\n"
    )


def not_allowed(command: str) -> str:
    who = _RIGHTS.get(command, "nobody")
    return f"{code_span('/ailab ' + command, 40)} is for {who}. Ask one of them to write it.\n"


def rights_unknown(command: str) -> str:
    shown = code_span("/ailab " + command, 40)
    return f"GitHub did not say whether you may give {shown}, so it was refused. Try again later.\n"


def own_change() -> str:
    return "Nobody accepts a regression of their own. Ask another maintainer to write it.\n"


def accept_without_sha(head_sha: str) -> str:
    return (
        "An acceptance holds for one commit, so it has to name it, and say why. "
        f"For the commit that is here now: {_accept(head_sha)}\n"
    )


def accept_without_reason(head_sha: str) -> str:
    return (
        "An acceptance needs a reason: those who come later will ask for it. "
        f"Write {_accept(head_sha)}\n"
    )


def head_moved(sha: str, head_sha: str) -> str:
    """For an acceptance of a commit that is not the pull request's head any more, or never was."""
    return (
        f"{code_span(sha[:12])} is not the head of this pull request, which is "
        f"{code_span(head_sha[:12])}; nothing was accepted. If its result is worth it too: "
        f"{_accept(head_sha)}\n"
    )


def nothing_to_accept(head_sha: str) -> str:
    return (
        f"{code_span(head_sha[:12])} has no regression to accept: there is none, or it is not "
        "measured yet. Nothing was recorded.\n"
    )


def nothing_to_do(command: str) -> str:
    """For a rerun of what failed where nothing did, or a cancel where nothing runs."""
    what = "nothing is running" if command == "cancel" else "nothing is without a result"
    return f"{code_span('/ailab ' + command, 40)} changes nothing: {what}.\n"


def never_measured() -> str:
    return (
        "This commit was never measured here: a workflow of a first-time contributor waits for "
        "approval, and one that is switched off never runs. Look at the pull request's checks.\n"
    )


def not_yet(head_sha: str) -> str:
    return f"{code_span(head_sha[:12])} is still being measured; there is nothing to explain yet.\n"


def broken_base(what: str) -> str:
    return (
        f"The base branch's own files are in the way: {code_span(what, 160)}. Mend them there, "
        "then write the command again.\n"
    )


def needs_approval() -> str:
    return (
        "The workflows of this pull request wait for a maintainer's approval, as a first "
        "contribution's do. Once they are approved it is measured by itself.\n"
    )


def a_crash() -> str:
    return (
        "Head fails where base works, and a failure cannot be accepted: it is no verdict on speed. "
        "Mend head; a regression that is left can be accepted then. Nothing was recorded.\n"
    )


def measure_first() -> str:
    return (
        "Something that belongs to this change has no result, so there is nothing whole to accept. "
        "Write `/ailab rerun`, and accept what it finds. Nothing was recorded.\n"
    )


def no_runners(scenario: str, runner: str, pools: Sequence[str]) -> str:
    there = ", ".join(code_span(name, 40) for name in pools)
    return (
        f"{code_span(scenario, 64)} needs {code_span(runner, 40)} runners, and the configuration "
        f"names only {there}: `github: runners` in `.ailab/config.yml`.\n"
    )


def too_many() -> str:
    return "That is more names than a request can hold. Name fewer, or write `/ailab run all`.\n"


def too_old() -> str:
    return (
        "GitHub does not run this measurement again: it may be older than 30 days, or no job of it "
        "failed. Push a commit, an empty one will do, and it is measured anew.\n"
    )


def only_in_incidents(command: str) -> str:
    """For a command of incidents on a pull request."""
    return (
        f"{code_span('/ailab ' + command, 40)} is for an incident: write it in the incident's own "
        "issue, which the bot opened.\n"
    )


def only_on_pulls(command: str) -> str:
    """For a command of pull requests in an incident's issue."""
    return (
        f"{code_span('/ailab ' + command, 40)} is for a pull request. Here there are `/ailab ack` "
        "and `/ailab revert`.\n"
    )


def no_culprit_yet() -> str:
    return (
        "Nobody knows yet which commit it is, so there is nothing to take back. When the search "
        "for it ends, the text above says what it found.\n"
    )


def incident_is_closed() -> str:
    return (
        "This incident is closed, so nothing was done. Should a measurement see it again, it opens "
        "a new one.\n"
    )


def unknown_incident() -> str:
    return (
        "The ledger does not know this incident: it may not be written there yet. Try again in "
        "some minutes.\n"
    )


def history_unavailable() -> str:
    return (
        "The ledger could not be read just now, and without it nothing is known of this incident. "
        "Nothing was done: write the command again in some minutes.\n"
    )


def culprit_is_gone(sha: str) -> str:
    """For a culprit that no branch has any more: not the default one, nor the incident's own."""
    return (
        f"{code_span(sha[:12])} is in neither the default branch nor the branch that was measured, "
        "so there is nothing to take back. The next measurement says whether it is gone.\n"
    )


def revert_failed(sha: str, what: str, advice: str) -> str:
    """Git or GitHub refused; `advice` is a sentence of ours."""
    return (
        f"No branch was made for {code_span(sha[:12])}: {code_span(what, 160)}. {advice} The "
        "incident's text has the commands to do it by hand.\n"
    )


def nothing_to_revert(sha: str) -> str:
    return (
        f"What {code_span(sha[:12])} changed is taken back already. The next measurement says "
        "whether that ends the incident.\n"
    )


def revert_conflicts(sha: str, files: Sequence[str]) -> str:
    """For a culprit that later commits stand in the way of."""
    more = len(files) - _MOST_CONFLICTS
    shown = ", ".join(code_span(name) for name in files[:_MOST_CONFLICTS])
    shown += f" and {more} more" if more > 0 else ""
    where = f" in {shown}" if files else ""
    return (
        f"{code_span(sha[:12])} cannot be taken back by itself: later changes conflict{where}. "
        "Fix it forward, or revert it by hand with the commands in the text above.\n"
    )


def explain(report: Report, scenarios: Sequence[str] = ()) -> str:
    """All the evidence on these scenarios (none: on all), as far as a comment has room."""
    measured = dict.fromkeys(
        [v.scenario for v in sorted(report.verdicts, key=words.rank)]
        + [failure.scenario for failure in report.failures]
    )
    unknown = [name for name in scenarios if name not in measured]
    if unknown:
        return unknown_scenarios(unknown, list(measured))
    chosen = [name for name in measured if name in scenarios or not scenarios]
    if not chosen:
        return "Nothing was measured, so there is nothing to explain.\n"
    template = environment().get_template("explain.md")
    for limit in _EXPLAINED:
        items = [_item(report, name) for name in chosen[:limit]]
        text = template.render(
            items=items, left_out=max(0, len(chosen) - limit), commits=_commits(report)
        )
        text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
        if utf16_length(text) <= MOST_CHARACTERS - BANNER_ROOM:
            return text
    raise AssertionError(f"{len(text)} characters for one scenario")  # a template's defect


def _commits(report: Report) -> str:
    pull = report.pull
    if pull is None:
        return f"{code_span(report.head.sha[:12])} against {code_span(report.base.sha[:12])}"
    head = commit_link(report.head.sha, pull.server_url, pull.repository)
    return f"{head} against {commit_link(report.base.sha, pull.server_url, pull.repository)}"


def _item(report: Report, scenario: str) -> dict[str, object]:
    blocks = report.blocks.get(scenario, ())
    why = [item for item in report.explanations if item.scenario == scenario]
    return {
        "scenario": scenario,
        "verdicts": [v for v in report.verdicts if v.scenario == scenario][:10],
        "failures": [f for f in report.failures if f.scenario == scenario][:3],
        "why": why[0] if why else Explanation(scenario),
        "picture": spark(blocks),
        "meaning": spark_words(blocks) if blocks else "",
    }


def _who(usage: str) -> str:
    return _RIGHTS.get(usage.split(maxsplit=1)[0], "everybody")


def _accept(head_sha: str) -> str:
    sha = head_sha if _SHA.fullmatch(head_sha) else "<sha>"
    return f"`/ailab accept {sha} <reason>`"
