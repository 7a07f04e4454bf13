"""The report of a protected branch: from the artifacts of its own run to its commit's status, go or
no-go, and to the incidents that stand against it.

Runs in the workflow that measured, after its shards, and knows no pull request. The status comes
first: what an incident needs of GitHub may fail without undoing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from ailab_bot.errors import AilabError
from ailab_bot.flows.assemble import assemble
from ailab_bot.flows.change import ChangePlan
from ailab_bot.flows.creep import creeps, narrowed, sentence_of
from ailab_bot.flows.desk import Published, gate_state, set_gate
from ailab_bot.flows.history import BRANCH, records_of
from ailab_bot.flows.hosted import Clock, plan_here
from ailab_bot.flows.incident import RELEASE, Followed, Watch, follow, hook_of, release_surface
from ailab_bot.flows.incidents import ledger_tip, read_steps, records_of_steps
from ailab_bot.flows.ingest import MEMBERS, Parcel, ingest
from ailab_bot.flows.knowledge import footprint_body
from ailab_bot.flows.lifecycle import Observed, Seen, lead_of, moved_of, observe, settled_of
from ailab_bot.flows.policy import policy_notes
from ailab_bot.flows.publish import chosen_artifacts, is_incomplete, parcels_of
from ailab_bot.flows.releases import Release, along, read_releases, with_records
from ailab_bot.flows.trusted import open_desk
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.client import GitHubError, Run
from ailab_bot.gh.fetch import bring_if_there
from ailab_bot.ledger.places import LedgerError
from ailab_bot.ledger.records import Origin, Record
from ailab_bot.measure.git import open_repository
from ailab_bot.model import strictjson
from ailab_bot.model.exchange import FOOTPRINTS, fingerprint
from ailab_bot.model.footprintwire import footprint_from_json
from ailab_bot.model.incident import Incident, Moved, Step, incidents_of
from ailab_bot.model.report import Commit, GateMode, Report
from ailab_bot.model.verdict import Conclusion, VerdictKind
from ailab_bot.report import status
from ailab_bot.report.incident import render_release_summary
from ailab_bot.report.words import percent

#: Footprints of one shard: 64 scenarios of 300 KiB.
LARGEST_FOOTPRINTS_BYTES = 64 << 20


def report_here(around: Surroundings, environ: Mapping[str, str], clock: Clock) -> Published:
    """The report of a protected branch's measurement, from the artifacts of this very run."""
    desk = open_desk(around, environ, around.event().repository, clock)
    run = desk.github.run(around.run_id)

    def bring(sha: str) -> None:
        token = environ.get("AILAB_TOKEN", "")
        bring_if_there(around.workspace, sha, token, around.server_url)

    found = plan_here(around, desk.github.statuses, lambda: run.created_at, bring)
    if found is None:
        return Published(None, "nothing to compare with")
    change, definitions = found
    told = any(shard.footprints for shard in change.shards)
    members = {**MEMBERS, FOOTPRINTS: LARGEST_FOOTPRINTS_BYTES} if told else MEMBERS
    parcels = parcels_of(desk.github, chosen_artifacts(desk.github, run), members)
    findings, lost = ingest(parcels, change)
    footprints, damaged = read_footprints(parcels, change) if told else ((), 0)
    names = [scenario.id for scenario in change.expected]
    notes = [change.target.base_why] if change.target.base_why else []
    notes += [*policy_notes(definitions.policy, names), *findings.notes]
    notes += [f"{name} has no result: {loss.reason}" for name, loss in lost.items()]
    if damaged:
        notes.append(f"{damaged} footprints could not be read, and are not recorded.")
    report = assemble(
        Commit("base", change.target.base),
        Commit("head", change.target.head),
        change.plan,
        change.expected,
        definitions.policy,
        replace(findings, notes=notes),
        f"ailab ab {change.target.base[:12]} {change.target.head[:12]} --seed {change.plan.seed}",
    )
    settings = definitions.config.github
    incomplete = is_incomplete(report, change, lost)
    records: tuple[Record, ...] = ()
    known: tuple[Step, ...] | None = None
    tip: str | None = None
    if settings.history:
        records = records_of(report, run, change.body(), Origin.RELEASE, footprints)
        known, tip, why = _known_steps(around, environ)
        if known is None:
            report = replace(report, notes=(*report.notes, why))
    if known is None:
        state = gate_state(report.conclusion, settings.mode, accepted=False, incomplete=incomplete)
        text = status.description(report)
        set_gate(desk, change.target.head, state, text, run.url, context=RELEASE)
        return Published(state, text, report, records=records)
    seen = _seen(around, run, change, report, clock)
    series = _series(around, tip, change, records)
    observed = observe(incidents_of(known), seen, _good_in(series, change))
    state, text = verdict_of(report, observed, settings.mode, change, incomplete=incomplete)
    set_gate(desk, change.target.head, state, text, run.url, context=RELEASE)
    # What may become a baseline: not what an incident stands against, but what was accepted.
    recorded = Conclusion.FAILURE if observed.standing else report.conclusion
    if observed.accepted and state is Conclusion.SUCCESS:
        recorded = Conclusion.SUCCESS
    judged = replace(report, conclusion=recorded)
    records = records_of(judged, run, change.body(), Origin.RELEASE, footprints)
    branch = around.event().repository.default_branch
    watch = Watch(desk, settings.bot_id, run, branch, hook_of(environ), clock.sleep)
    followed = follow(watch, known, observed.steps)
    added = records_of_steps(followed.incidents, followed.steps, run, clock.now())
    text = _with_numbers(watch, change, observed, followed, text, incomplete=incomplete)
    return Published(
        state,
        text,
        report,
        warning=" ".join(followed.notes),
        records=(*records, *added),
        summary=_summary(watch, change, report, observed, followed, state, series),
    )


