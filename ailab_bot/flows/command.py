"""A slash command: who may give it, what it does, and the one answer it gets.

Rights come from the permission endpoint, for the user's number and not for a name that can change
hands; what GitHub does not answer is refused. Every command can be delivered twice: the second
time it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ailab_bot.errors import UserError
from ailab_bot.flows.change import (
    ACCEPT,
    REQUEST,
    Acceptance,
    Request,
    acceptance_text,
    request_text,
)
from ailab_bot.flows.desk import (
    FORBIDDEN,
    Case,
    Desk,
    Subject,
    heads_authors,
    open_case,
    own_comment,
    own_runs,
    resolve,
    set_gate,
)
from ailab_bot.flows.publish import chosen_artifacts, judge_case, post
from ailab_bot.gh.client import GitHubError, PullRequest, Run
from ailab_bot.gh.command import (
    Accept,
    Ack,
    Cancel,
    Command,
    Explain,
    Fault,
    Help,
    Mistake,
    Rerun,
    Revert,
    parse_command,
)
from ailab_bot.gh.command import Run as RunMore
from ailab_bot.gh.event import CommentEvent
from ailab_bot.model.github import ACTIONS_BOT_ID
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import replies, status

#: What a reply begins with, so that a comment delivered twice is answered once.
_REPLY = "<!-- ailab:reply to={} -->"
DONE, SEEN, REFUSED = "rocket", "eyes", "confused"


@dataclass(frozen=True)
class Answer:
    """One reaction, and a text where one is needed; no reaction: the comment is not for us."""

    reaction: str = ""
    text: str = ""


def obey(desk: Desk, event: CommentEvent) -> Answer:
    """Carry out what a comment asks for, and answer it."""
    command = parse_command(event.body)
    if command is None or event.action != "created" or not event.on_pull:
        return Answer()
    if event.author.id == ACTIONS_BOT_ID:
        return Answer()
    pull = desk.github.pull(event.number)
    bot_id, broken = ACTIONS_BOT_ID, ""
    try:
        bot_id = desk.definitions_of(pull.base_ref).config.github.bot_id
    except UserError as error:
        broken = error.what
    if event.author.id == bot_id or not pull.open:
        return Answer()
    if broken and not isinstance(command, (Help, Mistake)):
        answer = Answer(REFUSED, replies.broken_base(broken))
    else:
        answer = _carry_out(desk, event, pull, command)
    desk.github.react(event.comment_id, answer.reaction)
    if answer.text:
        reply_once(desk, event, bot_id, answer.text)
    return answer


def _carry_out(
    desk: Desk, event: CommentEvent, pull: PullRequest, command: Command | Mistake
) -> Answer:
    if isinstance(command, Mistake):
        return Answer(REFUSED, mistake_text(command, pull.head_sha))
    if isinstance(command, Help):
        return Answer(DONE, replies.help_text())
    name = type(command).__name__.lower()
    if isinstance(command, (Ack, Revert)):
        return Answer(REFUSED, replies.only_in_incidents(name))
    if not isinstance(command, Explain):
        refusal = _refusal(desk, event, pull, command, name)
        if refusal:
            return Answer(REFUSED, refusal)
    run = next(iter(own_runs(desk, pull)), None)
    if isinstance(command, Cancel):
        return _cancel(desk, run)
    if run is None:
        return Answer(REFUSED, replies.never_measured())
    if run.conclusion == "action_required":
        return Answer(REFUSED, replies.needs_approval())
    if isinstance(command, Accept):
        return _accept(desk, event, pull, run, command)
    if run.status != "completed":
        if isinstance(command, Explain):
            return Answer(REFUSED, replies.not_yet(run.head_sha))
        return Answer(SEEN)  # already queued, or measuring: a second request adds nothing
    case = open_case(desk, Subject(run, pull, pull.base_ref), desk.around.capacity_s)
    if isinstance(command, Explain):
        return _explain(desk, case, command)
    return _measure(desk, case, command)


def _refusal(
    desk: Desk, event: CommentEvent, pull: PullRequest, command: Command, name: str
) -> str:
    """Why this user may not give this command; empty where they may."""
    if isinstance(command, Accept):
        if event.author.id in heads_authors(desk, pull):
            return replies.own_change()
    elif event.author.id == pull.author.id:
        return ""
    try:
        permission = desk.github.permission(event.author.login)
    except GitHubError as error:
        return replies.not_allowed(name) if error.status == 404 else replies.rights_unknown(name)
    same = permission.user.id == event.author.id
    return "" if same and permission.may_write else replies.not_allowed(name)


def _cancel(desk: Desk, run: Run | None) -> Answer:
    if run is None or run.status == "completed":
        return Answer(REFUSED, replies.nothing_to_do("cancel"))
    desk.github.cancel(run.id)
    return Answer(DONE)


def _accept(
    desk: Desk, event: CommentEvent, pull: PullRequest, run: Run, command: Accept
) -> Answer:
    """Record it on the commit first; then say it wherever the regression was said."""
    if not pull.head_sha.startswith(command.sha):
        return Answer(REFUSED, replies.head_moved(command.sha, pull.head_sha))
    subject = resolve(desk, run)
    if subject is None or subject.rivals or subject.superseded_by:
        return Answer(REFUSED, replies.nothing_to_accept(pull.head_sha))
    case = open_case(desk, subject, desk.around.capacity_s)
    gate = case.gate
    fails = gate is not None and gate.state == Conclusion.FAILURE.value
    if run.status != "completed" or not fails:
        known = case.acceptance is not None and case.acceptance.user_id == event.author.id
        return Answer(DONE) if known else Answer(REFUSED, replies.nothing_to_accept(pull.head_sha))
    acceptance = Acceptance(event.author.id, event.author.login, command.reason)
    case = replace(case, acceptance=acceptance)
    report, lost = judge_case(desk, case, chosen_artifacts(desk.github, run))
    if report.pull is None or report.pull.gate_state is not Conclusion.SUCCESS:
        crashes = any(failure.blocks_the_change for failure in report.failures)
        return Answer(REFUSED, replies.a_crash() if crashes else replies.measure_first())
    desk.github.create_status(
        pull.head_sha,
        context=ACCEPT,
        state="success",
        description=acceptance_text(acceptance),
        url=event.url,
    )
    post(desk, case, report, lost, annotates=False)
    return Answer(DONE)


def _explain(desk: Desk, case: Case, command: Explain) -> Answer:
    report, _ = judge_case(desk, case, chosen_artifacts(desk.github, case.subject.run))
    names = [_known_as(case, name) for name in command.scenarios]
    return Answer(DONE, replies.explain(report, names))


def _measure(desk: Desk, case: Case, command: Rerun | RunMore) -> Answer:
    run = case.subject.run
    known = [scenario.id for scenario in case.definitions.scenarios]
    unknown = [name for name in command.scenarios if _known_as(case, name) not in known]
    if unknown:
        return Answer(REFUSED, replies.unknown_scenarios(unknown, known))
    pools = case.definitions.config.github.runners
    homeless = [
        scenario
        for scenario in case.definitions.scenarios
        if scenario.id.lower() in command.scenarios and scenario.runner not in pools
    ]
    if homeless:
        return Answer(REFUSED, replies.no_runners(homeless[0].id, homeless[0].runner, list(pools)))
    request, failed_only = None, False
    if isinstance(command, RunMore):
        names = ("all",) if command.everything else command.scenarios
        request = Request(run.id, run.attempt + 1, names, widens=True)
    elif command.failed:
        _, lost = judge_case(desk, case, chosen_artifacts(desk.github, run))
        if not lost:
            return Answer(REFUSED, replies.nothing_to_do("rerun failed"))
        request = Request(run.id, run.attempt + 1, tuple(map(str.lower, lost)), widens=False)
        if not request_text(request):  # too many to name: GitHub knows which jobs failed
            request, failed_only = None, run.conclusion != "success"
    elif command.scenarios:
        expected = {scenario.id.lower() for scenario in case.change.expected}
        widens = not expected.issuperset(command.scenarios)  # whoever names it wants it
        request = Request(run.id, run.attempt + 1, command.scenarios, widens=widens)
    if request is not None:
        text = request_text(request)
        if not text:
            return Answer(REFUSED, replies.too_many())
        desk.github.create_status(
            run.head_sha, context=REQUEST, state="success", description=text, url=run.url
        )
    try:
        desk.github.rerun(run.id, failed_only=failed_only)
    except GitHubError as error:
        if error.status != FORBIDDEN:
            raise
        if desk.github.run(run.id).status != "completed":
            return Answer(SEEN)  # somebody else's command came first
        return Answer(REFUSED, replies.too_old())
    bot_text = status.queued(request.scenarios if request else ())
    set_gate(desk, run.head_sha, Conclusion.PENDING, bot_text, run.url)
    return Answer(DONE)


def _known_as(case: Case, name: str) -> str:
    """A scenario's id, which commands name in lower case; unknown names stay as they are."""
    for scenario in case.definitions.scenarios:
        if scenario.id.lower() == name:
            return scenario.id
    return name


def mistake_text(mistake: Mistake, head_sha: str) -> str:
    """What is wrong with a command that cannot be followed, and how it is written."""
    match mistake.fault:
        case Fault.UNKNOWN:
            return replies.unknown_command(mistake.shown)
        case Fault.NO_SHA:
            return replies.accept_without_sha(head_sha)
        case Fault.NO_REASON:
            return replies.accept_without_reason(head_sha)
        case Fault.ARGUMENTS:
            return replies.bad_arguments(mistake.command, mistake.why)


def reply_once(desk: Desk, event: CommentEvent, bot_id: int, text: str) -> None:
    """Post the reply, unless it is there: a comment may be delivered twice."""
    mark = _REPLY.format(event.comment_id)
    if own_comment(desk, event.number, bot_id, mark) is None:
        desk.github.create_comment(event.number, f"{mark}\n{text}")
