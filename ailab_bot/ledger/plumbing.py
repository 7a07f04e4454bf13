"""Git's plumbing as the ledger uses it: commands, many blobs at once, and a scratch repository.

What is written is built in a bare repository of its own in a temporary folder, which borrows the
objects of the user's clone and its settings for the remote. So nothing of the user's is touched:
no work tree, index, ref or FETCH_HEAD, no `shallow` file, no setting; and jobs that write from one
clone at the same time do not meet. Refuses to run hooks and to ask for passwords.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.ledger.places import LedgerError

#: One command; what takes longer than that hangs. A first compaction of a million records fetches
#: and writes some hundred MB.
_TIMEOUT_S = 600.0
#: Ids handed to `git cat-file` before its answers are read: they must fit into a pipe, or both
#: sides would wait for each other. 64 KiB hold 1,000 of SHA-256.
_IDS_AT_ONCE = 500
#: Blobs asked of a server at once.
_BLOBS_AT_ONCE = 20_000

_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=0")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
#: Variables that bind git to another repository, index or object store than the one that is named.
_BINDING = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR"
    r"|NAMESPACE|PREFIX|SHALLOW_FILE|GRAFT_FILE|REPLACE_REF_BASE|CONFIG)"
)
#: Settings of the clone that reaching its remote may need. Those of the user and the system hold
#: in the scratch repository anyway.
_REACHING = re.compile(
    r"(http|url|credential|ssh|protocol)\.|core\.(sshcommand|askpass|gitproxy)$", re.IGNORECASE
)
_REMOTE_KEYS = {"url", "pushurl", "proxy", "proxyauthmethod", "uploadpack", "receivepack", "vcs"}
_NAME, _EMAIL = "AI Lab bot", "ailab-bot@users.noreply.invalid"
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


class FaultError(RunnerError):
    """A failure of the connection or the remote."""


def unbound_environ() -> dict[str, str]:
    """Our environment without what would bind git to another repository than the one it is in."""
    return {name: text for name, text in os.environ.items() if not _BINDING.fullmatch(name)}


def run_git(
    folder: Path, *words: str, data: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """FaultError where it cannot be started or hangs; its exit status is the caller's to read."""
    env = {**unbound_environ(), **(variables or {}), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *_QUIET, *words],
            cwd=folder,
            env=env,
            input=data,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaultError(f"git {words[0]} failed", why=str(error)) from error


def out_of_git(folder: Path, *words: str, data: bytes = b"") -> bytes:
    """What a command that reads a clone printed; LedgerError where it fails."""
    try:
        result = run_git(folder, *words, data=data)
    except FaultError as error:
        raise LedgerError("history cannot be read", why=error.why) from error
    if result.returncode:
        raise LedgerError("history cannot be read", why=_said(result.stderr))
    return result.stdout


