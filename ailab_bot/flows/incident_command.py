"""Slash commands in an incident's issue: who takes it on, and a branch that takes its culprit back.

An incident's issue is one that the bot itself filed: its author and its marker say so, and the
ledger says what it is about. Every other issue is people's own, and is left alone. Rights are asked
of GitHub, for the user's number; a command that is delivered twice changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.flows.command import DONE, REFUSED, SEEN, Answer, mistake_text, reply_once
from ailab_bot.flows.desk import Desk
from ailab_bot.flows.incident import Watch, follow, incident_in, revert_branch
from ailab_bot.flows.lifecycle import acknowledge
from ailab_bot.flows.revert import prepare_revert, push_branch, reason_of
from ailab_bot.gh.client import GitHubError, NotFoundError
from ailab_bot.gh.command import Ack, Help, Mistake, Revert, parse_command
from ailab_bot.gh.event import CommentEvent
from ailab_bot.measure.git import Repository
from ailab_bot.model.github import ACTIONS_BOT_ID
from ailab_bot.model.incident import Incident, Step, What, incidents_of
from ailab_bot.model.report import Commit
from ailab_bot.report import replies


@dataclass(frozen=True)
class Obeyed:
    """`answer` is posted already. `incidents` and `steps`: what the ledger should learn. `reverts`:
    a revert was asked for by somebody who may, and the job that may push has to make it."""

    answer: Answer
    incidents: tuple[Incident, ...] = ()
    steps: tuple[Step, ...] = ()
    reverts: bool = False


def is_incident(event: CommentEvent, bot_id: int) -> bool:
    """Whether the comment stands in an issue that the bot filed for an incident."""
    return (
        event.on_issue and event.issue_author.id == bot_id and bool(incident_in(event.issue_body))
    )


def obey_in_incident(
    watch: Watch, event: CommentEvent, known: Callable[[], tuple[Step, ...]]
) -> Obeyed:
    """Carry out what a comment in an incident's issue asks for, and answer it. `known`: every step
    in the ledger; GitHubError where it cannot be read."""
    desk = watch.desk
    command = parse_command(event.body)
    own = event.author.id in {ACTIONS_BOT_ID, watch.bot_id}
    if command is None or event.action != "created" or own or not is_incident(event, watch.bot_id):
        return Obeyed(Answer())
    if isinstance(command, Mistake):
        return _answered(watch, event, Answer(REFUSED, mistake_text(command, "")))
    if isinstance(command, Help):
        return _answered(watch, event, Answer(DONE, replies.help_text()))
    if not isinstance(command, (Ack, Revert)):
        name = type(command).__name__.lower()
        return _answered(watch, event, Answer(REFUSED, replies.only_on_pulls(name)))
    try:
        steps = known()
    except RunnerError:
        return _answered(watch, event, Answer(REFUSED, replies.history_unavailable()))
    incidents = incidents_of(steps)
    incident = next((e for e in incidents if e.id == incident_in(event.issue_body)), None)
    if incident is None:
        return _answered(watch, event, Answer(REFUSED, replies.unknown_incident()))
    if isinstance(command, Ack):
        return _acknowledge(watch, event, steps, incident)
    refusal = _may_not_revert(desk, event, incident)
    if refusal:
        return _answered(watch, event, Answer(REFUSED, refusal))
    return Obeyed(Answer(), incidents, reverts=True)


def _acknowledge(
    watch: Watch, event: CommentEvent, known: tuple[Step, ...], incident: Incident
) -> Obeyed:
    refusal = _refusal(watch.desk, event, "ack", incident)
    if refusal:
        return _answered(watch, event, Answer(REFUSED, refusal))
    if not incident.is_open:
        return _answered(watch, event, Answer(REFUSED, replies.incident_is_closed()))
    new = acknowledge(incident, event.author.login, watch.desk.now(), watch.run.id)
    if not new:
        return _answered(watch, event, Answer(SEEN))
    followed = follow(watch, known, new, only=incident.id)
    answer = _answered(watch, event, Answer(DONE)).answer
    return Obeyed(answer, followed.incidents, tuple(followed.steps))


def _may_not_revert(desk: Desk, event: CommentEvent, incident: Incident) -> str:
    refusal = _refusal(desk, event, "revert")
    if refusal:
        return refusal
    if not incident.is_open:
        return replies.incident_is_closed()
    return "" if incident.blame is not None else replies.no_culprit_yet()


def _refusal(desk: Desk, event: CommentEvent, name: str, incident: Incident | None = None) -> str:
    """Why this user may not give this command; empty where they may. Of `incident` its culprit's
    author may, too."""
    try:
        if incident is not None and incident.blame is not None:
            author = _author_id(desk, incident.blame.sha)
            if author == event.author.id:
                return ""
        permission = desk.github.permission(event.author.login)
    except NotFoundError:
        return replies.not_allowed(name)
    except GitHubError:
        return replies.rights_unknown(name)
    same = permission.user.id == event.author.id
    return "" if same and permission.may_write else replies.not_allowed(name)


def _author_id(desk: Desk, sha: str) -> int | None:
    try:
        author = desk.github.commit_author(sha)
    except NotFoundError:
        return None
    return author.id if author is not None else None


def _answered(watch: Watch, event: CommentEvent, answer: Answer) -> Obeyed:
    watch.desk.github.react(event.comment_id, answer.reaction)
    if answer.text:
        reply_once(watch.desk, event, watch.bot_id, answer.text)
    return Obeyed(answer)


# --- the job that may push ---------------------------------------------------------------------


def revert_here(
    watch: Watch,
    event: CommentEvent,
    known: tuple[Step, ...],
    clone: Repository,
    environ: Mapping[str, str],
) -> Obeyed:
    """Prepare and push the branch, and say where it is. Asks for the rights once more: this job
    believes no other."""
    incident = next((e for e in incidents_of(known) if e.id == incident_in(event.issue_body)), None)
    asked = isinstance(parse_command(event.body), Revert) and is_incident(event, watch.bot_id)
    if not asked or incident is None:
        return Obeyed(Answer())
    refusal = _may_not_revert(watch.desk, event, incident)
    blame = incident.blame
    if refusal or blame is None:
        return _answered(watch, event, Answer(REFUSED, refusal))
    base = _base_of(watch, clone, incident)
    if base is None:
        return _answered(watch, event, Answer(REFUSED, replies.culprit_is_gone(blame.sha)))
    tip = clone.remote_tip(base)
    assert tip is not None
    culprit = Commit("culprit", blame.sha, blame.subject)
    branch = revert_branch(incident)
    try:
        prepared = prepare_revert(clone, culprit, tip, reason_of(blame, incident.issue))
        if prepared.sha:
            push_branch(clone, prepared.sha, branch, environ, watch.desk.around.server_url)
    except RunnerError as error:
        text = replies.revert_failed(blame.sha, error.what, error.advice)
        return _answered(watch, event, Answer(REFUSED, text))
    if not prepared.sha:
        text = (
            replies.revert_conflicts(blame.sha, prepared.conflicts)
            if prepared.conflicts
            else replies.nothing_to_revert(blame.sha)
        )
        return _answered(watch, event, Answer(REFUSED, text))
    step = Step(
        incident.id,
        What.REVERT_PREPARED,
        watch.desk.now(),
        run=watch.run.id,
        by=event.author.login,
        sha=prepared.sha,
        branch=base,
    )
    followed = follow(watch, known, [step], only=incident.id)
    answer = _answered(watch, event, Answer(DONE)).answer
    return Obeyed(answer, followed.incidents, tuple(followed.steps))


def _base_of(watch: Watch, clone: Repository, incident: Incident) -> str | None:
    """Onto which branch: the default one where it has the culprit, else the incident's own."""
    assert incident.blame is not None
    for branch in dict.fromkeys((watch.default_branch, incident.branch)):
        tip = clone.remote_tip(branch)
        if tip is not None and clone.contains(incident.blame.sha, tip):
            return branch
    return None


def check_history(clone: Repository) -> None:
    """UserError where the clone lacks the history that a revert is made from."""
    if clone.is_shallow():
        raise UserError(
            "this clone has no history",
            why="A revert needs the culprit and the branch's tip.",
            advice="Check out with `fetch-depth: 0`, as examples/ailab-command.yml does.",
        )
