"""The jobs of the workflows: surroundings in, one flow, outputs and a summary out.

A job's exit status says whether it did its work; what is found out about a change is said by the
required status alone. Heavy modules are imported by the job that needs them: planning is quick.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ailab_bot.errors import AilabError, UserError
from ailab_bot.flows.change import GATE
from ailab_bot.flows.hosted import Clock, check_disk, fresh_folder, plan_here
from ailab_bot.gh.actions import Surroundings, read_surroundings, say
from ailab_bot.gh.client import CommitStatus, GitHub
from ailab_bot.gh.event import CommentEvent, Event, PullRequestEvent, WorkflowRunEvent
from ailab_bot.model.exchange import shard_from_json, shards_to_json
from ailab_bot.model.github import GitHub as GitHubSettings

if TYPE_CHECKING:
    from datetime import datetime

    from ailab_bot.flows.desk import Desk, Published
    from ailab_bot.flows.incident import Watch
    from ailab_bot.ledger.records import Record
    from ailab_bot.model.incident import Step
    from ailab_bot.model.shard import ShardResult
    from ailab_bot.report.progress import Progress

_REAL = Clock()

#: Planning waits this long for GitHub at the most.
_PLAN_PATIENCE_S = 120.0
#: Asking GitHub for the records, of the 10 minutes that their job has.
_HISTORY_PATIENCE_S = 240.0


def plan_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """Write the matrix of the measuring jobs; `[]` where nothing is to be measured."""
    from ailab_bot.report.plan import render_plan

    around = read_surroundings(environ)

    def client() -> GitHub:
        from ailab_bot.gh.api import client_from

        deadline_s = time.monotonic() + _PLAN_PATIENCE_S
        return client_from(environ, deadline_s=deadline_s, sleep=clock.sleep)

    def statuses_of(sha: str) -> tuple[CommitStatus, ...]:
        return client().statuses(sha)

    def begun() -> datetime:
        return client().run(around.run_id).created_at

    def bring(sha: str) -> None:
        from ailab_bot.gh.fetch import bring_if_there

        token = environ.get("AILAB_TOKEN", "")
        bring_if_there(around.workspace, sha, token, around.server_url)

    found = plan_here(around, statuses_of, begun, bring)
    if found is None:
        say("notice", "There is no earlier commit to compare with, so nothing is measured.")
        around.set_output("matrix", "[]")
        return 0
    change, _ = found
    around.set_output("matrix", shards_to_json(change.shards))
    around.add_summary(render_plan(change.plan, change.shards, change.refusal or change.skip))
    if change.refusal:
        say("error", change.refusal, "AI Lab bot measures nothing here")
    elif change.skip:
        say("notice", change.skip)
    return 0


def measure_job(environ: Mapping[str, str], progress: Progress) -> ShardResult:
    """Measure the shard in AILAB_SHARD into the folder that the action uploads."""
    from ailab_bot.flows.definitions import read_definitions
    from ailab_bot.flows.shard import measure_shard
    from ailab_bot.measure.git import ensure_commits, open_repository

    around = read_surroundings(environ)
    shard = shard_from_json(around.shard, "the input `shard`")
    clone = open_repository(around.workspace)
    ensure_commits(clone, [shard.base, shard.head, shard.definitions])
    check_disk(around.temp)
    definitions = read_definitions(
        clone, shard.definitions, fresh_folder(around, "definitions"), around.config
    )
    # What the repository configured wins over the action's default.
    python = definitions.config.python or environ.get("AILAB_PYTHON") or None
    return measure_shard(shard, clone, definitions, around.out(), progress, python)


def gate_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """A measurement has begun: pending. A pull request has come, or has another base: guarded."""
    from ailab_bot.flows.gate import guard, open_gate
    from ailab_bot.flows.trusted import GATE_S, open_desk

    around = read_surroundings(environ)
    event = around.event()
    desk = open_desk(around, environ, event.repository, clock, GATE_S)
    if isinstance(event, PullRequestEvent):
        return _tell(around, guard(desk, event))
    return _tell(around, open_gate(desk, _run_event(event).run))


def publish_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """A measurement has ended: decide and post."""
    from ailab_bot.flows.publish import publish
    from ailab_bot.flows.trusted import open_desk

    around = read_surroundings(environ)
    event = _run_event(around.event())
    desk = open_desk(around, environ, event.repository, clock)
    done = publish(desk, event.run)
    status = _tell(around, done)
    _hand_over(around, done.records)
    return status


def history_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """Write the records that this run's job before has made; 3 where history cannot be written.

    Whatever comes of it, the verdict has been posted.
    """
    from ailab_bot.flows.history import ARTIFACT, BRANCH, FILE, write_history
    from ailab_bot.gh.api import client_from
    from ailab_bot.gh.artifacts import read_zip
    from ailab_bot.gh.fetch import access
    from ailab_bot.ledger.git_branch import Ledger, LedgerError
    from ailab_bot.ledger.records import LARGEST_FILE_BYTES, records_from_json

    around = read_surroundings(environ)
    deadline_s = time.monotonic() + _HISTORY_PATIENCE_S
    github = client_from(environ, deadline_s=deadline_s, sleep=clock.sleep)
    own = [each for each in github.artifacts(around.run_id) if each.name == ARTIFACT]
    if not own:
        say("notice", "There is nothing to record.")
        return 0
    newest = max(own, key=lambda artifact: artifact.id)
    members = read_zip(github.download(newest, LARGEST_FILE_BYTES), {FILE: LARGEST_FILE_BYTES})
    variables = access(environ.get("AILAB_TOKEN", ""), around.server_url)
    ledger = Ledger(around.workspace, branch=BRANCH, variables=variables)
    records = records_from_json(members[FILE], FILE)
    try:
        written = write_history(ledger, records, sleep=clock.sleep, rng=random.SystemRandom())
    except LedgerError as error:
        say("warning", f"{error.what}: {error.why} {error.advice}", "History")
        return error.exit_status
    say("notice", f"{written} recorded" if written else "It was recorded already.", BRANCH)
    return 0


def report_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """A protected branch was measured: decide, post the status of its commit."""
    from ailab_bot.flows.incident import RELEASE
    from ailab_bot.flows.release import report_here

    around = read_surroundings(environ)
    done = report_here(around, environ, clock)
    status = _tell(around, done, RELEASE)
    _hand_over(around, done.records)
    return status


def command_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """Somebody commented: on a pull request, or in an incident's issue."""
    from ailab_bot.flows.command import obey
    from ailab_bot.flows.trusted import COMMAND_S, open_desk

    around = read_surroundings(environ)
    event = _comment_event(around)
    desk = open_desk(around, environ, event.repository, clock, COMMAND_S)
    if event.on_issue:
        return _command_in_incident(around, environ, clock, desk, event)
    answer = obey(desk, event)
    say("notice", f"answered with {answer.reaction}" if answer.reaction else "not for the bot")
    return 0