def _with_numbers(
    watch: Watch,
    change: ChangePlan,
    observed: Observed,
    followed: Followed,
    text: str,
    *,
    incomplete: bool,
) -> str:
    """The status once more where incidents have got their issues since it was set."""
    if not text.startswith(status.NO_GO):
        return text
    names = {each.id for each in observed.standing}
    after = [each for each in followed.incidents if each.id in names]
    numbered = _no_go(after, incomplete=incomplete)
    if numbered == text:
        return text
    try:
        sha, url = change.target.head, watch.run.url
        set_gate(watch.desk, sha, Conclusion.FAILURE, numbered, url, context=RELEASE)
    except GitHubError as error:
        followed.notes.append(f"the status names no issue: {error.what}")
        return text
    return numbered


def _no_go(standing: Sequence[Incident], *, incomplete: bool) -> str:
    filed = [(each.issue, _short(each)) for each in standing if each.issue]
    return status.release_no_go(filed, len(standing) - len(filed), complete=not incomplete)


def _known_steps(
    around: Surroundings, environ: Mapping[str, str]
) -> tuple[tuple[Step, ...] | None, str | None, str]:
    """What the ledger knows, and its commit: as it is now, or as the checkout has brought it. None,
    and why, where it cannot be read: an incident that is not known would be filed twice, so none is
    opened."""
    try:
        tip = ledger_tip(around, environ)
    except GitHubError as error:
        tip = open_repository(around.workspace).remote_tip(BRANCH)
        if tip is None:
            return None, None, f"{_UNREAD}: {error.what}. Run the job again."
    try:
        return read_steps(around.workspace, tip), tip, ""
    except LedgerError as error:
        return None, None, f"{_UNREAD}: {error.what}. Run the job again."


_UNREAD = "History could not be read, so no incident was opened or closed"


def _seen(around: Surroundings, run: Run, change: ChangePlan, report: Report, clock: Clock) -> Seen:
    clone = open_repository(around.workspace)
    return Seen(
        sha=change.target.head,
        branch=run.head_branch or around.event().repository.default_branch,
        baseline=change.target.base,
        at=clock.now(),
        run=run.id,
        slower=moved_of(report),
        settled=settled_of(report),
        contains=cache(clone.contains),
        planned=frozenset(scenario.id for scenario in change.expected),
    )


