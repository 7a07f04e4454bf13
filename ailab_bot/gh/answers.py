"""GitHub's answers become the types of `client`, strictly: a strange field is a StrangeError.

Only what the API alone says is here; what events say too, `event` reads.
https://docs.github.com/en/rest
"""

from __future__ import annotations

from ailab_bot.gh.client import (
    NOBODY,
    Artifact,
    ChangedFile,
    Comment,
    CommitStatus,
    Comparison,
    Issue,
    Permission,
    User,
)
from ailab_bot.gh.event import read_user
from ailab_bot.gh.fields import Fields, StrangeError

#: A comparison shows no more files, on however many pages.
MOST_FILES = 300


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


def read_issue(fields: Fields) -> Issue:
    """StrangeError where it is a pull request, which GitHub shows as an issue too."""
    found = read_issue_or_pull(fields)
    if found is None:
        raise StrangeError(f"{fields.where} is a pull request")
    return found


def read_issue_or_pull(fields: Fields) -> Issue | None:
    """None where it is a pull request."""
    if fields.value.get("pull_request") is not None:
        return None
    author, closed_by = fields.maybe("user"), fields.maybe("closed_by")
    # GitHub describes assignees as optional.
    assignees = fields.objects("assignees") if "assignees" in fields.value else []
    return Issue(
        number=fields.number("number"),
        author=NOBODY if author is None else read_user(author),
        title=fields.text("title"),
        body=fields.text_or_none("body") or "",
        labels=_labels(fields),
        assignees=tuple(each.text("login") for each in assignees),
        open=fields.text("state") == "open",
        state_reason=fields.text_or_none("state_reason") or "",
        closed_by=None if closed_by is None else read_user(closed_by),
        url=fields.text("html_url"),
    )


def _labels(fields: Fields) -> tuple[str, ...]:
    """GitHub describes each as an object or as its name alone."""
    value = fields.value.get("labels")
    if not isinstance(value, list):
        raise StrangeError(f"{fields.where}.labels is not a list")
    where = f"{fields.where}.labels"
    return tuple(
        each if isinstance(each, str) else Fields(each, where).text("name") for each in value
    )


def read_author(fields: Fields) -> User | None:
    """Of a commit; GitHub gives null or an empty object where it knows no account."""
    author = fields.maybe("author")
    return None if author is None or not author.value else read_user(author)


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
