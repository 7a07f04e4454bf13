"""An artifact's bytes: ask the API where they lie, then fetch them from there without our token.

Refuses more bytes than allowed, another scheme than https, and slow drips past the time given. The
bytes are hostile: nothing is opened here.
https://docs.github.com/en/rest/actions/artifacts#download-an-artifact
"""

from __future__ import annotations

import functools
from urllib.parse import urljoin, urlsplit

import httpx

from ailab_bot.gh.client import TooLargeError
from ailab_bot.gh.refusals import unanswered
from ailab_bot.gh.transport import HEADERS, LOOPBACK, Transport

#: From the first byte asked for to the last received. Trials of 300 scenarios take 3 MB.
MOST_SECONDS = 120.0
#: GitHub sends us on once; an enterprise server in front of a store may do it once more.
MOST_REDIRECTS = 3


class Downloads:
    """Artifacts as `transport` may see them, over connections that are kept until `close`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made once: reading the system's certificates costs 50 ms."""
        return httpx.Client(timeout=self._transport.timeout_s, follow_redirects=False)

    def close(self) -> None:
        if "_client" in vars(self):
            self._client.close()

    def fetch(self, path: str, most_bytes: int, needs: str) -> bytes:
        """The body behind `path` of the API, at most `most_bytes`; tried again after a failure."""

        def once() -> bytes:
            self._transport.count("GET")
            try:
                return self._body(self._place(path, needs), path, most_bytes, needs)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise unanswered(f"GET {path}", error) from None

        return self._transport.persist(once)

    def _place(self, path: str, needs: str) -> str:
        """Where the API sends us."""
        transport = self._transport
        answer = self._client.get(
            transport.api_url + path,
            headers={**HEADERS, "Authorization": f"Bearer {transport.token}"},
        )
        if answer.status_code != 302 or "location" not in answer.headers:
            transport.check(answer.status_code, answer.headers, answer.text, f"GET {path}", needs)
            raise transport.strange(f"GET {path}", f"{answer.status_code} instead of a redirect")
        return urljoin(transport.api_url, answer.headers["location"])

    def _body(self, place: str, path: str, most_bytes: int, needs: str) -> bytes:
        transport = self._transport
        what = f"the artifact behind {path}"
        end = min(transport.clock() + MOST_SECONDS, transport.deadline_s)
        plain = urlsplit(transport.api_url).scheme == "http"
        for _ in range(MOST_REDIRECTS):
            parts = urlsplit(place)
            if parts.scheme != "https" and not (plain and parts.hostname in LOOPBACK):
                raise transport.strange(what, f"GitHub sends us to a place of `{parts.scheme:.20}`")
            # Nobody but the API may see the token; and the cap holds only for bytes as they come.
            unpacked = {"Accept-Encoding": "identity"}
            with self._client.stream("GET", place, headers=unpacked) as answer:
                if answer.has_redirect_location:
                    place = urljoin(place, answer.headers["location"])
                    continue
                if answer.status_code != 200:
                    transport.check(answer.status_code, answer.headers, "", what, needs)
                    raise transport.strange(what, f"{answer.status_code} instead of its bytes")
                return self._bytes(answer, what, most_bytes, end)
        raise transport.strange(what, "GitHub sends us on and on")

    def _bytes(self, answer: httpx.Response, what: str, most_bytes: int, end: float) -> bytes:
        body = bytearray()
        for piece in answer.iter_raw():
            body += piece
            if len(body) > most_bytes:
                raise TooLargeError(
                    f"{what} is larger than {most_bytes} bytes",
                    why="A measure job of ours writes far less; nothing of it is used.",
                    advice="Run the measurement again; look who changed its workflow.",
                )
            if self._transport.clock() > end:
                raise unanswered(what, TimeoutError())
        return bytes(body)
