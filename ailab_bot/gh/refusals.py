"""What an answer other than the one hoped for means, and whether to try again. Pure.

Refuses to send, wait or count; `transport` does. Texts say which permission the job lacks.
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ailab_bot.gh.client import GitHubError, NotFoundError

#: GitHub asks for "at least one minute" where it names no time.
UNNAMED_WAIT_S = 60.0
#: Characters of GitHub's own words in an error.
MOST_WORDS = 500


class TryAgainError(Exception):
    """A try that failed. `maybe_done`: GitHub may have done it although we saw no answer.

    `wait_s` is what GitHub named, None where it named nothing.
    """

    def __init__(self, error: GitHubError, *, maybe_done: bool, wait_s: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.maybe_done = maybe_done
        self.wait_s = wait_s


def words_of(text: str) -> str:
    """GitHub's `message` and `errors`, on one line; of a page of a proxy only its beginning."""
    try:
        answer = json.loads(text)
    except ValueError:
        return " ".join(text[:MOST_WORDS].split())
    if not isinstance(answer, dict):
        return ""
    message, errors = answer.get("message", ""), answer.get("errors")
    return f"{message} {json.dumps(errors)}" if errors else str(message)


def refusal(
    status: int, headers: Mapping[str, str], words: str, what: str, needs: str, now: float
) -> GitHubError | TryAgainError:
    """The error for an answer of 300 or above. `what` was asked, `needs`: its permission.

    `now` in seconds since 1970, as GitHub's resets are.
    """
    wait_s = _limit_s(status, headers, words, now)
    if wait_s is not None:
        error = GitHubError(
            f"GitHub limits our rate: {what}",
            status=status,
            why=words,
            advice="Run the job again later; other jobs of this repository count too.",
        )
        return TryAgainError(error, maybe_done=False, wait_s=wait_s)
    if status >= 500 or status == 408:
        error = GitHubError(
            f"GitHub failed: {what} ({status})",
            status=status,
            why=words,
            advice="https://www.githubstatus.com says whether it is known. Run the job again.",
        )
        after = headers.get("retry-after", "")
        return TryAgainError(
            error, maybe_done=True, wait_s=float(after) if after.isdecimal() else None
        )
    kind = NotFoundError if status in {404, 410} else GitHubError
    return kind(
        f"GitHub refused: {what} ({status})",
        status=status,
        why=words,
        advice=_advice(status, words, needs),
    )


def unanswered(what: str, error: Exception) -> TryAgainError:
    """No answer, or half of one. The type's name alone: texts of HTTP libraries may quote."""
    return TryAgainError(
        GitHubError(
            f"no answer from GitHub: {what}",
            why=type(error).__name__,
            advice="Check the runner's network, then run the job again.",
        ),
        maybe_done=True,
        wait_s=None,
    )


def _limit_s(status: int, headers: Mapping[str, str], words: str, now: float) -> float | None:
    """How long to wait before another try; None where no limit is the reason."""
    if status not in {403, 429}:
        return None
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return float(after)
    if status == 403 and "rate limit" not in words.lower():
        return None
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(float(reset) - now, 0.0) + 1.0  # both clocks count whole seconds
    return UNNAMED_WAIT_S


def _advice(status: int, words: str, needs: str) -> str:
    permission = f"give the job `permissions: {{{needs}}}`"
    if status == 401:
        return "Check the input github-token: it is wrong, has expired or was revoked."
    if status == 403 and "not accessible" in words:
        return f"The token may not do this: {permission}."
    if status == 403:
        return f"If the token may not do this, {permission}."
    if status in {404, 410}:
        return f"It was deleted, or the token may not see it. If it exists, {permission}."
    if status in {301, 302, 307, 308}:
        return "The repository was renamed or moved: run the workflow in its new place."
    return "If the same happens again, please report it with the job's log."
