"""Where the ledger's commits are built: a bare repository of its own in a temporary folder.

It has the settings of the user's clone that reach the remote, and borrows its objects. So nothing
of the user's is touched, no work tree, index, ref or FETCH_HEAD, no `shallow` file, no setting;
and jobs that write from one clone at the same time do not meet. Refuses to force a push.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.ledger.places import LedgerError
from ailab_bot.ledger.plumbing import FaultError, fetch_blobs, run_git, said_by

_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
#: Settings of the clone that reaching its remote may need. Those of the user and the system hold
#: in the scratch repository anyway.
_REACHING = re.compile(
    r"(http|url|credential|ssh|protocol)\.|core\.(sshcommand|askpass|gitproxy)$", re.IGNORECASE
)
_REMOTE_KEYS = {"url", "pushurl", "proxy", "proxyauthmethod", "uploadpack", "receivepack", "vcs"}
_NAME, _EMAIL = "AI Lab bot", "ailab-bot@users.noreply.invalid"
#: How far the branch's newest commit may be in the future before its clock is taken to be wrong
#: and not ours. Plans then read the ledger at most so much too late.
_AHEAD = timedelta(hours=1)
#: What git's server says when another push was faster, besides a plain rejection.
_RACE = re.compile(r"cannot lock ref|failed to update ref|incorrect old value|reference already")
#: Ways to fetch, from what costs least to what every server knows. GitHub knows the first.
_WAYS = (("--depth=1", "--filter=blob:none"), ("--depth=1",), ())
_WAY_REFUSED = re.compile(r"filter|shallow|depth", re.IGNORECASE)


@dataclass(frozen=True)
class Ledger:
    """A branch of a remote, reached through a clone whose settings and objects are used.

    `variables` are added to git's environment, for instance settings that hold a token.
    """

    repository: Path
    remote: str = "origin"
    branch: str = "ailab-ledger"
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


class Scratch:
    """A bare repository that knows the ledger's remote, as `remote`.

    Read from `here`, a repository with the same objects and no remote: in the other one git would
    silently fetch whatever is missing, one file at a time.
    """

    remote = "ledger"
    _tip = "refs/heads/tip"

    def __init__(self, root: Path, branch: str, variables: Mapping[str, str]) -> None:
        self.root = root
        self.ref = f"refs/heads/{branch}"
        self.variables = {
            **variables,
            "GIT_AUTHOR_NAME": _NAME,
            "GIT_AUTHOR_EMAIL": _EMAIL,
            "GIT_COMMITTER_NAME": _NAME,
            "GIT_COMMITTER_EMAIL": _EMAIL,
        }
        self._ways = list(_WAYS)
        self._tip_at_s = 0

    @functools.cached_property
    def here(self) -> Path:
        folder = self.root / "here"
        _make_bare(folder, (self.root / "format").read_text(), self.root / "objects")
        return folder

    def run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_git(self.root, *words, data=data, variables=self.variables)

    def out(self, *words: str, data: bytes = b"") -> str:
        """What a command printed that must succeed."""
        result = self.run(*words, data=data)
        if result.returncode:
            raise FaultError(f"git {words[0]} failed", why=said_by(result.stderr))
        return result.stdout.decode("utf-8", "surrogateescape").strip()

    def fetch(self) -> str | None:
        """The branch's newest commit, None where there is no such branch yet.

        As little as the server can give: no older commits and no files, only the lists of them.
        """
        quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        spec = f"+{self.ref}:{self._tip}"
        while True:
            words = (*quiet, *self._ways[0], "--refmap=", self.remote, spec)
            result = self.run("fetch", *words)
            if not result.returncode:
                line = self.out("rev-list", "--max-count=1", "--format=%ct", self._tip)
                commit, self._tip_at_s = line.split()[1], int(line.split()[2])
                return commit
            if len(self._ways) == 1 or not _WAY_REFUSED.search(said_by(result.stderr)):
                break
            self._ways.pop(0)
        # Only an answer without the branch says that there is none.
        listed = self.run("ls-remote", "--exit-code", self.remote, self.ref)
        if listed.returncode == 2:
            return None
        raise FaultError("git fetch failed", why=said_by(listed.stderr or result.stderr))

    def deepen(self, depth: int) -> None:
        """Have so many commits of what was fetched, where the server can give a part of them."""
        if any(each.startswith("--depth") for each in self._ways[0]):
            ways = [each for each in self._ways[0] if not each.startswith("--depth")]
            quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
            spec = f"+{self.ref}:refs/heads/deeper"
            self.out("fetch", *quiet, *ways, f"--depth={depth}", "--refmap=", self.remote, spec)

    def fetch_blobs(self, ids: Sequence[str]) -> None:
        """Have these, in as few requests as may be. Those that are here cost nothing more."""
        missing = self.missing(ids)
        if missing:
            fetch_blobs(self.root, self.remote, missing, self.variables)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Of these blobs those that are not here. Asks no server."""
        data = "".join(f"{each}\n" for each in ids).encode()
        result = run_git(self.here, "cat-file", "--batch-check=%(objectname)", data=data)
        rows = result.stdout.decode().splitlines()
        return [row.split()[0] for row in rows if row.endswith(" missing")]

    def import_commit(
        self,
        tip: str | None,
        subject: str,
        commands: Iterable[bytes],
        not_before: datetime | None = None,
    ) -> str:
        """A commit on top of `tip` that these commands of `git fast-import` make; its id.

        Only the folders that they touch are read. Its time says what was there at that time, see
        `_time_s`; `not_before` is another clock's word for it.
        """
        at_s = self._time_s(tip, not_before)
        said = subject.encode()
        stream = [
            b"feature done\nfeature get-mark\n",
            b"commit refs/heads/made\nmark :1\n",
            f"committer {_NAME} <{_EMAIL}> {at_s} +0000\n".encode(),
            b"data %d\n%s\n" % (len(said), said),
            b"" if tip is None else f"from {tip}\n".encode(),
            *commands,
            b"\nget-mark :1\ndone\n",
        ]
        # The repository is gone in a moment: nothing of it need reach the disk's platter.
        words = ("-c", "fastimport.unpackLimit=1", "-c", "core.fsync=none", "fast-import")
        return self.out(*words, "--quiet", "--force", data=b"".join(stream))

    def _time_s(self, tip: str | None, not_before: datetime | None) -> int:
        """This machine's time, or, where its clock is behind, that of `tip` or `not_before`.

        A tip that is further ahead than clocks ever are was made by a machine whose clock is wrong:
        to follow it would hide all that is written from now on until that time has come.
        """
        now_s = max(self._now_s(), int(not_before.timestamp()) if not_before else 0)
        tip_s = self._tip_at_s if tip else 0
        return max(now_s, tip_s) if tip_s - now_s <= _AHEAD.total_seconds() else now_s

    def _now_s(self) -> int:
        """Now, or what the environment wants to be now, as any commit of git's."""
        if "GIT_COMMITTER_DATE" in os.environ:
            return int(self.out("var", "GIT_COMMITTER_IDENT").split()[-2])
        return int(time.time())

    def changes(self, tip: str | None, commit: str, *paths: str) -> dict[str, str]:
        """What a commit did to each path, as git's letter: A, D, M or T."""
        words = ("diff-tree", "-r", "-z", "--no-renames", "--name-status", "--root")
        rows = self.out(*words, *([tip] if tip else []), commit, "--", *paths).split("\0")
        if tip is None:
            rows = rows[1:]  # the commit's own id
        return {path: letter for letter, path in zip(rows[::2], rows[1::2], strict=False)}

    def push(self, commit: str) -> bool:
        """Whether it is the branch's newest commit now; False: another writer was faster."""
        spec = f"{commit}:{self.ref}"
        result = self.run("push", "--porcelain", "--no-verify", self.remote, spec)
        if not result.returncode:
            return True
        said = f"{said_by(result.stdout)}\n{said_by(result.stderr)}".strip()
        if "[rejected]" in said or _RACE.search(said):
            return False
        raise FaultError("git push failed", why=said)


