"""What can go wrong, in two kinds that the exit status tells apart. Texts say what, why, what now.

Refuses to decide anything: a verdict never travels as an exception, and an error is never a
verdict.
"""

from __future__ import annotations


class AilabError(Exception):
    """Something stopped the job.

    `what` happened, `why` (the evidence, may hold several lines) and `advice`: what to do now.
    """

    exit_status = 3

    def __init__(self, what: str, *, why: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.advice = advice


class UserError(AilabError):
    """The user has to change something: usage, configuration, an unknown ref. Exit status 2."""

    exit_status = 2


class RunnerError(AilabError):
    """The machine or a tool on it failed; the same command may succeed later. Exit status 3."""

    exit_status = 3
