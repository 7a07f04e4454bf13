"""What an incident's conversation is told of a step, once: a comment for those who follow by mail.

Refuses to mention anybody: the issue's own text has done that, and a second mail says nothing new.
"""

from __future__ import annotations

import re

from ailab_bot.model.incident import Incident, Moved, Step, What
from ailab_bot.report.incidentwords import (
    figures,
    fixes,
    label,
    still_slower,
    told_by_search,
    worst_first,
)
from ailab_bot.report.links import Surface
from ailab_bot.report.markdown import code_span

_MOST_MOVED = 4
_KEY = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def remark_mark(step: Step) -> str:
    """The remark's first line, by which it is found again. Several of one kind differ in what they
    are about."""
    about = step.sha or (str(step.pull) if step.pull else "") or step.by
    what = step.what.value.replace(" ", "-")
    key = _KEY.sub("", about)[:80].strip("-") or "0"
    return f"<!-- ailab-incident:{step.incident} {what} {key} -->"


def render_remark(incident: Incident, step: Step, surface: Surface) -> str:
    """One comment; empty for a step that deserves none."""
    text = _text(incident, step, surface)
    return f"{remark_mark(step)}\n{text}\n" if text else ""


def _text(incident: Incident, step: Step, surface: Surface) -> str:
    number = surface.pull(step.pull) if step.pull else "a pull request"
    by = f" by {code_span(step.by, 40)}" if step.by else ""
    match step.what:
        case What.ATTRIBUTED:
            return _attributed(step, surface)
        case What.UNATTRIBUTED:
            why = told_by_search(step.text).rstrip(".") + ". " if step.text else ""
            return (
                f"🔴 **The search ended without a culprit.** {why}It came with "
                f"{surface.span(incident.good, incident.bad)}: somebody has to look."
            )
        case What.FIX_PROPOSED:
            return (
                f"🟠 **A fix is proposed:** {number}{by}. The first measurement of "
                f"{code_span(incident.branch, 60)} that has it in it says whether it helps."
            )
        case What.FIX_DROPPED:
            return f"🔴 **The fix was dropped:** {number} was closed without being merged."
        case What.FIX_MEASURED:
            return f"✅ **Gone.** {fixed_text(incident, step, surface)}"
        case What.SEEN:
            return _still(incident, step, surface)
        case What.ACCEPTED:
            said = f": {code_span(step.text, 160)}" if step.text else "."
            return f"⚪ **Accepted**{by}{said} It stands against no release any more."
        case What.JOINED:
            return f"⚪ {joined_text(step, surface)}"
        case What.REVERT_PREPARED:
            return _prepared(incident, step, surface)
        case _:
            return ""


def fixed_text(
    incident: Incident, step: Step, surface: Surface, *, with_figures: bool = True
) -> str:
    """That it is gone, and what says so."""
    shown = _figures(step.moved) if with_figures else ""
    fix = f" The fix that was proposed: {surface.pull(step.pull)}." if step.pull else ""
    baseline = surface.commit(step.baseline or incident.baseline)
    return (
        f"As measured, {surface.commit(step.sha)} of "
        f"{code_span(step.branch or incident.branch, 60)} is not slower than {baseline}"
        f"{': ' + shown if shown else ''}.{fix}"
    )


def joined_text(step: Step, surface: Surface) -> str:
    """That another incident goes on for it."""
    link = surface.same_culprit("another incident", step.sha)
    return (
        f"**It has the culprit of {link}**, {surface.commit(step.sha)}: that one goes on for both."
    )


def _attributed(step: Step, surface: Surface) -> str:
    blame = step.blame
    if blame is None:
        return ""
    subject = f" {code_span(blame.subject)}" if blame.subject else ""
    brought = f", from {surface.pull(blame.pull)}" if blame.pull else ""
    shown = _figures(step.moved)
    return (
        f"🔴 **The culprit is known:** {surface.commit(blame.sha)}{subject}{brought}. "
        f"Against its parent: {shown or 'slower'}. The text above says what to do now."
    )


def _still(incident: Incident, step: Step, surface: Surface) -> str:
    """Only where a fix was proposed before: what is known to be slow is news to nobody."""
    if still_slower(incident) is None or not _after_the_fix(incident, step):
        return ""
    fix = surface.pull(incident.fix)
    return (
        f"🔴 **Still slower** at {surface.commit(step.sha)}: {_figures(step.moved)}. "
        f"If that commit has {fix} in it, {fix} is not enough, and this stays open."
    )


def _after_the_fix(incident: Incident, step: Step) -> bool:
    proposed = incident.last(What.FIX_PROPOSED)
    if proposed is None or step not in incident.steps:
        return False
    return incident.steps.index(step) > incident.steps.index(proposed)


def _prepared(incident: Incident, step: Step, surface: Surface) -> str:
    branch = surface.revert_branch
    link = surface.proposal("Open a pull request from it", step.branch, branch)
    return (
        f"🟠 **A revert is prepared**, in the branch {code_span(branch)}. **{link}**, and say "
        f"{fixes(incident)} in it. A person has to: GitHub starts no workflow for what a workflow "
        "opens, so nobody would measure it."
    )


def _figures(moved: tuple[Moved, ...]) -> str:
    """`train` time to first batch +0.3 % (…), …"""
    ordered = worst_first(moved)
    shown = [
        f"{code_span(each.scenario)} {label(each.metric)} {figures(each.effect, each.interval)}"
        for each in ordered[:_MOST_MOVED]
    ]
    more = len(ordered) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
