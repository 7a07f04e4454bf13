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
from ailab_bot.gh.client import GitHubError, OutOfTimeError
from ailab_bot.gh.refusals import MOST_WORDS, TryAgainError, refusal, unanswered, words_of
from ailab_bot.version import __version__

#: security.md: at most 8 tries in at most 10 minutes.
MOST_TRIES = 8
MOST_RETRYING_S = 600.0
#: Full jitter draws each pause from 0 to 1, 2, 4, … 60 s, about 62 s for all seven on average.
LONGEST_PAUSE_S = 60.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

_T = TypeVar("_T")


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
                raise unanswered(f"{verb} {path}", error) from None
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
        """Nothing for an answer of 2xx; else raise what it means."""
        if status >= 300:
            words = self._safe(words_of(text))
            raise refusal(status, headers, words, what, needs, self._now())

    def strange(self, what: str, why: str) -> GitHubError:
        """An answer that is not as GitHub documents it."""
        return GitHubError(
            f"GitHub's answer is not as it documents: {what}",
            why=self._safe(why),
            advice="If GITHUB_API_URL is GitHub's, please report this.",
        )

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