def _comment_event(around: Surroundings) -> CommentEvent:
    event = around.event()
    if isinstance(event, CommentEvent):
        return event
    raise UserError(
        "this event is no comment",
        why=f"It is `{around.event_name}`; `command` reads issue_comment.",
        advice="Use examples/ailab-command.yml.",
    )


def _command_in_incident(
    around: Surroundings,
    environ: Mapping[str, str],
    clock: Clock,
    desk: Desk,
    event: CommentEvent,
) -> int:
    from ailab_bot.flows.incident import incident_in
    from ailab_bot.flows.incident_command import obey_in_incident
    from ailab_bot.flows.incidents import records_of_steps, steps_now

    if not incident_in(event.issue_body):
        say("notice", "not for the bot")
        return 0
    watch = _watch(around, environ, clock, desk, event)
    done = obey_in_incident(watch, event, lambda: steps_now(around, environ))
    answer = done.answer
    say("notice", f"answered with {answer.reaction}" if answer.reaction else "not for the bot")
    if done.reverts:
        around.set_output("revert", incident_in(event.issue_body))
    _hand_over(around, records_of_steps(done.incidents, done.steps, watch.run, clock.now()))
    return 0


def revert_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """Somebody asked for a branch that takes a culprit back; the job before let it pass."""
    from ailab_bot.flows.incident_command import check_history, revert_here
    from ailab_bot.flows.incidents import records_of_steps, steps_now
    from ailab_bot.flows.trusted import COMMAND_S, open_desk
    from ailab_bot.measure.git import open_repository

    around = read_surroundings(environ)
    event = _comment_event(around)
    clone = open_repository(around.workspace)
    check_history(clone)
    desk = open_desk(around, environ, event.repository, clock, COMMAND_S)
    watch = _watch(around, environ, clock, desk, event)
    known = steps_now(around, environ)
    done = revert_here(watch, event, known, clone, environ)
    say("notice", f"answered with {done.answer.reaction}" if done.answer.reaction else "nothing")
    _hand_over(around, records_of_steps(done.incidents, done.steps, watch.run, clock.now()))
    return 0


