"""What people see of an incident: its issue, the comment on the pull request that brought it, and
what chat tools are told.

The ledger says what an incident is; here it is said to people, each time anew and from nothing
else. Refuses to send anything, and to read anything back out of what was sent.
"""

from __future__ import annotations

from ailab_bot.model.incident import Incident, State, What
from ailab_bot.report import words
from ailab_bot.report.filters import environment
from ailab_bot.report.incidentparts import (
    commands_by_hand,
    culprit_of,
    first_proof,
    reproducing,
    steps_to_do,
    timeline,
)
from ailab_bot.report.incidentwords import (
    ICONS,
    ends,
    label,
    lead,
    more_scenarios,
    plain,
    rows,
    span,
    still_slower,
    tidy,
    told_by_search,
    what_moved,
)
from ailab_bot.report.links import Surface, mention
from ailab_bot.report.markdown import code_span
from ailab_bot.report.release import render_release_summary
from ailab_bot.report.remarks import fixed_text, joined_text, remark_mark, render_remark

__all__ = [
    "Surface",
    "hook_text",
    "issue_labels",
    "issue_title",
    "remark_mark",
    "render_issue",
    "render_pull_comment",
    "render_release_summary",
    "render_remark",
]

LABEL = "ailab-incident"
#: How the label that says the state begins.
STATE_LABEL = "ailab: "
MOST_TITLE = 120
_MOST_ROWS = 12


def issue_title(incident: Incident) -> str:
    """`train and 2 more: +18.2 % time to first batch (1a2b3c4d5e6f)`; the branch in place of the
    culprit as long as nobody knows it. Plain text."""
    worst = lead(incident)
    what = f"{plain(words.percent(worst.effect))} {plain(words.label(worst.metric))}"
    blame = incident.blame
    where = f" ({blame.sha[:12]})" if blame else f" on {plain(incident.branch, 32)}"
    text = f"{plain(worst.scenario, 32)}{more_scenarios(incident)}: {what}{where}"
    return text if len(text) <= MOST_TITLE else text[: MOST_TITLE - 1] + "…"


def issue_labels(incident: Incident) -> tuple[str, ...]:
    return LABEL, f"{STATE_LABEL}{incident.state.value}"


def marker(incident: Incident) -> str:
    """The first line of an incident's issue, and of its comment on a pull request."""
    return f"<!-- ailab-incident:{incident.id} -->"


def render_issue(incident: Incident, surface: Surface) -> str:
    """The text of the incident's issue, as things stand."""
    found = rows(incident)
    return tidy(
        environment()
        .get_template("incident.md")
        .render(
            marker=marker(incident),
            icon=_icon(incident),
            heading=_heading(incident),
            lead=_lead(incident, surface),
            rows=found[:_MOST_ROWS],
            rows_left_out=max(0, len(found) - _MOST_ROWS),
            row_icon="🔴" if incident.is_open else "⚪",
            now="now" if incident.is_open else "then",
            after=any(row.after for row in found),
            amount=words.amount,
            ends=ends,
            label=label,
            culprit=culprit_of(incident, surface),
            steps=steps_to_do(incident, surface),
            by_hand=commands_by_hand(incident, surface) if incident.is_open else (),
            reproduce=reproducing(incident),
            timeline=timeline(incident, surface),
        )
    )


def render_pull_comment(incident: Incident, surface: Surface) -> str:
    """The one comment on the pull request that brought the culprit; short, as the issue has all."""
    blame = incident.blame
    assert blame is not None, "an incident without a culprit has no pull request to comment on"
    home = surface.issue(incident.issue) if incident.issue else ""
    return tidy(
        environment()
        .get_template("incident_pull.md")
        .render(
            marker=marker(incident),
            icon=_icon(incident),
            heading=_heading(incident, "since this pull request"),
            commit=surface.commit(blame.sha),
            branch=code_span(incident.branch),
            proof=first_proof(blame),
            home=home,
            number=incident.issue,
            is_open=incident.is_open,
            state=_lead(incident, surface, quiet=True),
            by_hand=commands_by_hand(incident, surface) if incident.is_open and not home else (),
            fix=incident.fix,
            at_work=incident.state in {State.ACKNOWLEDGED, State.FIX_PROPOSED},
        )
    )


def hook_text(incident: Incident, what: What) -> str:
    """One plain line for chat tools: what happened, of which incident."""
    step = incident.last(what)
    who = plain(step.by, 40) if step is not None and step.by else "somebody"
    number = f" #{step.pull}" if step is not None and step.pull else ""
    blame = incident.blame
    culprit = f"{blame.sha[:12]} by {plain(blame.login or blame.author, 40)}" if blame else "nobody"
    said = {
        What.DETECTED: "Slower, and the search for the culprit begins",
        What.SEEN: "Seen again",
        What.SEARCHING: "The search for the culprit goes on",
        What.ATTRIBUTED: f"The culprit is {culprit}",
        What.UNATTRIBUTED: "The search found no culprit: somebody has to look",
        What.ACKNOWLEDGED: f"{who} has taken it on",
        What.REVERT_PREPARED: "A branch that takes the culprit back is prepared",
        What.FIX_PROPOSED: f"A fix is proposed{number and f', pull request{number}'}",
        What.FIX_DROPPED: f"The proposed fix{number} was closed without being merged",
        What.FIX_MEASURED: "Measured: it is gone",
        What.ACCEPTED: f"{who} lets it stay",
        What.JOINED: "It has the same culprit as another incident, which goes on for both",
    }.get(what, what.value.capitalize())
    issue = f" [#{incident.issue}]" if incident.issue else ""
    return f"{said}. {issue_title(incident)}{issue}"


