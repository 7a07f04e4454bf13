"""The hook against a real receiver on this machine."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ailab_bot.errors import UserError
from ailab_bot.gh.hook import PAUSES_S, Hook, hook_from, signature

SECRET = "correct horse battery staple"
#: As chat tools have it: who knows the path may post.
PATH = "/services/T0000/B0000/xyzzy-very-secret"
DOCUMENT = {"schema": 1, "event": "incident.detected", "text": "train: +18.2 % – slower"}


@dataclass
class Receiver:
    """`answers`: statuses to give, one after the other; 0 cuts the connection. Then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    received: list[tuple[Message, bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def send(self, document: dict[str, object] = DOCUMENT, delivery: str = "d-1") -> str:
        return Hook(self.url, SECRET).send(document, delivery=delivery, sleep=self.slept.append)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Tests print what they need."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.received.append((self.headers, body))
            found.paths.append(self.path)
            status = found.answers.pop(0) if found.answers else 200
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}{PATH}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_receiver_can_check_that_the_document_is_ours_and_whole(receiver: Receiver) -> None:
    assert receiver.send() == ""
    ((headers, body),) = receiver.received
    assert json.loads(body) == DOCUMENT
    assert headers["Content-Type"] == "application/json"
    assert headers["X-AILab-Event"] == "incident.detected"
    assert headers["X-AILab-Delivery"] == "d-1"
    made = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-AILab-Signature-256"] == f"sha256={made}" == signature(body, SECRET)
    changed = body.replace(b"18.2", b"01.2")
    assert signature(changed, SECRET) != headers["X-AILab-Signature-256"]
    assert signature(body, SECRET + "!") != headers["X-AILab-Signature-256"]


def test_the_signature_is_the_one_of_githubs_own_example() -> None:
    """From GitHub's page about validating deliveries."""
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature(b"Hello, World!", "It's a Secret to Everybody") == f"sha256={expected}"


def test_equal_documents_are_equal_bytes(receiver: Receiver) -> None:
    receiver.send({"event": "e", "b": 1, "a": [1, 2]})
    receiver.send({"a": [1, 2], "b": 1, "event": "e"})
    (_, first), (_, second) = receiver.received
    assert first == second == b'{"a":[1,2],"b":1,"event":"e"}'


def test_text_travels_as_utf_8_also_where_it_is_broken(receiver: Receiver) -> None:
    receiver.send({"event": "e", "text": "größer 🚀 \udc80"})
    ((_, body),) = receiver.received
    assert "größer 🚀".encode() in body
    assert json.loads(body)["text"] == "größer 🚀 \udc80"


@pytest.mark.parametrize("status", [500, 502, 503, 429, 0])
def test_a_receiver_that_fails_is_told_again_with_the_same_delivery(
    receiver: Receiver, status: int
) -> None:
    receiver.answers = [status, status]
    assert receiver.send(delivery="0123-detected-7") == ""
    assert receiver.slept == list(PAUSES_S)
    assert len(receiver.received) == 3
    assert {headers["X-AILab-Delivery"] for headers, _ in receiver.received} == {"0123-detected-7"}
    assert len({body for _, body in receiver.received}) == 1
    assert len({headers["X-AILab-Signature-256"] for headers, _ in receiver.received}) == 1


def test_after_three_tries_it_says_why_not(receiver: Receiver) -> None:
    receiver.answers = [500] * 5
    assert receiver.send() == "the hook answered 500"
    assert len(receiver.received) == 3
    receiver.answers = [0] * 5
    assert receiver.send() == "no answer from the hook: RemoteProtocolError"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_receiver_that_refuses_is_not_told_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    assert receiver.send() == f"the hook answered {status}"
    assert (len(receiver.received), receiver.slept) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_receiver_cannot_send_the_document_elsewhere(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    assert receiver.send() == f"the hook answered {status}"
    assert receiver.paths == [PATH]


def test_nobody_listening_is_no_exception() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}{PATH}"
        slept: list[float] = []
        why_not = Hook(url, SECRET).send(DOCUMENT, delivery="d", sleep=slept.append)
    assert why_not == "no answer from the hook: ConnectError"
    assert slept == list(PAUSES_S)


@pytest.mark.parametrize("delivery", ["größer", "two\nlines"])
def test_a_delivery_that_is_no_header_is_no_exception(receiver: Receiver, delivery: str) -> None:
    assert receiver.send(delivery=delivery) != ""
    assert receiver.received == []


@pytest.mark.parametrize("answers", [[200], [302], [400], [500] * 3, [0] * 3])
def test_neither_address_nor_secret_is_in_any_text(
    receiver: Receiver, answers: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = answers
    hook = Hook(receiver.url, SECRET)
    said = [hook.send(DOCUMENT, delivery="d", sleep=receiver.slept.append), repr(hook), str(hook)]
    text = "".join(said) + caplog.text
    for hidden in ("xyzzy", "127.0.0.1", SECRET):
        assert hidden not in text
    for headers, body in receiver.received:
        assert SECRET not in str(headers) + body.decode()


GOOD = {"AILAB_HOOK_URL": f"https://hooks.example{PATH}", "AILAB_HOOK_SECRET": SECRET}


def test_a_jobs_environment_names_the_hook() -> None:
    assert hook_from(GOOD) == Hook(GOOD["AILAB_HOOK_URL"], SECRET)
    assert hook_from({**GOOD, "AILAB_HOOK_URL": "http://127.0.0.1:8080/x"}) is not None


@pytest.mark.parametrize("url", [None, "", "  "])
def test_without_an_address_nobody_is_told(url: str | None) -> None:
    environ = {"AILAB_HOOK_SECRET": SECRET} | ({} if url is None else {"AILAB_HOOK_URL": url})
    assert hook_from(environ) is None


@pytest.mark.parametrize(
    "change",
    [
        {"AILAB_HOOK_SECRET": ""},
        {"AILAB_HOOK_SECRET": "  "},
        *[
            {"AILAB_HOOK_URL": f"{place}{PATH}"}
            for place in (
                "http://hooks.example",
                "ftp://hooks.example",
                "file://",
                "https://",
                "hooks.example",
                "https://[::1",
                "https://hooks.example:port",
                "https://hooks.example/\x07",
            )
        ],
    ],
    ids=str,
)
def test_a_hook_that_cannot_be_used_is_an_error_that_does_not_show_it(
    change: dict[str, str],
) -> None:
    with pytest.raises(UserError) as refused:
        hook_from({**GOOD, **change})
    error = refused.value
    text = f"{error.what} {error.why} {error.advice}" + "".join(traceback.format_exception(error))
    assert "xyzzy" not in text
    assert "hooks.example" not in text
    assert SECRET not in text
