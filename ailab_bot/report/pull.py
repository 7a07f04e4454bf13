"""What the gate says on a pull request, and what its author or a maintainer can do now.

Markdown from checked parts. Refuses to offer what would be refused: a command's arguments are the
names and SHAs that the command itself takes, and nobody is told to accept a crash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ailab_bot.model.report import GateMode, PullContext, Report
from ailab_bot.model.verdict import Conclusion, Pattern, VerdictKind
from ailab_bot.report.markdown import code_list, code_span, commit_link, run_link

#: What a slash command takes as an argument.
_ARGUMENT = re.compile(r"[a-z0-9_.-]{1,64}")
_SHA = re.compile(r"[0-9a-f]{40}")
#: Scenarios named in a suggested command or step.
_MOST_NAMED = 3

COMMANDS = (
    ("rerun [scenario…|failed]", "measure again: everything, those named, or those without result"),
    ("run <scenario…|all>", "measure scenarios that were left out"),
    ("accept <sha> <reason>", "let an intended regression pass, for that commit alone"),
    ("cancel", "stop measuring"),
    ("explain [scenario…]", "all the evidence"),
    ("help", "this list, with who may do what"),
)
#: For an incident's issue; those above are for a pull request, `help` for both.
INCIDENT_COMMANDS = (
    ("ack", "in an incident's issue: takes the incident on"),
    ("revert", "in an incident's issue: prepares a branch that takes its culprit back"),
)


def gate_line(report: Report, pull: PullContext) -> str:
    """One sentence: whether the gate lets this commit pass, and why."""
    head = commit_link(pull.head_sha, pull.server_url, pull.repository)
    if pull.mode == GateMode.OFF:
        return f"The gate is **off**: nothing here blocks {head}."
    if pull.accepted_by:
        who, why = code_span(pull.accepted_by, 39), code_span(pull.accepted_reason, 160)
        return f"The gate **passes** {head}: {who} accepted it, because {why}."
    if pull.gate_state is Conclusion.SUCCESS and pull.mode == GateMode.ADVISORY:
        return f"The gate **passes** {head} in any case: it is advisory here and blocks nothing."
    if pull.gate_state is Conclusion.SUCCESS:
        shadow = " Nothing blocks before a calibration." if report.shadow_reason else ""
        return f"The gate **passes** {head}.{shadow}"
    if pull.gate_state is Conclusion.FAILURE:
        return f"The gate **blocks** {head}."
    if pull.gate_state is Conclusion.ERROR:
        return f"The gate is at **error** for {head}: what was not measured never counts as good."
    return f"The gate is **pending** for {head}: more is being measured."


def steps(report: Report, pull: PullContext) -> tuple[str, ...]:
    """What to do now, as list items; empty where there is nothing to do."""
    if pull.accepted_by or pull.gate_state is Conclusion.PENDING:
        return ()
    regressed = _regressed(report)
    failing = [failure.scenario for failure in report.failures if failure.blocks_the_change]
    found = []
    if regressed:
        why = " Why is below." if report.explanations else ""
        found.append(f"**Mend it** and push: the new commit is measured by itself.{why}")
        found.append(f"**In doubt?** {_rerun(regressed)} decides again on fresh blocks.")
    if failing:
        found.append("**Mend head**: the last lines of its output are below.")
        found.append(f"**Not head's doing?** {_rerun(failing)} tries again.")
    blocks = pull.gate_state is Conclusion.FAILURE
    if regressed and not failing and blocks and _SHA.fullmatch(pull.head_sha):
        found.append(
            "**Intended?** A maintainer other than the author accepts it for this commit: "
            f"`/ailab accept {pull.head_sha} <reason>`"
        )
    broken = _broken(report)
    if broken:
        found.append(
            f"**Mend the scenario or the machine** of {code_list(broken, _MOST_NAMED)}: failed "
            "trials give no verdict on speed. Then `/ailab rerun failed`"
        )
    elif pull.infra or report.interrupted or report.conclusion is Conclusion.ERROR:
        found.append("**Measure what is missing:** `/ailab rerun failed`")
    unsure = [v for v in report.verdicts if v.pattern is Pattern.SLOW_IN_SOME and not v.confirmed]
    if unsure and not found:
        found.append(f"More blocks would tell: {_rerun([v.scenario for v in unsure])}")
    return tuple(found)


def edits_line(pull: PullContext) -> str:
    """That the change edits what judges it, and that it was not judged by that; empty if not."""
    if not pull.pull_edits_definitions:
        return ""
    edited = code_list(pull.pull_edits_definitions, 5)
    return f"This change edits {edited}; it was judged by the base's version."


def commands_list() -> str:
    return "\n".join(f"- `/ailab {usage}` {what}" for usage, what in COMMANDS)


def run_text(pull: PullContext) -> str:
    """`[run, attempt 2](…)`."""
    text = "run" if pull.attempt <= 1 else f"run, attempt {pull.attempt}"
    return run_link(text, pull.run_url, pull.server_url, pull.repository)


def _regressed(report: Report) -> list[str]:
    kinds = VerdictKind.REGRESSION
    return list(dict.fromkeys(v.scenario for v in report.verdicts if v.kind is kinds and v.gates))


def _broken(report: Report) -> list[str]:
    """Scenarios whose failures neither blame head nor leave a verdict."""
    judged = {verdict.scenario for verdict in report.verdicts}
    lost = (f.scenario for f in report.failures if not f.blocks_the_change)
    return [scenario for scenario in dict.fromkeys(lost) if scenario not in judged]


def _rerun(scenarios: Sequence[str]) -> str:
    """The command for these scenarios, or for all where they are many or could not be written."""
    fit = len(scenarios) <= _MOST_NAMED and all(map(_ARGUMENT.fullmatch, scenarios))
    return f"`/ailab rerun{' ' + ' '.join(scenarios) if fit else ''}`"
