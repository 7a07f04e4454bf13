"""`ailab ledger`: show, export, compact and copy the ledger, on a branch or in a database.

Locally it reads the branch as the clone has fetched it, and says how to fetch it. Refuses to take
a database's address from the command line, which other processes and the shell's memory can read:
it comes from an environment variable, by the variable's name.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.export import Exported, export
from ailab_bot.flows.history import BRANCH, DURATIONS, build_durations
from ailab_bot.flows.hosted import Clock
from ailab_bot.flows.knowledge import SELECTION, build_selection
from ailab_bot.flows.releases import RELEASES, build_releases
from ailab_bot.gh.actions import read_surroundings, say
from ailab_bot.gh.fetch import access
from ailab_bot.ledger.compaction import KEEP_DAYS, Build, Compacted
from ailab_bot.ledger.places import ARCHIVE, RECORDS, LedgerError
from ailab_bot.ledger.reading import is_ledger, list_entries, list_parts, read_view
from ailab_bot.ledger.records import Kind
from ailab_bot.ledger.scratch import Ledger
from ailab_bot.ledger.store import Copied, GitStore, Store, copy_records
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.model.strictjson import Json

_REAL = Clock()
#: What plans read at once, by name, and how it is made. A format that older versions cannot read
#: needs a new name: both kinds of plan may be made for a while.
VIEWS: Mapping[str, Build] = {
    DURATIONS: build_durations,
    SELECTION: build_selection,
    RELEASES: build_releases,
}


@dataclass(frozen=True)
class LedgerRequest:
    """`action` is show, export, compact or copy. `database` names the variable of a database that
    is read instead of the branch; `to` that of one to copy to. `copy` needs one of them, and the
    branch is its other end. `target` is for export; `hosted`: inside a workflow."""

    action: str
    repo: Path
    target: Path | None = None
    kinds: tuple[Kind, ...] = ()
    since: date | None = None
    form: str = ""
    database: str = ""
    to: str = ""
    keep_days: int = KEEP_DAYS
    hosted: bool = False


@dataclass(frozen=True)
class Told:
    """What was done: `lines` for a person, `document` for `--json`. `warning`: what could not be
    read, empty for nothing."""

    lines: tuple[str, ...]
    document: Json
    warning: str = ""


@dataclass(frozen=True)
class Shown:
    """Counts by kind, and where the records lie; `views` with when each was made."""

    counts: Mapping[str, int]
    skipped: Mapping[str, int]
    loose: int | None = None
    parts: int | None = None
    views: Mapping[str, datetime | None] = field(default_factory=dict)


def run_ledger(request: LedgerRequest, environ: Mapping[str, str], now: datetime) -> Told:
    """Carry one action out. UserError, LedgerError: nothing was changed by halves."""
    check_request(request)
    with ExitStack() as stack:

        def database(variable: str) -> Store:
            return stack.enter_context(database_store(variable, environ))

        def branch(*, reading: bool) -> GitStore:
            return branch_store(request.repo, reading=reading, keep_days=request.keep_days)

        if request.action == "copy":
            if bool(request.database) == bool(request.to):
                raise UserError(
                    "copy needs one database",
                    why="The ledger's branch is one end, a database the other.",
                    advice="Say --to VARIABLE, or --database VARIABLE to copy from it.",
                )
            # The target's branch is read too: what it has already is not written again.
            source = database(request.database) if request.database else branch(reading=True)
            target = database(request.to) if request.to else branch(reading=False)
            return _tell_copied(*copy_ledger(source, target))
        reads = request.action != "compact"
        store = database(request.database) if request.database else branch(reading=reads)
        if request.action == "compact":
            return _tell_compacted(compact_ledger(store, now))
        if request.action == "export":
            if request.target is None:
                raise UserError(
                    "export needs to know where",
                    why="It writes a file for each kind of record.",
                    advice="ailab ledger export DIR, or FILE.csv with --kind KIND",
                )
            kinds, since, form = request.kinds, request.since, request.form
            return _tell_exported(
                export(store, request.target, kinds=kinds, since=since, form=form)
            )
        return _tell_shown(show(store), request.database)


def check_request(request: LedgerRequest) -> None:
    """UserError where the action would not heed something that was asked for."""
    if request.hosted and request.database:
        raise UserError(
            "`--github` does not take --database",
            why="Inside a workflow the branch is compacted, with the workflow's own rights.",
            advice="Leave one of them out.",
        )
    for action, word, is_given in (
        ("export", f"`{request.target}`", request.target is not None),
        ("export", "--kind", bool(request.kinds)),
        ("export", "--since", request.since is not None),
        ("export", "--format", bool(request.form)),
        ("copy", "--to", bool(request.to)),
        ("compact", "--github", request.hosted),
    ):
        if is_given and request.action != action:
            raise UserError(
                f"`ailab ledger {request.action}` does not take {word}",
                why=f"Only `ailab ledger {action}` uses it.",
                advice="Leave it out, or see `ailab ledger --help`.",
            )


def _tell_copied(copied: Copied, skipped: Mapping[str, int]) -> Told:
    line = f"{copied.written} records copied; {copied.known} were there already"
    document: Json = {"written": copied.written, "known": copied.known, "skipped": dict(skipped)}
    return Told((line,), document, told_skipped(skipped))


def _tell_compacted(done: Compacted) -> Told:
    document: Json = {
        "moved": done.moved,
        "parts": done.parts,
        "views": list(done.views),
        "skipped": dict(done.skipped),
    }
    return Told((told(done),), document, told_skipped(done.skipped))


def _tell_exported(done: Exported) -> Told:
    lines = tuple(f"{rows:>9} rows  {path}" for path, rows in done.rows.items())
    files = {str(path): rows for path, rows in done.rows.items()}
    document: Json = {"files": files, "skipped": dict(done.skipped)}
    return Told(lines, document, told_skipped(done.skipped))


def _tell_shown(shown: Shown, database: str) -> Told:
    lines = [f"{count:>9} {kind}" for kind, count in shown.counts.items()]
    if shown.loose is not None:
        lines.append(f"{shown.loose} loose, the others in {shown.parts} archives")
    for name, when in shown.views.items():
        age = f"made {when:%Y-%m-%d %H:%M} UTC" if when else "not made yet: `ailab ledger compact`"
        lines.append(f"view {name}: {age}")
    views = {name: when.isoformat() if when else None for name, when in shown.views.items()}
    document: Json = {
        "where": database or f"origin/{BRANCH}",
        "counts": dict(shown.counts),
        "skipped": dict(shown.skipped),
        "loose": shown.loose,
        "parts": shown.parts,
        "views": views,
    }
    return Told(tuple(lines), document, told_skipped(shown.skipped))


def branch_store(repo: Path, *, reading: bool = True, keep_days: int = KEEP_DAYS) -> GitStore:
    """The branch of the repository's origin. UserError where there is no origin to write to, and
    where `reading` finds nothing fetched, or something that is no ledger."""
    clone = open_repository(repo)
    tip = clone.remote_tip(BRANCH)
    has_origin = "origin" in clone.git("remote").splitlines()
    if not has_origin and (tip is None or not reading):
        raise UserError(
            f"{clone.root} has no remote `origin`",
            why=f"The ledger is the branch {BRANCH} of it.",
            advice="git remote add origin URL, or name a clone that has one with --repo.",
        )
    if tip is None and reading:
        raise _nothing_fetched(clone)
    if tip is not None and reading and not is_ledger(clone.root, tip):
        raise UserError(
            f"origin/{BRANCH} is no ledger",
            why=f"There is no folder {RECORDS} nor {ARCHIVE} at {tip[:12]}, so ailab has not "
            "written it.",
            advice="Give that branch another name; the ledger's is made at the first record.",
        )
    ledger = Ledger(clone.root, branch=BRANCH)
    return GitStore(ledger, tip, time.sleep, random.SystemRandom(), keep_days)


def _nothing_fetched(clone: Repository) -> UserError:
    return UserError(
        f"{clone.root} knows no ledger",
        why=f"There is no origin/{BRANCH}: it was not fetched, or nothing was recorded yet.",
        advice=f"git fetch origin {BRANCH}:refs/remotes/origin/{BRANCH}",
    )


@contextmanager
def database_store(variable: str, environ: Mapping[str, str]) -> Iterator[Store]:
    """The database whose address the variable holds."""
    url = environ.get(variable, "")
    if not url or "://" in variable:
        named = "the variable" if "://" in variable else f"${variable:.60}"
        raise UserError(
            f"{named} holds no database's address",
            why="The address has a password in it, so it is named by its variable.",
            advice="export AILAB_LEDGER_URL=postgresql://USER:PASSWORD@HOST:PORT/DATABASE, then "
            "name AILAB_LEDGER_URL.",
        )
    try:
        from ailab_bot.ledger.sql import open_store  # noqa: PLC0415
    except ImportError:
        raise UserError(
            "a ledger in PostgreSQL cannot be reached here",
            why="The packages sqlalchemy and psycopg are not installed.",
            advice="pip install 'ailab-bot[postgresql]'",
        ) from None
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def show(store: Store) -> Shown:
    """Count every record. Of a branch also how it is laid out."""
    skipped: Counter[str] = Counter()
    counts = Counter(record.kind.value for record in store.read(skipped))
    ordered = {kind.value: counts[kind.value] for kind in Kind}
    if not isinstance(store, GitStore) or store.tip is None:
        return Shown(ordered, dict(skipped))
    clone, tip = store.ledger.repository, store.tip
    views = {name: read_view(clone, tip, name) for name in VIEWS}
    return Shown(
        ordered,
        dict(skipped),
        len(list_entries(clone, tip)),
        len(list_parts(clone, tip)),
        {name: view.when if view else None for name, view in views.items()},
    )


def compact_ledger(store: Store, now: datetime) -> Compacted:
    """Old records into archives, and the views anew."""
    return store.compact(now, VIEWS)


def compact_job(environ: Mapping[str, str], clock: Clock = _REAL) -> int:
    """The scheduled job; 3 where the branch cannot be written now. It reads nothing but the
    branch, and writes nothing else."""
    around = read_surroundings(environ)
    variables = access(environ.get("AILAB_TOKEN", ""), around.server_url)
    ledger = Ledger(around.workspace, branch=BRANCH, variables=variables)
    store = GitStore(ledger, None, clock.sleep, random.SystemRandom())
    try:
        done = compact_ledger(store, clock.now())
    except LedgerError as error:
        say("warning", f"{error.what}: {error.why} {error.advice}", "Ledger")
        return error.exit_status
    say("notice", told(done), BRANCH)
    if done.skipped:
        say("warning", told_skipped(done.skipped), BRANCH)
    return 0


def kinds_named(names: Sequence[str]) -> tuple[Kind, ...]:
    """UserError where one is no kind of record."""
    known = {kind.value: kind for kind in Kind}
    for name in names:
        if name not in known:
            raise UserError(
                f"no kind of record: `{name:.40}`",
                why=f"The kinds: {', '.join(known)}.",
                advice="Name some of them with --kind, or none for all.",
            )
    return tuple(known[name] for name in names)


def told(done: Compacted) -> str:
    """What a compaction did, in a line."""
    if not (done.moved or done.views):
        return "There was nothing to compact."
    moved = f"{done.moved} records moved into {done.parts} archives" if done.moved else ""
    views = f"views made anew: {', '.join(done.views)}" if done.views else ""
    return "; ".join(each for each in (moved, views) if each)


def told_skipped(skipped: Mapping[str, int]) -> str:
    """What could not be read, in a line; empty for nothing."""
    if not skipped:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    return f"{sum(skipped.values())} records were passed over: {reasons}"


def copy_ledger(source: Store, target: Store) -> tuple[Copied, Mapping[str, int]]:
    """Every record that the target lacks; and what of the source could not be read."""
    skipped: Counter[str] = Counter()
    return copy_records(source, target, skipped), dict(skipped)