# --- what happened -----------------------------------------------------------------------------


def _icon(incident: Incident) -> str:
    if incident.has(What.ACCEPTED, What.JOINED):
        return "⚪"
    if incident.is_open and still_slower(incident) is not None:
        return "🔴"
    return ICONS[incident.state]


def _heading(incident: Incident, where: str = "") -> str:
    worst = lead(incident)
    blame = incident.blame
    where = where or (
        f"since {code_span(blame.sha[:12])}" if blame else f"on {code_span(incident.branch, 40)}"
    )
    shown = code_span(worst.scenario, 40)
    if incident.has(What.FIX_MEASURED):
        return f"Gone, as measured: {shown}{more_scenarios(incident)}"
    effect = words.percent(worst.effect)
    return f"{what_moved(worst.metric)} {where}: {shown} {effect}{more_scenarios(incident)}"


def _lead(incident: Incident, surface: Surface, *, quiet: bool = False) -> str:
    """What stands, and what to do now. `quiet`: without mentions, for where they were made."""
    joined, accepted = incident.last(What.JOINED), incident.last(What.ACCEPTED)
    if joined is not None:
        return joined_text(joined, surface)
    if accepted is not None:
        who = _who(accepted.by, quiet)
        said = f": {code_span(accepted.text, 160)}" if accepted.text else ""
        return (
            f"**Accepted** by {who}{said}{'' if said.endswith('.`') else '.'} It stands against no "
            "release; what comes on top of it is told anew."
        )
    fixed = incident.last(What.FIX_MEASURED)
    if fixed is not None:
        lasted = span(fixed.at - incident.detected_at)
        told = fixed_text(incident, fixed, surface, with_figures=quiet)
        return f"{told} It was open for {lasted}."
    ended = incident.ended
    if ended is not None:
        return "**Closed.** Nothing is left to do."
    return _open_lead(incident, surface, quiet)


def _open_lead(incident: Incident, surface: Surface, quiet: bool) -> str:
    branch = code_span(incident.branch, 60)
    blame, taken = incident.blame, incident.acknowledged_by
    if incident.fix:
        return _fix_lead(incident, surface, quiet)
    if blame is None:
        return f"{_found_sentence(incident, surface)} {_search_lead(incident, quiet)}"
    if taken:
        return (
            f"**{_who(taken, quiet)} has taken it on.** The culprit is "
            f"{surface.commit(blame.sha)}, found on {branch} and confirmed by fresh blocks."
        )
    dropped = incident.last(What.FIX_DROPPED)
    again = (
        f" The fix in {surface.pull(dropped.pull)} was closed without being merged."
        if dropped is not None and dropped.pull
        else ""
    )
    culprit = surface.commit(blame.sha)
    if not blame.login:
        return (
            "**Please assign somebody who knows this code:** GitHub knows nobody by the address of "
            f"{culprit}'s author, {code_span(blame.author, 60)}.{again}"
        )
    yours = " It is assigned to you." if surface.assigned else ""
    return (
        f"{_who(blame.login, quiet)}, **please mend it, or take it back:** {culprit} made {branch} "
        f"slower, as fresh blocks confirmed.{yours}{again}"
    )


def _found_sentence(incident: Incident, surface: Surface) -> str:
    return (
        f"{surface.commit(incident.bad)} of {code_span(incident.branch, 60)} is slower than the "
        f"last good release, {surface.commit(incident.baseline)}; fresh blocks confirmed it."
    )


def _search_lead(incident: Incident, quiet: bool) -> str:
    ended = incident.last(What.UNATTRIBUTED)
    taken = incident.acknowledged_by
    who = f"**{_who(taken, quiet)} has taken it on.** " if taken else ""
    if ended is not None:
        why = told_by_search(ended.text).rstrip(".")
        asks = "" if taken else "**Somebody has to look:** "
        search = "The search" if taken else "the search"
        return f"{who}{asks}{search} ended without a culprit" + (f". {why}." if why else ".")
    if incident.has(What.SEARCHING):
        calm = "" if taken else "**Nothing to do yet:** "
        search = "The search" if taken else "the search"
        return f"{who}{calm}{search} for its culprit goes on, and will say here who is asked."
    return f"{who}The search for its culprit has not begun."


def _fix_lead(incident: Incident, surface: Surface, quiet: bool) -> str:
    proposed = incident.last(What.FIX_PROPOSED)
    fix, branch = surface.pull(incident.fix), code_span(incident.branch, 60)
    again = still_slower(incident)
    if again is not None:
        return (
            f"**Still slower** at {surface.commit(again.sha)}, measured since {fix} was proposed. "
            f"If that commit has {fix} in it, {fix} is not enough: **please look again.** If not, "
            "merge it, and the next measurement says."
        )
    by = f" by {_who(proposed.by, quiet)}" if proposed is not None and proposed.by else ""
    return (
        f"**A fix is proposed:** {fix}{by}. Review and merge it; the first measurement of {branch} "
        "that has it in it says whether it helps."
    )


def _who(login: str, quiet: bool) -> str:
    return code_span(login, 40) if quiet else mention(login, "somebody")
