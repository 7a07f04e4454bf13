"""Where an incident's texts stand, and the links in them, made of checked parts only.

A link to anything but our own repository's pages is refused: its text stands alone then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ailab_bot.report.markdown import code_span, commit_link, run_link

_SERVER = re.compile(r"https?://[A-Za-z0-9.-]{1,200}(:\d{1,5})?")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
#: A branch that needs no quoting: neither in a URL nor in a shell.
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_SHA = re.compile(r"[0-9a-f]{40}")
#: Who may be mentioned: apps, whose logins end with `[bot]`, read no mail.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")


@dataclass(frozen=True)
class Surface:
    """`run_url`: the run that says it, empty for none. `revert_branch`: what `/ailab revert` makes,
    empty where nobody is known to be the culprit. `assigned`: whether its author is assigned.
    """

    server_url: str
    repository: str
    run_url: str
    revert_branch: str
    assigned: bool
    now: datetime

    def commit(self, sha: str) -> str:
        return commit_link(sha, self.server_url, self.repository)

    def issue(self, number: int) -> str:
        return self._page(f"#{number}", f"issues/{number}")

    def pull(self, number: int) -> str:
        return self._page(f"#{number}", f"pull/{number}")

    def run(self, text: str, number: int) -> str:
        """`text` is ours."""
        url = f"{self.server_url}/{self.repository}/actions/runs/{number}"
        return run_link(text, url, self.server_url, self.repository) if number else text

    def span(self, good: str, bad: str) -> str:
        """`good…bad` as a link to the commits between them."""
        shown = code_span(f"{good[:12]}…{bad[:12]}")
        if not (_SHA.fullmatch(good) and _SHA.fullmatch(bad)):
            return shown
        return self._page(shown, f"compare/{good}...{bad}")

    def proposal(self, text: str, base: str, branch: str) -> str:
        """`text` (ours) as a link by which a person opens a pull request."""
        if not (is_ref(base) and is_ref(branch)):
            return text
        return self._page(text, f"compare/{base}...{branch}?expand=1")

    def same_culprit(self, text: str, sha: str) -> str:
        """`text` (ours) as a link to the incidents with this culprit: their titles name it."""
        if not _SHA.fullmatch(sha):
            return text
        return self._page(text, f"issues?q=label%3Aailab-incident+{sha[:12]}")

    def _page(self, text: str, path: str) -> str:
        ours = _SERVER.fullmatch(self.server_url) and _REPOSITORY.fullmatch(self.repository)
        return f"[{text}]({self.server_url}/{self.repository}/{path})" if ours else text


def is_ref(name: str) -> bool:
    """Whether it is a branch's name without anything that a URL or a shell would read."""
    return bool(_REF.fullmatch(name)) and ".." not in name


def mention(login: str, otherwise: str = "") -> str:
    """`@login`, which notifies; a code span of the name where there is nobody to notify."""
    return f"@{login}" if _LOGIN.fullmatch(login) else code_span(login or otherwise, 60)
