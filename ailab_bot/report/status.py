"""The required status's description: one line of at most 140 characters, whatever happened.

Plain text, which GitHub shows as it is: names are cleaned and cut, and nothing outside the Basic
Multilingual Plane is let through, as GitHub refuses such descriptions with a 422.
"""

from __future__ import annotations

from collections.abc import Sequence

from ailab_bot.model.report import GateMode, PullContext, Report
from ailab_bot.model.verdict import Conclusion, FailureSummary, Verdict, VerdictKind
from ailab_bot.report import words

#: GitHub refuses longer descriptions.
MOST_CHARACTERS = 140
#: A name takes at most this much of it, so that what follows the name is always seen.
_LONGEST_NAME = 32
#: How a release's status begins that open incidents alone stand against, and what ends it where
#: something was not measured besides.
NO_GO, INCOMPLETE = "No-go:", "; not all measured"
#: What is counted beside "no regression".
_ALSO = {VerdictKind.IMPROVEMENT: "faster", VerdictKind.INCONCLUSIVE: "not known"}


def description(report: Report) -> str:
    """What the report says, its gate's mode and an acceptance included."""
    pull = report.pull
    if pull is None:
        return _line(_found(report))
    if pull.mode == GateMode.OFF:
        return _line(f"Off: {_found(report)}")
    if pull.accepted_by:
        who, why = _name(pull.accepted_by), words.clean(pull.accepted_reason, 60)
        return _line(f"Accepted by {who}: {why}. {_found(report)}")
    found = _found(report)
    if pull.mode == GateMode.ADVISORY and pull.gate_state is Conclusion.SUCCESS and _is_bad(report):
        return _line(f"Advisory: {found}")
    return _line(found)


def measuring(scenarios: int, runners: int, minutes: float | None = None) -> str:
    """`Measuring 6 scenarios on 2 runners, about 12 min`."""
    text = f"Measuring {_count(scenarios, 'scenario')} on {_count(runners, 'runner')}"
    return _line(text if minutes is None else f"{text}, about {max(1, round(minutes))} min")


def queued(scenarios: Sequence[str] = ()) -> str:
    """Asked for, and not begun. Without scenarios: all of the plan."""
    return _line(f"Waiting to be measured again: {', '.join(scenarios) or 'all scenarios'}")


def superseded(by_sha: str) -> str:
    return _line(f"Superseded by {_flat(by_sha[:12], 12)}, which is measured by itself")


def cancelled(by: str = "") -> str:
    who = f" by {_name(by)}" if by else ""
    return _line(f"Cancelled{who} before there was a result: /ailab rerun")


def swept(hours: float) -> str:
    """A status that was left pending. `hours`: how long."""
    return _line(f"No result after {max(1, round(hours))} h, so it was ended: /ailab rerun")


def not_measured(missing: int, of: int, why: str) -> str:
    """`2 of 6 scenarios not measured: its runner was lost. /ailab rerun failed`."""
    end = ". /ailab rerun failed"
    start = f"{missing} of {_count(of, 'scenario')} not measured: "
    room = MOST_CHARACTERS - len(start) - len(end)
    return _line(f"{start}{_flat(why, room)}{end}")


def rivals(numbers: Sequence[int]) -> str:
    """Pull requests with different bases and one head: a status can speak of one of them only."""
    listed = ", ".join(f"#{number}" for number in sorted(numbers)[:5])
    return _line(f"{listed} share this commit on different bases: close one or push a new commit")


def not_yet(base_ref: str) -> str:
    """The commit was measured, and not against the base that it has now."""
    return _line(
        f"Not measured against {_flat(base_ref, 60)} yet: /ailab rerun if it does not begin"
    )


def queue_of(number: int, passed: bool) -> str:
    if passed:
        return f"Measured on #{number} before the queue"
    return f"#{number} has no success of its own: measure it, then queue it again"


def malformed(what: str) -> str:
    """The base branch's own files are in the way."""
    return _line(f"{_flat(what, 70)}: mend it on the base branch, then /ailab rerun")


def failed(what: str) -> str:
    """Any other error: its text, and how to try again."""
    end = ". /ailab rerun"
    return _line(f"{_flat(what.rstrip('.'), MOST_CHARACTERS - len(end))}{end}")


def _found(report: Report) -> str:
    gating = [v for v in report.verdicts if v.gates]
    slower = sorted(_of(gating, VerdictKind.REGRESSION), key=words.rank)
    failing = [failure for failure in report.failures if failure.blocks_the_change]
    if slower:
        more = len({v.scenario for v in slower} | {f.scenario for f in failing}) - 1
        return _effect(slower[0]) + (f", and {more} more" if more > 0 else "")
    if failing:
        return _failing(failing)
    lost = _lost(report, report.pull)
    if lost:
        taken = len({choice.scenario for choice in report.plan.taken} | lost)
        reasons = {why for _, why in report.pull.infra} if report.pull else set()
        why = next(iter(reasons)) if len(reasons) == 1 else "see the comment"
        return not_measured(len(lost), taken, why if reasons else "trials failed")
    if report.interrupted or report.conclusion is Conclusion.ERROR:
        return "Not everything was measured. /ailab rerun failed"
    if not report.verdicts:
        return "Nothing to measure for this change"
    return _good(report.verdicts)


