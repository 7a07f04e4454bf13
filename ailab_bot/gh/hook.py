"""Tells a receiver of the user's own what happened: one signed POST for each event.

Refuses to raise for the network, to follow the receiver elsewhere, and to let its address, which
is often a secret itself, into any text. The signature is made as GitHub's webhooks make theirs.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

from ailab_bot.errors import UserError
from ailab_bot.gh.transport import LOOPBACK
from ailab_bot.version import __version__

TIMEOUT_S: Final = 10.0
#: Before the second try and the third.
PAUSES_S: Final = (1.0, 4.0)
_TOO_MANY: Final = 429
# They note addresses, should anybody switch their notes on.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Hook:
    """Where the receiver listens, and the secret that it shares with us; neither is ever shown."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    def send(
        self, document: Mapping[str, object], *, delivery: str, sleep: Callable[[float], None]
    ) -> str:
        """Empty when the receiver took it, else why it did not. Tried up to three times.

        `document["event"]` names what happened. `delivery` is the same in each try, and should be
        the same whenever this document is sent again: the receiver knows repeats by it.
        """
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # Half a surrogate pair, as names of files may hold, becomes JSON's own escape of it.
        body = text.encode("utf-8", "backslashreplace")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"ailab-bot/{__version__}",
            "X-AILab-Event": str(document.get("event", "")),
            "X-AILab-Delivery": delivery,
            "X-AILab-Signature-256": signature(body, self.secret),
        }
        why_not, again = self._once(body, headers)
        for pause_s in PAUSES_S:
            if not again:
                break
            sleep(pause_s)
            why_not, again = self._once(body, headers)
        return why_not

    def _once(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, bool]:
        """Why the receiver did not take it, and whether to try again."""
        try:
            with (
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
                client.stream("POST", self.url, content=body, headers=dict(headers)) as answer,
            ):
                status = answer.status_code  # what it says beyond that is not read
        except httpx.TransportError as error:
            return f"no answer from the hook: {type(error).__name__}", True
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return f"the hook cannot be asked: {type(error).__name__}", False
        if 200 <= status < 300:
            return "", False
        return f"the hook answered {status}", status >= 500 or status == _TOO_MANY


def signature(body: bytes, secret: str) -> str:
    """What the receiver must find when it signs the body itself. Compare in constant time."""
    return "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()


def hook_from(environ: Mapping[str, str]) -> Hook | None:
    """The hook that a job's environment names; None: nobody wants to be told. UserError."""
    url = environ.get("AILAB_HOOK_URL", "").strip()
    secret = environ.get("AILAB_HOOK_SECRET", "").strip()
    if not url:
        return None
    if not secret:
        raise UserError(
            "AILAB_HOOK_SECRET is not set",
            why="AILAB_HOOK_URL is, and what is sent there has to be signed.",
            advice="Set both from the repository's secrets, or neither.",
        )
    if not _usable(url):
        raise UserError(
            "AILAB_HOOK_URL is not usable",
            why="It has to begin with https:// and name a host (http: on this machine only).",
            advice="Copy the receiver's address anew into the repository's secret.",
        )
    return Hook(url, secret)


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return False
    local = parts.scheme == "http" and parts.hostname in LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or local) and url.isprintable()
