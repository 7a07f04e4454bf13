"""The folder of a search on one's own machine: what was asked, who was refused, who writes there.

Whoever goes on with --resume has to ask the same of the same interpreter. Refuses a folder in which
another search is at work: the lock is on the folder itself and goes with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.ab import new_run_folder
from ailab_bot.flows.shard import write_whole
from ailab_bot.flows.stand import Work
from ailab_bot.model import strictjson
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.search import Evidence, Quest, Refusal
from ailab_bot.model.searchwire import evidence_from_row, evidence_to_row

STATE, _REFUSED = "search.json", "refused.json"


@dataclass(frozen=True)
class SearchFolder:
    """`earlier`: what was known before the search began, and whom it has refused since."""

    path: Path
    seed: int
    earlier: Evidence

    def refused(self, refusals: tuple[Refusal, ...]) -> None:
        """Keep them for whoever goes on."""
        row = evidence_to_row(Evidence(refusals=refusals))
        write_whole(self.path / _REFUSED, json.dumps(row) + "\n")


def begin(work: Work, quest: Quest, seed: int | None, earlier: Evidence) -> SearchFolder:
    """A new search's."""
    folder = new_run_folder()
    own = secrets.randbelow(2**31) if seed is None else seed
    state = {**_asked(work, quest), "seed": own}
    if earlier.trials:
        state["earlier"] = evidence_to_row(earlier)
    (folder / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
    return SearchFolder(folder, own, earlier)


def take_up(folder: Path, work: Work, quest: Quest, seed: int | None) -> SearchFolder:
    """An earlier search's; UserError where that was another one."""
    try:
        before = strictjson.load_object((folder / STATE).read_text(encoding="utf-8"))
        own = strictjson.whole(before.get("seed"), "seed", most=2**31)
        known = before.get("earlier")
        earlier = Evidence() if known is None else evidence_from_row(known)
        earlier = _with_refusals(folder, earlier)
    except (OSError, ValueError, strictjson.BadJsonError) as error:
        raise UserError(
            f"no search can be taken up in {folder}",
            why=str(error),
            advice="Name the folder that the interrupted search told, or start without --resume.",
        ) from error
    asked = _asked(work, quest)
    if seed is not None:
        asked["seed"] = seed
    known_of = {"good", "bad", "scenario", *before}
    differs = [name for name in asked if name in known_of and before.get(name) != asked[name]]
    if differs:
        name = differs[0]
        raise UserError(
            f"the search in {folder} was another one",
            why=f"Its {name} is {before.get(name)}, not {asked[name]}.",
            advice="Give the same GOOD, BAD, --python and --scenario as it was defined, or start "
            "without --resume.",
        )
    return SearchFolder(folder, own, earlier)


def _asked(work: Work, quest: Quest) -> dict[str, object]:
    return {
        "good": quest.good,
        "bad": quest.bad,
        "scenario": quest.scenario,
        "metric": quest.metric,
        "definition": fingerprint(work.scenario),
        "python": f"{work.python.python} ({work.python.version})",
    }


def _with_refusals(folder: Path, earlier: Evidence) -> Evidence:
    path = folder / _REFUSED
    if not path.exists():
        return earlier
    row = strictjson.load_object(path.read_text(encoding="utf-8"))
    return earlier.refusing(*evidence_from_row(row).refusals)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """UserError where another search writes to it now."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"another search is at work in {folder}",
            why="Both would number their blocks alike, and what they wrote could not be read.",
            advice="Wait for its end, or interrupt it; then go on with --resume.",
        ) from None
    finally:
        os.close(descriptor)