def _good(verdicts: Sequence[Verdict]) -> str:
    advisory = [
        v for v in _of(verdicts, VerdictKind.REGRESSION) if not v.gates and v.metric == "ttfb_s"
    ]
    if advisory:
        more = f", and {len(advisory) - 1} more" if len(advisory) > 1 else ""
        return f"Blocks nothing: {_effect(sorted(advisory, key=words.rank)[0])}{more}"
    count = _count(len({v.scenario for v in verdicts}), "scenario")
    counts = {
        word: sum(v.kind is kind and v.metric == "ttfb_s" for v in verdicts)
        for kind, word in _ALSO.items()
    }
    also = ", ".join(f"{found} {word}" for word, found in counts.items() if found)
    return f"No regression in time to first batch: {count}" + (f" ({also})" if also else "")


def _effect(verdict: Verdict) -> str:
    percent = words.percent(verdict.effect)
    if verdict.metric == "ttfb_s":
        return f"{_name(verdict.scenario)} {percent} slower to first batch"
    return f"{_name(verdict.scenario)} {percent} {words.clean(words.label(verdict.metric), 40)}"


def _failing(failures: Sequence[FailureSummary]) -> str:
    first = failures[0]
    what = "cannot be set up" if first.in_setup else words.OUTCOMES.get(first.outcome, "failed")
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    never = first.failed == first.trials
    where = "on head, not on base" if never else "on head far more often than on base"
    return f"{_name(first.scenario)} {what} {where}{more}"


def _lost(report: Report, pull: PullContext | None) -> set[str]:
    judged = {verdict.scenario for verdict in report.verdicts}
    infra = {scenario for scenario, _ in pull.infra} if pull else set()
    return ({failure.scenario for failure in report.failures} | infra) - judged


def _is_bad(report: Report) -> bool:
    return report.conclusion is Conclusion.FAILURE


def _of(verdicts: Sequence[Verdict], kind: VerdictKind) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.kind is kind]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name(text: str) -> str:
    return _flat(text, _LONGEST_NAME)


def plain(text: str) -> str:
    """Any text of ours as a description: one line, at most MOST_CHARACTERS."""
    return _line(text)


def _flat(text: str, most: int) -> str:
    """One line of characters that GitHub takes, cut to `most`."""
    flat = "".join(c if c <= "\uffff" else "\ufffd" for c in words.clean(text, len(text) + 1))
    return flat if len(flat) <= most else flat[: max(0, most - 1)] + "…"


def _line(text: str) -> str:
    return _flat(text, MOST_CHARACTERS).strip() or "\ufffd"


def release_go(scenarios: int, baseline: str, improved: int) -> str:
    """`Go: 12 scenarios, none slower than v1.3 (2 faster)`."""
    than, faster = _name(baseline), f" ({improved} faster)" if improved else ""
    if not scenarios:
        return _line(f"Go: no scenario to measure against {than}")
    none = "not slower" if scenarios == 1 else "none slower"
    return _line(f"Go: {_count(scenarios, 'scenario')}, {none} than {than}{faster}")


def release_no_go(
    incidents: Sequence[tuple[int, str]], unfiled: int, *, complete: bool = True
) -> str:
    """`No-go: 2 open incidents: #12 train +18.2 %, #15 tokenize +6.0 %`, as many as there is room
    for. `incidents`: numbers of issues, each with what it is about; `unfiled`: open ones without
    an issue. Not `complete`: some of the commit was not measured besides."""
    count = len(incidents) + unfiled
    start = f"{NO_GO} {_count(count, 'open incident')}"
    end = "" if complete else INCOMPLETE
    named = [f"#{number} {_flat(what, 60)}" for number, what in incidents]
    for shown in range(len(named), 0, -1):
        left = count - shown
        more = f", and {left} more" if left else ""
        text = f"{start}: {', '.join(named[:shown])}{more}{end}"
        if len(text) <= MOST_CHARACTERS:
            return _line(text)
    return _line(
        f"{start}, without an issue: see the run{end}" if count else f"{NO_GO} see the run"
    )


def release_but(baseline: str, accepted: Sequence[int]) -> str:
    """Slower, and only by what a maintainer let stay. `accepted`: numbers of its issues."""
    listed = ", ".join(f"#{number}" for number in accepted[:5])
    what = f"what was accepted ({listed})" if listed else "what was accepted"
    return _line(f"Go: slower than {_name(baseline)} only by {what}")


def release_accepted(what: Sequence[str], by: str) -> str:
    """What stood against it may stay: somebody closed its issue as not planned."""
    return _line(f"Go: {_name(by)} accepts {_flat(', '.join(what), 90)}")