def blob_id(data: bytes, like: str) -> str:
    """The id that git gives a file of these bytes, in the hash of the id `like`."""
    digest = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return digest(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_blobs(
    folder: Path,
    ids: Iterable[str],
    most_bytes: int,
    variables: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, bytes | None, int]]:
    """Each id with its bytes and size, in order, one in memory at a time.

    None for bytes where there are more than `most_bytes`, or where it is no blob or is missing
    (then the size is -1). LedgerError where git ends early.
    """
    env = {**unbound_environ(), **(variables or {}), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            ["git", *_QUIET, "cat-file", "--batch"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for some in _in_groups(ids, _IDS_AT_ONCE):
                process.stdin.write("".join(f"{each}\n" for each in some).encode())
                process.stdin.flush()
                for each in some:
                    words = process.stdout.readline().split()
                    if words[1:] == [b"missing"]:
                        yield each, None, -1
                        continue
                    if len(words) != 3:
                        raise LedgerError("history cannot be read", why="git cat-file ended early")
                    size, left = int(words[2]), int(words[2]) + 1
                    keep = words[1] == b"blob" and size <= most_bytes
                    parts = []
                    while left:
                        part = process.stdout.read(min(left, 1 << 20))
                        if not part:
                            raise LedgerError("history cannot be read", why="an object is cut off")
                        left -= len(part)
                        if keep:
                            parts.append(part)
                    is_blob = words[1] == b"blob"
                    yield each, b"".join(parts)[:-1] if keep else None, size if is_blob else -1
        except BrokenPipeError as error:
            errors.seek(0)
            raise LedgerError("history cannot be read", why=_said(errors.read())) from error
        finally:
            process.kill()


def _in_groups(items: Iterable[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def fetch_blobs(
    folder: Path, remote: str, ids: Sequence[str], variables: Mapping[str, str]
) -> None:
    """Bring blobs into a partial clone, many at once: git itself would ask for one at a time."""
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
    lines = ("-c", "fetch.negotiationAlgorithm=noop")
    for some in _in_groups(ids, _BLOBS_AT_ONCE):
        data = "".join(f"{each}\n" for each in some).encode()
        options = ("--filter=blob:none", "--refmap=", "--stdin", remote)
        result = run_git(folder, *lines, *words, *options, data=data, variables=variables)
        if result.returncode:
            raise FaultError("git fetch failed", why=_said(result.stderr))


class Scratch:
    """A bare repository that knows the ledger's remote, as `remote`."""

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

    def run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_git(self.root, *words, data=data, variables=self.variables)

    def out(self, *words: str, data: bytes = b"") -> str:
        """What a command printed that must succeed."""
        result = self.run(*words, data=data)
        if result.returncode:
            raise FaultError(f"git {words[0]} failed", why=_said(result.stderr))
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
                commit, when = line.split()[1:]
                self._tip_at_s = int(when)
                return commit
            if len(self._ways) == 1 or not _WAY_REFUSED.search(_said(result.stderr)):
                break
            self._ways.pop(0)
        # Only an answer without the branch says that there is none.
        listed = self.run("ls-remote", "--exit-code", self.remote, self.ref)
        if listed.returncode == 2:
            return None
        raise FaultError("git fetch failed", why=_said(listed.stderr or result.stderr))

    def fetch_blobs(self, ids: Sequence[str]) -> None:
        """Have these, in as few requests as may be. Those that are here cost nothing more."""
        missing = self.missing(ids)
        if missing:
            fetch_blobs(self.root, self.remote, missing, self.variables)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Of these blobs those that are not here. Asks no server."""
        here = {**self.variables, "GIT_NO_LAZY_FETCH": "1"}
        # Older git than 2.44 knows no such variable; with no such remote it cannot fetch either.
        cut = ("-c", f"remote.{self.remote}.promisor=false", "-c", "extensions.partialClone=")
        data = "".join(f"{each}\n" for each in ids).encode()
        words = (*cut, "cat-file", "--batch-check=%(objectname)")
        result = run_git(self.root, *words, data=data, variables=here)
        rows = result.stdout.decode().splitlines()
        return [row.split()[0] for row in rows if row.endswith(" missing")]

    def import_commit(self, tip: str | None, subject: str, commands: Iterable[bytes]) -> str:
        """A commit on top of `tip` that these commands of `git fast-import` make; its id.

        Only the folders that they touch are read. Its time is not before `tip`'s, whatever this
        machine's clock says, so that a commit's time says what was there at that time.
        """
        ident, _, when = self.out("var", "GIT_COMMITTER_IDENT").rpartition("> ")
        at_s = int(when.split()[0])
        if tip is not None:
            at_s = max(at_s, self._tip_at_s)
        said = subject.encode()
        stream = [
            b"feature done\n",
            b"commit refs/heads/made\n",
            f"committer {ident}> {at_s} +0000\n".encode(),
            b"data %d\n%s\n" % (len(said), said),
            b"" if tip is None else f"from {tip}\n".encode(),
            *commands,
            b"\ndone\n",
        ]
        words = ("-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--force")
        self.out(*words, data=b"".join(stream))
        return self.out("rev-parse", "--verify", "refs/heads/made")

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
        said = f"{_said(result.stdout)}\n{_said(result.stderr)}".strip()
        if "[rejected]" in said or _RACE.search(said):
            return False
        raise FaultError("git push failed", why=said)


@contextmanager
def scratch(ledger: Ledger) -> Iterator[Scratch]:
    """A scratch repository for the ledger; it is gone afterwards."""
    check_branch(ledger.branch)
    with tempfile.TemporaryDirectory(prefix="ailab-ledger-") as folder:
        root = Path(folder)
        _lay_out(root, ledger)
        yield Scratch(root, ledger.branch, ledger.variables)


def check_branch(branch: str) -> None:
    if not _BRANCH.fullmatch(branch) or ".." in branch:
        raise UserError(
            f"not a branch for history: `{branch:.60}`",
            why="Its name must be plain letters, digits, `.`, `_`, `-` and `/`.",
            advice="Leave the default, ailab-ledger.",
        )


def _lay_out(root: Path, ledger: Ledger) -> None:
    """What `git init --bare` would make, with the clone's remote and, if it is whole, objects."""
    for name in ("objects/info", "objects/pack", "refs/heads"):
        (root / name).mkdir(parents=True)
    (root / "HEAD").write_text("ref: refs/heads/none\n")
    listed = _settings(ledger)
    form = dict(listed).get("extensions.objectformat", "")
    version = 1 if form else 0
    lines = ["[core]", f"\trepositoryformatversion = {version}", "\tbare = true"]
    lines += ["[extensions]", f"\tobjectformat = {_quoted(form)}"] if form else []
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
    (root / "config").write_text(
        "\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape"
    )
    _borrow_objects(root, ledger)


def _settings(ledger: Ledger) -> list[tuple[str, str]]:
    """The clone's own settings, with what they include."""
    result = run_git(ledger.repository, "config", "--list", "-z", "--show-scope")
    if result.returncode:
        raise LedgerError("history cannot be reached", why=_said(result.stderr))
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


def _borrow_objects(root: Path, ledger: Ledger) -> None:
    """What the clone has need not be fetched. One that lacks history, or files, cannot say what it
    lacks to another repository's git, so nothing is borrowed from it."""
    words = ("rev-parse", "--is-shallow-repository", "--git-path", "objects")
    result = run_git(ledger.repository, *words)
    if result.returncode:
        return
    shallow, objects = result.stdout.decode("utf-8", "surrogateescape").splitlines()[:2]
    path = (ledger.repository / objects).resolve()
    if shallow == "false" and not any((path / "pack").glob("*.promisor")):
        text = _quoted(str(path)) if '"' in str(path) or "\n" in str(path) else str(path)
        (root / "objects" / "info" / "alternates").write_text(
            text + "\n", encoding="utf-8", errors="surrogateescape"
        )


def _said(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()[-2000:]
