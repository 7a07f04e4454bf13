"""The parts of an incident's issue: its culprit and the proofs, what to do, the timeline.

Refuses to name anybody without the proofs beside the name.
"""

from __future__ import annotations

from ailab_bot.model.incident import Blame, Incident, Proof, Step, What
from ailab_bot.report import words
from ailab_bot.report.incidentwords import (
    certainty,
    figures,
    fixes,
    lead,
    moment,
    plain,
    still_slower,
    told_by_search,
)
from ailab_bot.report.links import Surface, is_ref, mention
from ailab_bot.report.markdown import code_span, mixed

_MOST_PROOFS = 8
_MOST_WHY = 5
_MOST_ALSO = 5
#: Of a timeline: its beginning, and the newest.
_FIRST_STEPS, _LAST_STEPS = 5, 25
#: Nothing to read: an issue says its own number.
_UNTOLD = {What.FILED, What.TOLD}
_STEP_WORDS = {
    What.DETECTED: "detected",
    What.SEEN: "seen again",
    What.SEARCHING: "search for the culprit started",
    What.SEARCH_FAILED: "search failed, and is started again",
    What.CALM: "gone from one branch",
    What.WIDENED: "not in that range: searched from the baseline on",
    What.ATTRIBUTED: "attributed",
    What.UNATTRIBUTED: "search ended without a culprit",
    What.ACKNOWLEDGED: "acknowledged",
    What.REVERT_PREPARED: "revert prepared",
    What.FIX_PROPOSED: "fix proposed",
    What.FIX_DROPPED: "fix dropped",
    What.FIX_MEASURED: "fix measured",
    What.ACCEPTED: "accepted",
    What.JOINED: "joined another incident",
    What.CLOSED: "closed",
}


# --- the culprit -------------------------------------------------------------------------------


def culprit_of(incident: Incident, surface: Surface) -> dict[str, object] | None:
    blame = incident.blame
    if blame is None:
        return None
    quiet = not blame.login or not incident.is_open
    who = code_span(blame.login or blame.author, 60) if quiet else mention(blame.login)
    also = [surface.commit(sha) for sha in blame.also[:_MOST_ALSO]]
    more = len(blame.also) - len(also)
    return {
        "commit": surface.commit(blame.sha),
        "subject": code_span(blame.subject) if blame.subject else "",
        "who": who,
        "pull": surface.pull(blame.pull) if blame.pull else "",
        "inside": surface.commit(blame.inside) if blame.inside else "",
        "certainty": certainty(blame.probability) if blame.probability else "",
        "spent": _spent(blame),
        "proofs": [_proof_line(each) for each in blame.proofs[:_MOST_PROOFS]],
        "why": [_why_line(each, incident) for each in blame.why[:_MOST_WHY] if each],
        "also": ", ".join(also) + (f" and {more} more" if more > 0 else ""),
    }


def _spent(blame: Blame) -> str:
    if not blame.trials:
        return ""
    noun = "trial" if blame.trials == 1 else "trials"
    return f"{blame.trials} {noun}, {words.duration(blame.runner_seconds)} of runner time"


def _proof_line(proof: Proof) -> str:
    """`✓ against its parent: **+18.0 %** (…), 12 blocks`."""
    scenario, colon, rest = proof.what.partition(": ")
    named = bool(colon and rest)
    what = f"{code_span(scenario)} " if named else ""
    what += told_by_search(rest if named else proof.what[:1].upper() + proof.what[1:])
    noun = "block" if proof.blocks == 1 else "blocks"
    seen = f": {figures(proof.effect, proof.interval)}" if proof.effect is not None else ""
    blocks = f", {proof.blocks} {noun}" if proof.blocks else ""
    return f"{'✓' if proof.held else '✗'} {what}{seen}{blocks}"


def _why_line(sentence: str, incident: Incident) -> str:
    """Sentences of an explanation begin with the scenario."""
    first, _, rest = sentence.partition(" ")
    if first in incident.scenarios and rest:
        return f"{code_span(first)} {mixed(rest, 240)}"
    return mixed(sentence, 240)