def incident_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """A search for a culprit has ended: blame whom it confirmed, and bring all incidents up to
    date. 3 where the ledger cannot be read: the search's result is kept, so run the job again."""
    from ailab_bot.flows.blame import answers, read_ended, searched
    from ailab_bot.flows.incident import follow
    from ailab_bot.flows.incidents import records_of_steps, steps_now
    from ailab_bot.flows.lifecycle import attribute
    from ailab_bot.flows.trusted import open_desk
    from ailab_bot.model.incident import incidents_of

    around = read_surroundings(environ)
    event = around.event()
    desk = open_desk(around, environ, event.repository, clock)
    watch = _watch(around, environ, clock, desk, event)
    known = steps_now(around, environ)
    incidents = incidents_of(known)
    new: tuple[Step, ...] = ()
    ended = read_ended(around)
    if ended is not None:
        incident = next((each for each in incidents if each.id == ended.incident), None)
        if incident is None or not answers(incident, ended.found):
            say("notice", f"{ended.found.ending}: {ended.found.reason}", "Search of no incident")
        else:
            found = searched(desk.github, incident, ended.found)
            new = attribute(incidents, incident, found, clock.now(), watch.run.id)
    followed = follow(watch, known, new)
    for note in followed.notes:
        say("warning", note, "Incidents")
    stand = sum(each.is_open for each in followed.incidents)
    say("notice", f"{stand} open, {len(followed.steps)} new steps", "Incidents")
    _hand_over(around, records_of_steps(followed.incidents, followed.steps, watch.run, clock.now()))
    return 0


def _watch(
    around: Surroundings, environ: Mapping[str, str], clock: Clock, desk: Desk, event: Event
) -> Watch:
    from ailab_bot.flows.incident import Watch, hook_of

    branch = event.repository.default_branch
    bot_id = desk.definitions_of(branch).config.github.bot_id
    run = desk.github.run(around.run_id)
    return Watch(desk, bot_id, run, branch, hook_of(environ), clock.sleep)


def sweep_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """End what was left pending; 3 where some of it could not be. Then see what history lacks."""
    from ailab_bot.flows.sweep import sweep
    from ailab_bot.flows.trusted import open_desk

    around = read_surroundings(environ)
    event = around.event()
    desk = open_desk(around, environ, event.repository, clock)
    settings = GitHubSettings(history=False)
    try:
        settings = desk.definitions_of(event.repository.default_branch).config.github
    except UserError as error:  # statuses are ended all the same
        say("warning", error.what, "The default branch's configuration is not used")
    found = sweep(desk, settings.bot_id, random.SystemRandom())
    say("notice", f"{len(found.ended)} ended, {len(found.live)} still at work")
    for sha in found.again:
        say("notice", f"{sha[:12]}: the jobs that failed run again", "A release")
    if found.left:
        say("warning", f"{found.left} commits were left to the next sweep")
    for sha, why in found.failed.items():
        say("error", f"{sha[:12]}: {why}", "A status could not be ended")
    if settings.history:
        records = _catch_up(desk)
        records += _keep_incidents(around, environ, clock, desk, event)
        _hand_over(around, records)
    return 3 if found.failed else 0


def _catch_up(desk: Desk) -> tuple[Record, ...]:
    """Comes after all else of a sweep, and cannot fail it."""
    from ailab_bot.flows.catch_up import make_missing

    try:
        made = make_missing(desk, random.SystemRandom())
    except AilabError as error:
        say("warning", error.what, "History was not looked at")
        return ()
    for sha, why in made.failed.items():
        say("warning", f"{sha[:12]}: {why}", "A record could not be made again")
    return made.records


