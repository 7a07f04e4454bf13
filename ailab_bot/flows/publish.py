"""The trusted half: raw trials of a finished measurement -> status, comment, annotations.

The plan is made again, the verdicts are made anew, and every way out of here ends the status of
the commit that was measured: success only with all the data, error with the reason otherwise.
Status before comment before annotations, so that what blocks a merge is right first.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.assemble import Findings, assemble
from ailab_bot.flows.change import ChangePlan
from ailab_bot.flows.desk import (
    FORBIDDEN,
    Case,
    Desk,
    Published,
    Subject,
    context_of,
    gate_of,
    gate_state,
    gates_of,
    is_ours,
    newest_run,
    open_case,
    own_comment,
    put_comment,
    refuse_rivals,
    resolve,
    set_gate,
    turn,
)
from ailab_bot.flows.history import plan_of, records_of
from ailab_bot.flows.ingest import MEMBERS, UNKNOWN_MACHINE, Parcel, ingest
from ailab_bot.flows.policy import policy_notes
from ailab_bot.gh.actions import parse_artifact_name
from ailab_bot.gh.artifacts import read_zip
from ailab_bot.gh.client import Artifact, GitHub, GitHubError, Run
from ailab_bot.judge import conclude
from ailab_bot.model.report import Commit, GateMode, Report
from ailab_bot.model.shard import Loss, LossKind
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import status
from ailab_bot.report.annotations import annotate
from ailab_bot.report.comment import render_comment
from ailab_bot.report.states import (
    NotMeasured,
    render_not_measured,
    render_superseded,
    without_banner,
)
from ailab_bot.report.words import clean

#: One shard's artifact, compressed, before it is even looked into.
LARGEST_ARTIFACT_BYTES = 32 << 20
#: Artifacts of one run that may be read; reading ends when every scenario has its result.
MOST_ARTIFACTS = 64
CHECK = "AI Lab imports"
#: Losses that the machine or the upload may have caused.
_WORTH_A_SECOND_TRY = (LossKind.NO_RESULT, LossKind.UNREADABLE, LossKind.INTERRUPTED)


def publish(desk: Desk, run: Run) -> Published:
    """Post what a finished run of a measuring workflow found. Safe to repeat.

    An error of ours or of the repository's ends the status too, then goes on to the caller. Where
    GitHub does not answer, the status is left to the sweeper, which asks again.
    """
    if not is_ours(desk, run):
        return Published(None, "not one of this repository's measuring workflows")
    if run.conclusion == "skipped":
        return _restore(desk, run)
    if run.conclusion == "action_required":
        return _waits_for_approval(desk, run)
    newest = newest_run(desk, run)
    if _is_late(newest, run):
        return Published(None, f"attempt {newest.attempt} of run {newest.id} speaks for the commit")
    try:
        return _publish(desk, run)
    except GitHubError:
        raise
    except UserError as error:
        # The base branch's own files are in the way: nothing that is measured again helps.
        set_gate(desk, run.head_sha, Conclusion.ERROR, status.malformed(error.what), run.url)
        raise
    except Exception as error:
        what = error.what if isinstance(error, AilabError) else "The bot failed; see its log"
        set_gate(desk, run.head_sha, Conclusion.ERROR, status.failed(clean(what, 100)), run.url)
        raise


def _is_late(newest: Run, run: Run) -> bool:
    return turn(newest) > turn(run)


def _restore(desk: Desk, run: Run) -> Published:
    """An edited title measured nothing: a pending status that it left gives way to the last one."""
    newest = newest_run(desk, run)
    if newest.id != run.id and newest.status != "completed":
        return Published(None, "it is being measured")
    subject = resolve(desk, run)
    if subject is None or subject.superseded_by:
        return Published(None, "nothing was to be measured")
    bot_id = desk.definitions_of(subject.base_ref).config.github.bot_id
    own = gates_of(desk.github.statuses(run.head_sha), bot_id)
    if not own or own[0].state != Conclusion.PENDING.value:
        return Published(None, "nothing was to be measured")
    last = next((each for each in own if each.state != Conclusion.PENDING.value), None)
    if last is None:
        return (
            Published(None, "nothing was to be measured")
            if newest.id == run.id
            else _publish(desk, newest)
        )
    state = Conclusion(last.state)
    set_gate(desk, run.head_sha, state, last.description, last.url, bot_id=bot_id)
    comment = own_comment(desk, subject.pull.number, bot_id) if subject.pull else None
    if comment is not None and comment.body != without_banner(comment.body):
        desk.github.update_comment(comment.id, without_banner(comment.body))
    return Published(state, last.description)


def _waits_for_approval(desk: Desk, run: Run) -> Published:
    """Said only of a commit of which nothing was said yet: another's result stands."""
    subject = resolve(desk, run)
    if subject is None or subject.superseded_by:
        return Published(None, "there is no open pull request with this head")
    bot_id = desk.definitions_of(subject.base_ref).config.github.bot_id
    if gate_of(desk.github.statuses(run.head_sha), bot_id) is not None:
        return Published(None, "the commit has a status already")
    text = "A maintainer has to approve the workflows of this pull request first"
    set_gate(desk, run.head_sha, Conclusion.ERROR, text, run.url, bot_id=bot_id)
    return Published(Conclusion.ERROR, text)