@contextmanager
def scratch(ledger: Ledger) -> Iterator[Scratch]:
    """A scratch repository for the ledger; it is gone afterwards."""
    check_branch(ledger.branch)
    with tempfile.TemporaryDirectory(prefix="ailab-ledger-") as folder:
        root = Path(folder)
        lay_out(root, ledger)
        yield Scratch(root, ledger.branch, ledger.variables)


def check_branch(branch: str) -> None:
    if not _BRANCH.fullmatch(branch) or ".." in branch:
        raise UserError(
            f"not a branch for history: `{branch:.60}`",
            why="Its name must be plain letters, digits, `.`, `_`, `-` and `/`.",
            advice="Leave the default, ailab-ledger.",
        )


def lay_out(root: Path, ledger: Ledger) -> None:
    """What `git init --bare` would make, with the clone's remote and, if it is whole, objects."""
    listed = _settings(ledger)
    form = dict(listed).get("extensions.objectformat", "")
    text = f"[core]\n\trepositoryformatversion = {1 if form else 0}\n\tbare = true\n"
    text += f"[extensions]\n\tobjectformat = {_quoted(form)}\n" if form else ""
    (root / "format").write_text(text)
    _make_bare(root, text, _objects_to_borrow(ledger))
    lines = []
    base = f"remote.{ledger.remote}."
    found = [(k, v) for k, v in listed if k.startswith(base) and k[len(base) :] in _REMOTE_KEYS]
    rows = [(f"remote.{Scratch.remote}.{key[len(base) :]}", value) for key, value in found]
    if not any(key.endswith(".url") for key, _ in rows):
        rows.append((f"remote.{Scratch.remote}.url", ledger.remote))
    for key, value in rows:
        path = ledger.repository / value
        is_path = key.endswith("url") and "://" not in value and path.exists()
        lines += _setting(key, str(path.resolve()) if is_path else value)
    for key, value in listed:
        if _REACHING.match(key):
            lines += _setting(key, value)
    with (root / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        config.write("\n".join(lines) + "\n")


def _make_bare(folder: Path, config: str, borrowed: Path | None) -> None:
    (folder / "objects").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    (folder / "config").write_text(config)
    if borrowed is not None:
        text = _quoted(str(borrowed)) if "\n" in str(borrowed) else str(borrowed)
        path = folder / "objects" / "info" / "alternates"
        path.parent.mkdir()
        path.write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _settings(ledger: Ledger) -> list[tuple[str, str]]:
    """The clone's own settings, with what they include."""
    result = run_git(ledger.repository, "config", "--list", "-z", "--show-scope")
    if result.returncode:
        raise LedgerError("history cannot be reached", why=said_by(result.stderr))
    words = result.stdout.decode("utf-8", "surrogateescape").split("\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    own = [row.partition("\n") for scope, row in pairs if scope in {"local", "worktree"}]
    return [(key, value) for key, _, value in own]


def _setting(key: str, value: str) -> list[str]:
    section, _, rest = key.partition(".")
    middle, _, name = rest.rpartition(".")
    return [
        f"[{section} {_quoted(middle)}]" if middle else f"[{section}]",
        f"\t{name} = {_quoted(value)}",
    ]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _objects_to_borrow(ledger: Ledger) -> Path | None:
    """What the clone has need not be fetched. One that lacks history, or files, cannot say what it
    lacks to another repository's git, so nothing is borrowed from it."""
    own = ledger.repository / ".git"
    if own.is_dir():
        path, shallow = own / "objects", (own / "shallow").exists()
    else:  # a work tree beside the clone, or a bare one
        words = ("rev-parse", "--is-shallow-repository", "--git-path", "objects")
        result = run_git(ledger.repository, *words)
        if result.returncode:
            return None
        said, objects = result.stdout.decode("utf-8", "surrogateescape").splitlines()[:2]
        path, shallow = (ledger.repository / objects).resolve(), said != "false"
    is_whole = not shallow and not any((path / "pack").glob("*.promisor"))
    return path.absolute() if is_whole else None
