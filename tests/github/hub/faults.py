"""What can go wrong with one request, as data. `server` acts it out.

github.will("repos/create-commit-status", answer(502), answer(502))     then it works again
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """`kind`: answer, hang (no answer until the client gives up), drop (the connection is cut) or
    cut (half of the answer). `performed`: GitHub did what was asked, and only then failed.
    `reset_in_s`: x-ratelimit-reset, from the stand-in's now.
    """

    kind: str
    status: int = 0
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    performed: bool = False
    reset_in_s: int | None = None


def answer(
    status: int, message: str = "Server Error", *, retry_after_s: int | None = None
) -> Fault:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Fault("answer", status, message, headers)


def lost(status: int = 502) -> Fault:
    """Done, though the client sees a failure."""
    return Fault("answer", status, "Server Error", performed=True)


def hang() -> Fault:
    return Fault("hang")


def drop(*, performed: bool = False) -> Fault:
    return Fault("drop", performed=performed)


def cut() -> Fault:
    """Half of the JSON, with the length of all of it."""
    return Fault("cut", performed=True)


def secondary_limit(retry_after_s: int | None = None, status: int = 403) -> Fault:
    """GitHub names the time to wait, or leaves it open."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    message = "You have exceeded a secondary rate limit. Please wait a few minutes."
    return Fault("answer", status, message, headers)


def primary_limit(reset_in_s: int) -> Fault:
    return Fault(
        "answer",
        403,
        "API rate limit exceeded for installation ID 1.",
        {"x-ratelimit-remaining": "0"},
        reset_in_s=reset_in_s,
    )