def _publish(desk: Desk, run: Run) -> Published:
    subject = resolve(desk, run)
    if subject is None:
        text = status.failed("There is no pull request of this commit any more")
        set_gate(desk, run.head_sha, Conclusion.ERROR, text, run.url)
        return Published(Conclusion.ERROR, text)
    if subject.superseded_by:
        return _superseded(desk, subject)
    if subject.rivals:
        return refuse_rivals(desk, subject)
    return publish_case(desk, open_case(desk, subject, desk.around.capacity_s))


def _superseded(desk: Desk, subject: Subject) -> Published:
    """The old commit's status ends; the new one is untouched, and so is what it has posted."""
    run, new = subject.run, subject.superseded_by
    text = status.superseded(new)
    set_gate(desk, run.head_sha, Conclusion.ERROR, text, run.url)
    definitions = desk.definitions_of(subject.base_ref)
    bot_id = definitions.config.github.bot_id
    if subject.pull is None or subject.closed or gate_of(desk.github.statuses(new), bot_id):
        return Published(Conclusion.ERROR, text)
    if own_comment(desk, subject.pull.number, bot_id) is not None:
        return Published(Conclusion.ERROR, text)  # it says which commit it is of
    context = context_of(desk, open_case(desk, subject), Conclusion.ERROR)
    body = render_superseded(context, run.head_sha, new)
    comment = put_comment(desk, subject.pull.number, body, bot_id)
    return Published(Conclusion.ERROR, text, comment_url=comment.url)


def publish_case(desk: Desk, case: Case) -> Published:
    """Judge a case whose run is complete, and post it."""
    run, change = case.subject.run, case.change
    if change.refusal:
        return _nothing(desk, case, Conclusion.ERROR, f"Refused: {change.refusal}")
    if change.skip:
        if case.subject.queued and change.queue_passes:
            return _queue(desk, case)
        done = _nothing(desk, case, Conclusion.SUCCESS, change.skip)
        if change.selected is None or not case.definitions.config.github.history:
            return done
        target = change.target
        return replace(done, records=plan_of(target.head, target.base, run, change.body()))
    report, lost = judge_case(desk, case, chosen_artifacts(desk.github, run))
    newest = newest_run(desk, run)  # reading took a while
    if _is_late(newest, run):
        return Published(None, f"attempt {newest.attempt} of run {newest.id} has begun")
    gone = [name for name, loss in lost.items() if loss.kind in _WORTH_A_SECOND_TRY]
    cancelled = run.conclusion == "cancelled"
    if gone and run.attempt == 1 and not cancelled and _try_again(desk, case):
        text = f"{status.measuring(len(gone), len(change.shards))}: a runner failed once"
        set_gate(desk, run.head_sha, Conclusion.PENDING, status.plain(text), run.url)
        return Published(Conclusion.PENDING, "what was lost is measured once more")
    done = post(desk, case, report, lost)
    if not case.definitions.config.github.history:
        return done
    return replace(done, records=records_of(report, run, change.body()))


