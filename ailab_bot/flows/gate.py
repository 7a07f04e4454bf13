"""When a measurement begins: the status becomes pending, and an older comment says so.

When a pull request comes to a commit that has a status already, or to another base: what was said
of another base does not count.

Refuses to touch a commit that has been decided: jobs of the same workflow can overtake each other.
"""

from __future__ import annotations

from ailab_bot.flows.desk import (
    Desk,
    Published,
    context_of,
    gate_of,
    is_ours,
    newest_run,
    open_case,
    own_comment,
    refuse_rivals,
    resolve,
    set_gate,
)
from ailab_bot.gh.client import Run
from ailab_bot.gh.event import PullRequestEvent
from ailab_bot.model.verdict import Conclusion
from ailab_bot.report import status
from ailab_bot.report.states import mark_stale


def open_gate(desk: Desk, run: Run) -> Published:
    """Pending, with what is measured and how long it may take."""
    if not is_ours(desk, run):
        return Published(None, "not one of this repository's measuring workflows")
    newest = newest_run(desk, run)
    if (newest.id, newest.attempt) != (run.id, run.attempt) or newest.status == "completed":
        return Published(None, "the run has ended, or a newer one has begun")
    subject = resolve(desk, run)
    if subject is None or subject.superseded_by or subject.closed:
        return Published(None, "there is no open pull request with this head")
    if subject.rivals:
        return refuse_rivals(desk, subject)
    case = open_case(desk, subject, desk.around.capacity_s)
    change = case.change
    if change.refusal or change.skip:
        return Published(None, "nothing is measured; the end of the run says why")
    text = status.measuring(len(change.now), len(change.shards), change.minutes)
    bot_id = case.definitions.config.github.bot_id
    set_gate(desk, run.head_sha, Conclusion.PENDING, text, run.url, bot_id=bot_id)
    if subject.pull is None:
        return Published(Conclusion.PENDING, text)
    comment = own_comment(desk, subject.pull.number, bot_id)
    if comment is None:
        return Published(Conclusion.PENDING, text)
    context = context_of(desk, case, Conclusion.PENDING)
    body = mark_stale(comment.body, context, now=run.head_sha, minutes=change.minutes)
    desk.github.update_comment(comment.id, body)
    return Published(Conclusion.PENDING, text, comment_url=comment.url)


def guard(desk: Desk, event: PullRequestEvent) -> Published:
    """A status belongs to a commit, and a verdict to a commit and its base.

    A pull request that comes to a measured commit (opened on it, pushed back to it) or to another
    base inherits no success: its own copy of the measuring workflow may not even start.
    """
    pull = event.pull
    if event.action not in {"opened", "reopened", "synchronize"} and not event.retargeted:
        return Published(None, "head and base are what they were")
    same = [each for each in desk.github.open_pulls() if each.head_sha == pull.head_sha]
    rivals = [each for each in same if each.base_ref != pull.base_ref]
    if rivals:
        text = status.rivals([pull.number, *(each.number for each in rivals)])
        set_gate(desk, pull.head_sha, Conclusion.ERROR, text, pull.url)
        return Published(Conclusion.ERROR, text)
    bot_id = desk.definitions_of(pull.base_ref).config.github.bot_id
    gate = gate_of(desk.github.statuses(pull.head_sha), bot_id)
    if gate is None or gate.state == Conclusion.PENDING.value or gate.created_at >= event.at:
        return Published(None, "the commit's status is not older than this")
    text = status.not_yet(pull.base_ref)
    set_gate(desk, pull.head_sha, Conclusion.ERROR, text, pull.url, bot_id=bot_id)
    return Published(Conclusion.ERROR, text)