def _series(
    around: Surroundings, tip: str | None, change: ChangePlan, records: Sequence[Record]
) -> tuple[Release, ...]:
    """The measurements of this head and of commits before it, this one the last; none where they
    cannot be read, as they only make a search shorter."""
    try:
        earlier = read_releases(around.workspace, tip)
        clone = open_repository(around.workspace)
        return along(clone, change.target.head, with_records(earlier, records))
    except LedgerError:
        return ()


def _good_in(series: Sequence[Release], change: ChangePlan) -> Callable[[Moved], str]:
    """Of a regression the latest commit that did not have it yet, as far as the series tells."""
    target = change.target

    def good_of(moved: Moved) -> str:
        return narrowed(series, moved.scenario, moved.metric, target.base, target.head)

    return good_of


def verdict_of(
    report: Report, observed: Observed, mode: GateMode, change: ChangePlan, *, incomplete: bool
) -> tuple[Conclusion, str]:
    """Go or no-go. An open incident says no, also where tonight's measurement does not know; one
    that was accepted does not; a scenario that fails, and one that is missing, speak as ever."""
    failing = any(failure.blocks_the_change for failure in report.failures)
    standing = observed.standing
    if standing and mode is GateMode.ENFORCE and not failing:
        return Conclusion.FAILURE, _no_go(standing, incomplete=incomplete)
    accepted = bool(observed.accepted) and not failing and not standing
    state = gate_state(report.conclusion, mode, accepted=accepted, incomplete=incomplete)
    if accepted and state is Conclusion.SUCCESS:
        numbers = [each.issue for each in observed.accepted if each.issue]
        return state, status.release_but(_baseline(change), numbers)
    if state is not Conclusion.SUCCESS or standing or report.conclusion is Conclusion.FAILURE:
        return state, status.description(report)
    improved = sum(v.kind is VerdictKind.IMPROVEMENT and v.confirmed for v in report.verdicts)
    scenarios = len({verdict.scenario for verdict in report.verdicts})
    return state, status.release_go(scenarios, _baseline(change), improved)


def _short(incident: Incident) -> str:
    worst = lead_of(incident)
    return f"{worst.scenario} {percent(worst.effect)}"


def _baseline(change: ChangePlan) -> str:
    return change.target.base_name or change.target.base[:12]


def _summary(
    watch: Watch,
    change: ChangePlan,
    report: Report,
    observed: Observed,
    followed: Followed,
    state: Conclusion,
    series: Sequence[Release],
) -> str:
    by_id = {each.id: each for each in followed.incidents}
    standing = [by_id.get(each.id, each) for each in observed.standing]
    improved = [
        Moved(v.scenario, v.metric, v.effect, v.interval)
        for v in report.verdicts
        if v.kind is VerdictKind.IMPROVEMENT and v.confirmed and v.effect is not None
    ]
    return render_release_summary(
        go=state is Conclusion.SUCCESS and not standing,
        baseline=_baseline(change),
        incidents=standing,
        improved=improved,
        creep=[sentence_of(each) for each in creeps(series)],
        surface=release_surface(watch),
        accepted=observed.accepted,
    )


def read_footprints(
    parcels: Sequence[Parcel], change: ChangePlan
) -> tuple[tuple[tuple[str, dict[str, object]], ...], int]:
    """By scenario the body of its record, and how many lines are none.

    What cannot be opened has been told by `ingest`. A footprint counts only for the head that was
    measured and a scenario of the plan; of several attempts the latest.
    """
    definitions = {scenario.id: fingerprint(scenario) for scenario in change.expected}
    found: dict[str, dict[str, object]] = {}
    damaged = 0
    for parcel in sorted(parcels, key=lambda each: (-each.attempt, each.index)):
        try:
            lines = parcel.open()[FOOTPRINTS].decode("utf-8", "replace").splitlines()
        except AilabError:
            continue
        for line in lines:
            try:
                each = footprint_from_json(strictjson.load(line))
            except strictjson.BadJsonError:
                damaged += 1
                continue
            if each.sha == change.target.head and each.scenario in definitions:
                body = footprint_body(each, definitions[each.scenario])
                found.setdefault(each.scenario, body)
    return tuple(sorted(found.items())), damaged