def post(
    desk: Desk, case: Case, report: Report, lost: Mapping[str, Loss], *, annotates: bool = True
) -> Published:
    """Status, comment, annotations. `annotates`: no line is marked yet."""
    run = case.subject.run
    bot_id = case.definitions.config.github.bot_id
    nothing = not report.verdicts and not report.failures
    cancelled = run.conclusion == "cancelled" and nothing
    text = status.cancelled() if cancelled else status.description(report)
    assert report.pull is not None
    state = report.pull.gate_state
    known = case.gate
    said = known is not None and (known.state, known.description) == (state.value, text)
    set_gate(desk, run.head_sha, state, text, run.url, bot_id=bot_id)
    if case.subject.pull is None:
        return Published(state, text, report)
    if nothing:
        kind = NotMeasured.CANCELLED if cancelled else _kind_of(lost)
        reasons = [*report.notes, *(f"{name}: {loss.reason}" for name, loss in lost.items())]
        body = render_not_measured(report.pull, run.head_sha, kind, reasons)
    else:
        body = render_comment(report)
    try:
        url = put_comment(desk, case.subject.pull.number, body, bot_id).url
    except GitHubError as error:
        if error.status != FORBIDDEN:
            raise
        return Published(state, text, report, warning=f"No comment was posted: {error.what}")
    # The same said before means that the lines were marked with it.
    warning = _annotate(desk, case, report) if annotates and not said else ""
    return Published(state, text, report, url, warning)


def _kind_of(lost: Mapping[str, Loss]) -> NotMeasured:
    """What a comment without any result is about: what all scenarios have in common."""
    kinds = {loss.kind for loss in lost.values()}
    if LossKind.REFUSED in kinds:
        return NotMeasured.FORGED
    if kinds == {LossKind.CHANGED}:
        return NotMeasured.CHANGED
    if kinds == {LossKind.SETUP}:
        return NotMeasured.SETUP
    return NotMeasured.MACHINES


def judge_case(
    desk: Desk, case: Case, artifacts: tuple[Artifact, ...]
) -> tuple[Report, dict[str, Loss]]:
    """The report of a case's raw trials, and the expected scenarios that have none, with why."""
    change = case.change
    findings, lost = ingest(parcels_of(desk.github, artifacts), change)
    policy = case.definitions.policy
    names = [scenario.id for scenario in change.expected]
    notes = policy_notes(policy, names)
    if not case.comparison.complete:
        notes.append("The change has more files than GitHub lists: it may edit .ailab unseen.")
    findings = replace(findings, notes=[*notes, *findings.notes])
    head = case.subject.run.head_sha
    report = assemble(
        Commit(case.subject.base_ref, change.target.base),
        Commit("head", head),
        change.plan,
        change.expected,
        policy,
        findings,
        _reproduce(change),
    )
    mode = case.definitions.config.github.mode
    # A regression can be intended, a crash cannot.
    blocking = any(failure.blocks_the_change for failure in report.failures)
    fails = report.conclusion is Conclusion.FAILURE
    accepted = case.acceptance is not None and fails and not blocking
    shown = case if accepted else replace(case, acceptance=None)
    state = gate_state(
        report.conclusion, mode, accepted=accepted, incomplete=is_incomplete(report, change, lost)
    )
    context = context_of(desk, shown, state, _reasons(lost))
    return replace(report, pull=context), lost


def _reasons(lost: Mapping[str, Loss]) -> tuple[tuple[str, str], ...]:
    """Of scenarios without a result; a head that cannot be set up is shown as a failure instead."""
    return tuple((name, o.reason) for name, o in lost.items() if o.kind is not LossKind.SETUP_HEAD)


def is_incomplete(report: Report, change: ChangePlan, lost: Mapping[str, Loss]) -> bool:
    """Whether something that was to be measured has no verdict, whatever else was found."""
    calm = [replace(verdict, gates=False) for verdict in report.verdicts]
    metrics = {scenario.id: scenario.metrics for scenario in change.expected}
    left = conclude(calm, (), metrics, report.policy.gate, interrupted=bool(lost))
    return left is Conclusion.ERROR


def chosen_artifacts(github: GitHub, run: Run) -> tuple[Artifact, ...]:
    """The shards' artifacts, latest attempts first: no more than can be asked for."""
    found = []
    for artifact in github.artifacts(run.id):
        place = parse_artifact_name(artifact.name)
        if place and not artifact.expired and place[0] <= run.attempt:
            found.append((place, artifact))
    found.sort(key=lambda item: (-item[0][0], item[0][1], -item[1].id))
    return tuple(artifact for _, artifact in found[:MOST_ARTIFACTS])


