"""One request to GitHub, tried again where that is safe, within budgets of tries and time.

Refuses to sleep past the job's deadline, to repeat what may have been done and must not be done
twice, and to let the token into any text. PyGithub speaks HTTP; its own retries and pauses are off.
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import github
import github.Auth
import requests
import tenacity

from ailab_bot.errors import UserError
from ailab_bot.gh.client import GitHubError, NotFoundError, OutOfTimeError
from ailab_bot.version import __version__

#: security.md: at most 8 tries in at most 10 minutes.
MOST_TRIES = 8
MOST_RETRYING_S = 600.0
#: Full jitter draws each pause from 0 to 1, 2, 4, … 60 s, about 62 s for all seven on average.
LONGEST_PAUSE_S = 60.0
#: GitHub asks for "at least one minute" where it names no time, and more after each refusal.
UNNAMED_WAIT_S = 60.0
#: Characters of GitHub's own words in an error.
MOST_WORDS = 500
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

_T = TypeVar("_T")


class TryAgainError(Exception):
    """A try that failed. `maybe_done`: GitHub may have done it although we saw no answer."""

    def __init__(self, error: GitHubError, *, maybe_done: bool, wait_s: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.maybe_done = maybe_done
        self.wait_s = wait_s


class Transport:
    """`deadline_s` is in seconds of `clock`; `now` is seconds since 1970, as GitHub's resets are.

    `requests` and `writes` count every try that went out to the API.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        *,
        deadline_s: float,
        timeout_s: int,
        most_requests: int,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        now: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.api_url = _checked(api_url)
        self.token = token
        self.deadline_s = deadline_s
        self.timeout_s = timeout_s
        self.clock = clock
        self.requests = 0
        self.writes = 0
        self._most_requests = most_requests
        self._sleep = sleep
        self._now = now
        self._rng = rng
        self._github = github.Github(
            auth=github.Auth.Token(token),
            base_url=self.api_url,
            timeout=timeout_s,
            user_agent=f"ailab-bot/{__version__}",
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
            lazy=True,
        )

    def __repr__(self) -> str:
        return f"Transport({self.api_url!r})"

    def close(self) -> None:
        self._github.close()

    def ask(
        self,
        verb: str,
        path: str,
        *,
        needs: str,
        parameters: Mapping[str, str | int] | None = None,
        body: Mapping[str, object] | None = None,
        repeat: bool = True,
        done_if_lost: Collection[int] = (),
    ) -> object:
        """GitHub's JSON, None where it says nothing. `needs`: the job's permission, for advice.

        Without `repeat` only what GitHub surely did not do is tried again. `done_if_lost`: the
        statuses that say "already done" to a try after one whose answer was lost.
        """
        lost = False

        def once() -> object:
            nonlocal lost
            self.count(verb)
            try:
                status, headers, text = self._github.requester.requestJson(
                    verb,
                    path,
                    dict(parameters or {}),
                    dict(HEADERS),
                    body,
                )
                self.check(status, headers, text, f"{verb} {path}", needs)
                return json.loads(text) if text else None
            except (requests.RequestException, ValueError) as error:
                lost = True
                raise self.unanswered(f"{verb} {path}", error) from None
            except TryAgainError as error:
                lost = lost or error.maybe_done
                raise
            except RuntimeError as error:  # PyGithub, where a redirect leads to another host
                raise self.strange(f"{verb} {path}", str(error)) from None
            except GitHubError as error:
                if lost and error.status in done_if_lost:
                    return None
                raise

        return self.persist(once, repeat=repeat)

    def persist(self, once: Callable[[], _T], *, repeat: bool = True) -> _T:
        """Call `once` until it gives an answer, within the budgets."""
        start = self.clock()

        def again(error: BaseException) -> bool:
            return isinstance(error, TryAgainError) and (repeat or not error.maybe_done)

        def spent(state: tenacity.RetryCallState) -> bool:
            if state.attempt_number >= MOST_TRIES:
                return True
            if _named_wait_s(state) is not None:
                return False  # GitHub's own time: only the deadline bounds it
            return self.clock() - start + state.upcoming_sleep > MOST_RETRYING_S

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            stop=spent,
            wait=self._pause_s,
            sleep=self._pause,
            reraise=True,
        )
        try:
            return retrying(once)
        except TryAgainError as error:
            raise error.error from None

    def count(self, verb: str) -> None:
        """One more request to the API; GitHubError beyond the budget, before it is sent."""
        if self.requests >= self._most_requests:
            raise GitHubError(
                f"more than {self._most_requests} requests to GitHub in one job",
                why="A job of ours needs far fewer; going on would use up others' rate limit.",
                advice="Please report this as a defect, with the job's log.",
            )
        self.requests += 1
        self.writes += verb != "GET"

    def check(
        self, status: int, headers: Mapping[str, str], text: str, what: str, needs: str
    ) -> None:
        """Nothing for an answer of 2xx; else the error that says what to do."""
        if status < 300:
            return
        words = self._safe(_words(text))
        if (wait_s := self._limit_s(status, headers, words)) is not None:
            error = GitHubError(
                f"GitHub limits our rate: {what}",
                status=status,
                why=words,
                advice="Run the job again later; other jobs of this repository count too.",
            )
            raise TryAgainError(error, maybe_done=False, wait_s=wait_s)
        if status >= 500 or status == 408:
            error = GitHubError(
                f"GitHub failed: {what} ({status})",
                status=status,
                why=words,
                advice="https://www.githubstatus.com says whether it is known. Run the job again.",
            )
            after = headers.get("retry-after", "")
            wait_s = float(after) if after.isdecimal() else None
            raise TryAgainError(error, maybe_done=True, wait_s=wait_s)
        kind = NotFoundError if status in {404, 410} else GitHubError
        raise kind(
            f"GitHub refused: {what} ({status})",
            status=status,
            why=words,
            advice=_advice(status, words, needs),
        )

    def unanswered(self, what: str, error: Exception) -> TryAgainError:
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

    def strange(self, what: str, why: str) -> GitHubError:
        """An answer that is not as GitHub documents it."""
        return GitHubError(
            f"GitHub's answer is not as it documents: {what}",
            why=self._safe(why),
            advice="If GITHUB_API_URL is GitHub's, please report this.",
        )

    def _limit_s(self, status: int, headers: Mapping[str, str], words: str) -> float | None:
        """How long to wait before another try; None where no limit is the reason."""
        if status not in {403, 429}:
            return None
        after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
        if after.isdecimal():
            return float(after)
        if status == 403 and "rate limit" not in words.lower():
            return None
        if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
            return max(float(reset) - self._now(), 0.0) + 1.0  # both clocks count whole seconds
        return UNNAMED_WAIT_S

    def _pause_s(self, state: tenacity.RetryCallState) -> float:
        named_s = _named_wait_s(state)
        if named_s is not None:
            return named_s
        return self._rng.uniform(0.0, min(2.0 ** (state.attempt_number - 1), LONGEST_PAUSE_S))

    def _pause(self, seconds: float) -> None:
        left_s = self.deadline_s - self.clock()
        if seconds > left_s:
            raise OutOfTimeError(
                f"GitHub has to be left alone for {seconds:.0f} s; the job has {left_s:.0f} s left",
                why="Its rate limit is used up, or it keeps failing.",
                advice="Nothing is lost: the next run or the sweeper goes on.",
            )
        self._sleep(seconds)

    def _safe(self, words: str) -> str:
        return words.replace(self.token, "***")[:MOST_WORDS]


def _named_wait_s(state: tenacity.RetryCallState) -> float | None:
    failed = state.outcome and state.outcome.exception()
    return failed.wait_s if isinstance(failed, TryAgainError) else None


def _checked(api_url: str) -> str:
    """Without a slash at its end; UserError where the token would travel readably."""
    parts = urlsplit(api_url)
    if parts.scheme == "https" and parts.hostname:
        return api_url.rstrip("/")
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return api_url.rstrip("/")
    raise UserError(
        f"GITHUB_API_URL is not usable: {api_url[:100]}",
        why="The token is sent over https only (http: on this machine only).",
        advice="On GitHub it is set for you; elsewhere use https://HOST/api/v3.",
    )


def _words(text: str) -> str:
    """GitHub's `message` and `errors`, on one line; of a page of a proxy only its beginning."""
    try:
        answer = json.loads(text)
    except ValueError:
        return " ".join(text[:MOST_WORDS].split())
    if not isinstance(answer, dict):
        return ""
    message, errors = answer.get("message", ""), answer.get("errors")
    return f"{message} {json.dumps(errors)}" if errors else str(message)


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
