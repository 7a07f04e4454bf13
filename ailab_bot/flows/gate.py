"""When a measurement begins: the status becomes pending, and an older comment says so.

Refuses to touch a commit that has been decided: jobs of the same workflow can overtake each other.
"""

from __future__ import annotations

from ailab_bot.flows.desk import (
    Desk,
    Published,
    context_of,
    is_ours,
    newest_run,
    open_case,
    own_comment,
    resolve,
    set_gate,
)
from ailab_bot.gh.client import Run
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
    case = open_case(desk, subject, desk.around.capacity_s)
    change = case.change
    if change.refusal or change.skip:
        return Published(None, "nothing is measured; the end of the run says why")
    text = status.measuring(len(change.now), len(change.shards), change.minutes)
    set_gate(desk, run.head_sha, Conclusion.PENDING, text, run.url)
    if subject.pull is None:
        return Published(Conclusion.PENDING, text)
    bot_id = case.definitions.config.github.bot_id
    comment = own_comment(desk, subject.pull.number, bot_id)
    if comment is None:
        return Published(Conclusion.PENDING, text)
    context = context_of(desk, case, Conclusion.PENDING)
    body = mark_stale(comment.body, context, now=run.head_sha, minutes=change.minutes)
    desk.github.update_comment(comment.id, body)
    return Published(Conclusion.PENDING, text, comment_url=comment.url)
