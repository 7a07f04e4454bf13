"""The stand-in's HTTP: validates each request and answer, checks the token, acts out faults.

Refuses to know pull requests: what a request does is in `operations`.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hub import published
from hub.faults import Fault
from hub.state import Account, Request

#: After this a hung request's connection is closed, should its client wait for ever.
LONGEST_HANG_S = 20.0


class RefusedError(Exception):
    """GitHub's answer to this request is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Redirect:
    def __init__(self, place: str) -> None:
        self.place = place


#: operation's id, names of the path, query, body, who asks -> status and JSON (or Redirect).
Act = Callable[[str, dict[str, str], dict[str, str], Any, Account], tuple[int, Any]]


class Server:
    """Listens on 127.0.0.1; `url` is GITHUB_API_URL. `tokens`: token -> who, and may it write."""

    def __init__(
        self, act: Act, blob: Callable[[str], bytes | None], now: Callable[[], float]
    ) -> None:
        self.act, self.blob, self.now = act, blob, now
        self.tokens: dict[str, tuple[Account, bool]] = {}
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.blob_faults: deque[Fault] = deque()
        self.blob_requests = 0
        self.lock = threading.RLock()
        self.closing = threading.Event()
        server = self

        class Handler(_Handler):
            owner = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        #: Another host than the API's, as GitHub's stores are. A test may lead elsewhere.
        self.blob_url = f"http://localhost:{self.port}/blob"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests print what they need."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        raw = self.rfile.read(length)
        if parts.path.startswith("/blob/"):
            self._serve_blob(parts.path.removeprefix("/blob/"), parts.query)
            return
        with self.owner.lock:
            reply = self._decide(parts.path, dict(parse_qsl(parts.query)), raw)
        reply()

    def _serve_blob(self, name: str, query: str) -> None:
        server = self.owner
        server.blob_requests += 1
        if "Authorization" in self.headers:
            server.violations.append(f"blob {name}: our token was sent to a foreign host")
            self._send(403, {"message": "signed URLs take no Authorization"})
            return
        if server.blob_faults:
            self._act_out(server.blob_faults.popleft())
            return
        data = server.blob(name) if query == "sig=signed" else None
        if data is None:
            self._send(404, {"message": "no such blob"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self._write(data)

    def _decide(self, path: str, query: dict[str, str], raw: bytes) -> Callable[[], object]:
        """Do what is asked and note it; what is left to do is the reply, which may hang."""
        server, verb = self.owner, self.command
        found = published.find(verb, path)
        if found is None:
            server.violations.append(f"{verb} {path}: not in GitHub's description")
            return lambda: self._send(404, {"message": "Not Found"})
        operation, names = found
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
            server.violations.append(f"{operation.id}: the body is not JSON")
        accept = self.headers.get("Accept", "")
        wrong = published.request_faults(operation, names, query, accept, body)
        if not self.headers.get("User-Agent"):
            wrong.append(f"{operation.id}: no user agent")
        if wrong:
            server.violations += wrong
            return lambda: self._send(422, {"message": "; ".join(wrong)})
        queue = server.faults[operation.id] or server.faults["*"]
        fault = queue.popleft() if queue else None
        status, answer = 0, None
        if fault is None or fault.performed:
            status, answer = self._perform(operation, names, query, body)
        seen = status if fault is None else fault.status
        server.requests.append(Request(operation.id, verb, path, query, body, seen))
        if fault is None:
            server.violations += published.answer_faults(
                operation, status, None if isinstance(answer, Redirect) else answer
            )
            return lambda: self._answer(status, answer)
        if fault.kind == "cut":
            return lambda: self._send(status, answer, half=True)
        return lambda: self._act_out(fault)

    def _perform(
        self,
        operation: published.Operation,
        names: dict[str, str],
        query: dict[str, str],
        body: Any,
    ) -> tuple[int, Any]:
        try:
            account = self._account(operation.verb)
            refused = published.refused_body(operation, body)
            if refused is not None:
                raise RefusedError(422, f"Validation Failed: {refused}")
            return self.owner.act(operation.id, names, query, body, account)
        except RefusedError as error:
            documentation = "https://docs.github.com/rest"
            answer = {"message": error.message, "documentation_url": documentation}
            if error.status == 422 and operation.answer_schema(422):
                answer["errors"] = []  # type: ignore[assignment]
            return error.status, {**answer, "status": str(error.status)}

    def _account(self, verb: str) -> Account:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() not in {"bearer", "token"} or token not in self.owner.tokens:
            raise RefusedError(401, "Bad credentials")
        account, may_write = self.owner.tokens[token]
        if verb != "GET" and not may_write:
            raise RefusedError(403, "Resource not accessible by integration")
        return account

    def _answer(self, status: int, answer: Any) -> None:
        if isinstance(answer, Redirect):
            self.send_response(status)
            self.send_header("Location", answer.place)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif status == 204:
            self.send_response(status)
            self.end_headers()
        else:
            self._send(status, answer)

    def _act_out(self, fault: Fault) -> None:
        if fault.kind == "answer":
            headers = dict(fault.headers)
            if fault.reset_in_s is not None:
                headers["x-ratelimit-reset"] = str(int(self.owner.now()) + fault.reset_in_s)
            self._send(fault.status, {"message": fault.message}, headers)
            return
        if fault.kind == "hang":
            self.owner.closing.wait(LONGEST_HANG_S)
        self.close_connection = True

    def _send(
        self,
        status: int,
        answer: object,
        headers: dict[str, str] | None = None,
        *,
        half: bool = False,
    ) -> None:
        data = json.dumps(answer).encode()
        self._head(status, len(data), headers)
        self._write(data[: len(data) // 2] if half else data)

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        usual = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(length),
            "x-ratelimit-limit": "1000",
            "x-ratelimit-remaining": "900",
            "x-ratelimit-reset": str(int(self.owner.now()) + 3600),
        }
        self.send_response(status)
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> None:
        """A client that has gone hears nothing; that is its own affair."""
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
