"""What the bot answered to a comment: its reactions, and its replies beside its one report."""

from __future__ import annotations

from hub.state import Comment, Pull
from office import Office


def reactions(comment: Comment) -> list[str]:
    return [content for _, content in comment.reactions]


def replies(office: Office, pull: Pull) -> list[str]:
    own = [comment.body for comment in office.github.bot_comments(pull)]
    return [body for body in own if body.startswith("<!-- ailab:reply")]