def _keep_incidents(
    around: Surroundings, environ: Mapping[str, str], clock: Clock, desk: Desk, event: Event
) -> tuple[Record, ...]:
    """What people did meanwhile: a fix proposed, an issue closed as not planned. Cannot fail a
    sweep."""
    from ailab_bot.flows.incident import follow
    from ailab_bot.flows.incidents import records_of_steps, steps_now

    try:
        known = steps_now(around, environ)
        if not known:
            return ()
        watch = _watch(around, environ, clock, desk, event)
        followed = follow(watch, known, ())
    except AilabError as error:
        say("warning", error.what, "Incidents were not looked at")
        return ()
    for note in followed.notes:
        say("warning", note, "Incidents")
    return records_of_steps(followed.incidents, followed.steps, watch.run, clock.now())


def _hand_over(around: Surroundings, records: Sequence[Record]) -> None:
    """Records for the job that may write them. Without any there is no output, and no such job."""
    from ailab_bot.flows.history import FILE
    from ailab_bot.ledger.records import records_to_json

    if records:
        path = around.out() / FILE
        path.write_text(records_to_json(records), encoding="utf-8")
        around.set_output("records-path", str(path))


def _run_event(event: Event) -> WorkflowRunEvent:
    if isinstance(event, WorkflowRunEvent):
        return event
    raise UserError(
        "this event is no workflow run",
        why="`gate` and `publish` follow a run of the measuring workflow.",
        advice="Use examples/ailab-report.yml.",
    )


def _tell(around: Surroundings, done: Published, context: str = GATE) -> int:
    from ailab_bot.model.wire import report_to_json
    from ailab_bot.report.summary import render_summary

    if done.conclusion is None:
        say("notice", f"Nothing was posted: {done.why}")
        return 0
    say("notice", f"{done.conclusion.value}: {done.why}", context)
    if done.warning:
        say("warning", done.warning)
    around.set_output("conclusion", done.conclusion.value)
    if done.comment_url:
        around.set_output("comment-url", done.comment_url)
    if done.report is not None:
        path = around.out() / "ailab-report.json"
        document = report_to_json(done.report)
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        around.set_output("report-path", str(path))
        around.add_summary(done.summary)
        around.add_summary(render_summary(done.report))
    return 0


def search_plan_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """Write the matrix of a search's next round; `[]` where it is over."""
    from ailab_bot.flows.search_jobs import earlier_json, look
    from ailab_bot.gh.api import client_from
    from ailab_bot.model.searchwire import tasks_to_json
    from ailab_bot.report.culprit import render_standing

    around = read_surroundings(environ)
    deadline_s = time.monotonic() + _HISTORY_PATIENCE_S
    github = client_from(environ, deadline_s=deadline_s, sleep=clock.sleep)
    looked = look(around, github, _warn_of_search, own=False)
    around.set_output("matrix", tasks_to_json(looked.tasks))
    if looked.standing is not None:
        evidence = looked.standing.evidence
        around.set_output("earlier", earlier_json(evidence))
        chances, blocks = looked.standing.belief.posterior, len(evidence.blocks)
        around.add_summary(render_standing(chances, blocks, len(looked.tasks)))
    if looked.ended is not None:
        say("notice", f"There is nothing left to measure: {looked.ended.reason}", "Search")
    return 0


def decide_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """After a round of a search: who it was, or another round."""
    from ailab_bot.flows.finding import failed
    from ailab_bot.flows.search_jobs import look, next_round, write_found
    from ailab_bot.flows.survey import subject_of
    from ailab_bot.gh.api import client_from
    from ailab_bot.report.culprit import render_found

    around = read_surroundings(environ)
    deadline_s = time.monotonic() + _HISTORY_PATIENCE_S
    github = client_from(environ, deadline_s=deadline_s, sleep=clock.sleep)
    looked = look(around, github, _warn_of_search, own=True)
    found, standing = looked.ended, looked.standing
    if found is None and standing is not None:
        run = github.run(around.run_id)
        ref = run.head_branch or around.event().repository.default_branch
        why = next_round(github, run, ref, looked.inputs)
        if not why:
            say("notice", f"The next round begins: {standing.phase}.", "Search")
            around.set_output("next", "dispatch")
            return 0
        reason = f"The next round could not be started: {why}."
        found = failed(subject_of(looked.inputs), reason, standing.evidence)
    assert found is not None, "a search without a standing has failed"
    around.set_output("next", "over")
    around.set_output("culprit-path", str(write_found(around, looked.inputs, found)))
    around.add_summary(render_found(found))
    say("notice", f"{found.ending}: {found.reason}", "Search")
    return 0


def _warn_of_search(text: str) -> None:
    say("warning", text, "Search")
