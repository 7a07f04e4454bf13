"""GitHub's answers become the types of `client`, strictly: a strange field is a StrangeError.

Only what the API alone says is here; what events say too, `event` reads.
https://docs.github.com/en/rest
"""

from __future__ import annotations

from ailab_bot.gh.client import (
    Artifact,
    ChangedFile,
    Comment,
    CommitStatus,
    Comparison,
    Permission,
    User,
)
from ailab_bot.gh.event import read_user
from ailab_bot.gh.fields import Fields

#: A comparison shows no more files, on however many pages.
MOST_FILES = 300
#: Whom a comment belongs to whose author GitHub no longer names. No user has this id.
NOBODY = User(0, "ghost")


def read_artifact(fields: Fields) -> Artifact:
    return Artifact(
        id=fields.number("id"),
        name=fields.text("name"),
        size_bytes=fields.number("size_in_bytes"),
        expired=fields.flag("expired"),
    )


def read_status(fields: Fields) -> CommitStatus:
    creator = fields.maybe("creator")
    return CommitStatus(
        context=fields.text("context"),
        state=fields.text("state"),
        description=fields.text_or_none("description") or "",
        url=fields.text_or_none("target_url") or "",
        creator_id=None if creator is None else creator.number("id"),
        created_at=fields.time("created_at"),
    )


def read_comment(fields: Fields) -> Comment:
    author = fields.maybe("user")
    return Comment(
        id=fields.number("id"),
        author=NOBODY if author is None else read_user(author),
        body=fields.text_or_none("body") or "",
        url=fields.text("html_url"),
    )


def read_comparison(fields: Fields) -> Comparison:
    """`complete` is False at GitHub's cap too: whether a 301st file exists is not said."""
    files = tuple(
        ChangedFile(
            path=file.text("filename"),
            status=file.text("status"),
            patch=file.text_or_none("patch"),
            previous_path=file.text_or_none("previous_filename"),
        )
        for file in fields.objects("files")
    )
    return Comparison(
        merge_base_sha=fields.below("merge_base_commit").sha("sha"),
        ahead=fields.number("ahead_by"),
        behind=fields.number("behind_by"),
        files=files,
        complete=len(files) < MOST_FILES,
    )


def read_permission(fields: Fields) -> Permission:
    return Permission(read_user(fields.below("user")), fields.text("permission"))