def parcels_of(
    github: GitHub, artifacts: Sequence[Artifact], members: Mapping[str, int] = MEMBERS
) -> list[Parcel]:
    """The artifacts, to be downloaded when they are read, once each."""
    return [
        Parcel(*place, open=cache(partial(_open, github, artifact, members)))
        for artifact in artifacts
        if (place := parse_artifact_name(artifact.name)) is not None
    ]


def _open(github: GitHub, artifact: Artifact, members: Mapping[str, int]) -> Mapping[str, bytes]:
    return read_zip(github.download(artifact, LARGEST_ARTIFACT_BYTES), members)


def _queue(desk: Desk, case: Case) -> Published:
    """What the pull request was measured to counts in the queue, if it was measured."""
    run, number = case.subject.run, case.subject.queued
    bot_id = case.definitions.config.github.bot_id
    pull = desk.github.pull(number)
    gate = gate_of(desk.github.statuses(pull.head_sha), bot_id)
    passed = gate is not None and gate.state == Conclusion.SUCCESS.value
    state = Conclusion.SUCCESS if passed else Conclusion.ERROR
    text = status.queue_of(number, passed)
    set_gate(desk, run.head_sha, state, text, run.url, bot_id=bot_id)
    return Published(state, text)


def _nothing(desk: Desk, case: Case, state: Conclusion, text: str) -> Published:
    """Nothing was to be measured: a status, and a comment only where one would be out of date."""
    run, pull = case.subject.run, case.subject.pull
    set_gate(desk, run.head_sha, state, status.plain(text), run.url)
    bot_id = case.definitions.config.github.bot_id
    if pull is None or (case.definitions.config.github.mode is GateMode.OFF):
        return Published(state, text)
    known = own_comment(desk, pull.number, bot_id)
    if state is Conclusion.ERROR:
        context = context_of(desk, case, state)
        body = render_not_measured(context, run.head_sha, NotMeasured.REFUSED, [text])
        comment = put_comment(desk, pull.number, body, bot_id, known)
        return Published(state, text, comment_url=comment.url)
    if known is None:
        return Published(state, text)
    report = _empty(case)
    report = replace(report, pull=context_of(desk, case, state))
    comment = put_comment(desk, pull.number, render_comment(report), bot_id, known)
    return Published(state, text, report, comment.url)


def _try_again(desk: Desk, case: Case) -> bool:
    """One automatic second attempt of the jobs that failed; False where GitHub refuses."""
    run = case.subject.run
    try:
        desk.github.rerun(run.id, failed_only=run.conclusion != "success")
    except GitHubError:
        return False
    return True


def _annotate(desk: Desk, case: Case, report: Report) -> str:
    """Mark the lines that import more; a text where GitHub refuses that, which decides nothing."""
    patches = {file.path: file.patch for file in case.comparison.files}
    remarks = annotate(report.explanations, patches)
    if not remarks:
        return ""
    count = len(remarks)
    noun = "line imports" if count == 1 else "lines import"
    try:
        desk.github.create_check(
            case.subject.run.head_sha,
            name=CHECK,
            title=f"{count} changed {noun} more before the first batch",
            summary="The verdict is in the pull request's comment; the gate is `ailab/gate`.",
            annotations=remarks,
        )
    except GitHubError as error:
        return f"Lines were not marked: {error.what}"
    return ""


def _reproduce(change: ChangePlan) -> str:
    """The command that measures the same on one's own machine."""
    words = ["ailab", "ab", change.target.base[:12], change.target.head[:12]]
    words += ["--seed", str(change.plan.seed)]
    if change.selected is not None or len(change.expected) <= 8:  # else it is the whole tier
        words += ["--scenario", *(scenario.id for scenario in change.expected)]
    return shlex.join(words)


def _empty(case: Case) -> Report:
    change = case.change
    return assemble(
        Commit(case.subject.base_ref, change.target.base),
        Commit("head", change.target.head),
        change.plan,
        (),
        case.definitions.policy,
        Findings([], (UNKNOWN_MACHINE,), notes=[change.skip + "."]),
        _reproduce(change),
    )
