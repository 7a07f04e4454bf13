"""A proxy before two GitHubs: each published operation goes to emulate or to the stand-in.

Bytes travel as they are, to and fro, with one exception: the bot's number (`as_bot`). Notes who
served what. A request that GitHub does not describe is a violation, whoever would serve it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from hub import published

EMULATE, STAND_IN = "emulate", "stand-in"
_HEADERS = ("authorization", "accept", "content-type", "user-agent", "x-github-api-version")


@dataclass(frozen=True)
class Served:
    """One answer; `faults`: where it is not as GitHub describes it."""

    operation: str
    by: str
    status: int
    faults: tuple[str, ...] = ()


class Proxy:
    """`url` is GITHUB_API_URL. `choose`: operation and names of its path -> by whom."""

    def __init__(
        self,
        emulate_url: str,
        stand_in_url: str,
        choose: Callable[[str, dict[str, str]], str],
        as_bot: Callable[[Any], Any],
    ) -> None:
        self.places = {EMULATE: emulate_url, STAND_IN: stand_in_url}
        self.choose, self.as_bot = choose, as_bot
        self.served: list[Served] = []
        self.violations: list[str] = []
        self.client = httpx.Client(timeout=20, trust_env=False)
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.client.close()

    def answer(self, verb: str, target: str, headers: dict[str, str], raw: bytes) -> httpx.Response:
        parts = urlsplit(target)
        found = published.find(verb, parts.path)
        if found is None:
            self.violations.append(f"{verb} {parts.path}: not in GitHub's description")
            return httpx.Response(404, json={"message": "Not Found"})
        operation, names = found
        by = self.choose(operation.id, names)
        if by == EMULATE:  # the stand-in looks at its own requests
            body = json.loads(raw) if raw else None
            query = dict(parse_qsl(parts.query))
            self.violations += published.request_faults(
                operation, names, query, headers.get("accept", ""), body
            )
            refused = published.refused_body(operation, body)
            self.violations += [f"{operation.id}: {refused}"] if refused else []
        answer = self.client.request(verb, self.places[by] + target, headers=headers, content=raw)
        faults: tuple[str, ...] = ()
        if by == EMULATE:
            value = self.as_bot(answer.json()) if answer.content else None
            faults = tuple(published.answer_faults(operation, answer.status_code, value))
            answer = httpx.Response(answer.status_code, headers=answer.headers, json=value)
        self.served.append(Served(operation.id, by, answer.status_code, faults))
        return answer


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests print what they need."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in _HEADERS if name in self.headers}
        answer = self.owner.answer(self.command, self.path, headers, raw)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.startswith("x-ratelimit-") or name in {"content-type", "location", "link"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