def first_proof(blame: Blame) -> str:
    held = next((each for each in blame.proofs if each.held), None)
    return figures(held.effect, held.interval) if held is not None else ""


# --- what to do --------------------------------------------------------------------------------


def steps_to_do(incident: Incident, surface: Surface) -> list[str]:
    """Steps for people, as list items; empty where nothing is left to do."""
    if not incident.is_open:
        return []
    found = []
    if not incident.acknowledged_by and not incident.fix:
        found.append("**Taking it on?** Say `/ailab ack` here, and nobody else starts on it.")
    names_it = fixes(incident)
    if incident.blame is None:
        span_ = surface.span(incident.good, incident.bad)
        found.append(f"**Know it already?** It came with {span_}. Say {names_it} in the fix.")
    else:
        if not incident.fix or still_slower(incident) is not None:
            found.append(f"**Fix forward**, in a pull request that says {names_it}.")
        found.append(_take_back(incident, surface, names_it))
    found.append(
        f"**It ends** when a measurement of {code_span(incident.branch, 60)} shows that it is "
        "gone; closed by a merge, it opens again if one still sees it. If it may stay, close it as "
        "*not planned*."
    )
    return found


def _take_back(incident: Incident, surface: Surface, names_it: str) -> str:
    start = "**Or take the culprit back:**"
    prepared = incident.last(What.REVERT_PREPARED)
    if prepared is None:
        return f"{start} `/ailab revert` prepares a branch for that, and touches no other."
    link = surface.proposal("open a pull request from it", prepared.branch, surface.revert_branch)
    return (
        f"{start} the branch {code_span(surface.revert_branch)} is prepared; {link}, and say "
        f"{names_it} in it."
    )


def commands_by_hand(incident: Incident, surface: Surface) -> tuple[str, ...]:
    """The commands that take the culprit back; none where there is no culprit."""
    blame = incident.blame
    if blame is None:
        return ()
    prepared = incident.last(What.REVERT_PREPARED)
    base = (prepared.branch if prepared is not None else "") or incident.branch
    shown = base if is_ref(base) else "BRANCH"
    return (
        f"git fetch origin && git switch -c {surface.revert_branch} origin/{shown}",
        f"git revert {blame.sha[:12]}  # of a merge: git revert -m 1 {blame.sha[:12]}",
    )


def reproducing(incident: Incident) -> str:
    if incident.blame is not None and incident.blame.reproduce:
        return incident.blame.reproduce
    scenario = plain(lead(incident).scenario, 64)
    quoted = scenario if scenario.replace("-", "").replace("_", "").isalnum() else f"'{scenario}'"
    return f"ailab ab {incident.baseline[:12]} {incident.bad[:12]} --scenario {quoted}"


# --- the timeline ------------------------------------------------------------------------------


def timeline(incident: Incident, surface: Surface) -> list[tuple[str, str, str]]:
    told = [step for step in incident.steps if step.what not in _UNTOLD]
    left = len(told) - _FIRST_STEPS - _LAST_STEPS
    made = [_timeline_row(incident, step, surface) for step in told]
    if left <= 0:
        return made
    return [*made[:_FIRST_STEPS], ("", f"{left} more", ""), *made[-_LAST_STEPS:]]


def _timeline_row(incident: Incident, step: Step, surface: Surface) -> tuple[str, str, str]:
    details = []
    if step.sha:
        details.append(surface.commit(step.sha))
    if step.pull:
        details.append(surface.pull(step.pull))
    if step.by:
        details.append(f"by {code_span(step.by, 40)}")
    own = {each.scenario: each for each in reversed(step.moved)}
    worst = lead(incident).scenario
    if step.what in {What.SEEN, What.FIX_MEASURED} and worst in own:
        details.append(f"{code_span(worst, 40)} {words.percent(own[worst].effect)}")
    return moment(step.at), surface.run(_STEP_WORDS[step.what], step.run), ", ".join(details)
