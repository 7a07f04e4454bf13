"""`ailab incident` away from GitHub: the incidents that the clone's ledger knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.incidents import steps_in
from ailab_bot.flows.ledger import branch_store
from ailab_bot.ledger.records import Kind
from ailab_bot.model.incident import Incident, incidents_of


@dataclass(frozen=True)
class Listed:
    """`shown`: what was asked for, oldest first; `closed`: how many are not among it."""

    shown: tuple[Incident, ...]
    closed: int


def list_incidents(repo: Path, *, name: str = "", closed: bool = False) -> Listed:
    """The open ones, with `closed` all; or the one whose id begins with `name`.

    UserError where there is no such one. The ledger is read as this clone has fetched it.
    """
    store = branch_store(repo, reading=True)
    known = incidents_of(steps_in(store.read(Counter(), (Kind.INCIDENT,))))
    if name:
        own = tuple(each for each in known if each.id.startswith(name.lower()))
        if len(own) != 1:
            raise UserError(
                f"{'no' if not own else 'more than one'} incident begins with `{name:.40}`",
                why=f"The ledger knows {len(known)}, as this clone has fetched it.",
                advice="`ailab incident --all` lists them; `git fetch origin ailab-ledger` first.",
            )
        return Listed(own, 0)
    shown = tuple(each for each in known if closed or each.is_open)
    return Listed(shown, len(known) - len(shown))
