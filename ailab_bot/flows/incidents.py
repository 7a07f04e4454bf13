"""Incidents in the ledger: their steps read, and what a run adds as records.

Refuses to guess where history cannot be read: an incident that is not known would be filed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ailab_bot.flows.history import BRANCH
from ailab_bot.gh.actions import Surroundings
from ailab_bot.gh.client import GitHubError, Run
from ailab_bot.gh.fetch import MISSING, fetch_tip
from ailab_bot.ledger.reading import read_all
from ailab_bot.ledger.records import (
    Kind,
    Origin,
    Record,
)
from ailab_bot.model.incident import Incident, Step
from ailab_bot.model.incidentwire import steps_from_body, steps_to_body
from ailab_bot.model.strictjson import BadJsonError


def ledger_tip(around: Surroundings, environ: Mapping[str, str]) -> str | None:
    """The newest commit of the ledger's branch, fetched; None where there is no such branch.

    GitHubError where it cannot be had now.
    """
    token = environ.get("AILAB_TOKEN", "")
    try:
        return fetch_tip(around.workspace, BRANCH, token, around.server_url)
    except GitHubError as error:
        if MISSING in error.why:
            return None
        raise


def steps_now(around: Surroundings, environ: Mapping[str, str]) -> tuple[Step, ...]:
    """Every step that the ledger holds now; GitHubError where it cannot be had."""
    return read_steps(around.workspace, ledger_tip(around, environ))


def read_steps(clone: Path, tip: str | None) -> tuple[Step, ...]:
    """Every step that the ledger holds; what cannot be read is passed over."""
    if tip is None:
        return ()
    return steps_in(read_all(clone, tip, Counter(), (Kind.INCIDENT,)))


def steps_in(records: Iterable[Record]) -> tuple[Step, ...]:
    """The steps that these records hold."""
    found: list[Step] = []
    for record in records:
        if record.kind is not Kind.INCIDENT:
            continue
        try:
            found += steps_from_body(record.body)
        except BadJsonError:
            continue
    return tuple(found)


def records_of_steps(
    incidents: Sequence[Incident], steps: Iterable[Step], run: Run, when: datetime
) -> tuple[Record, ...]:
    """One record for each incident, of all that one attempt of a run adds to it."""
    added: dict[str, list[Step]] = {}
    for step in steps:
        added.setdefault(step.incident, []).append(step)
    places = {each.id: each for each in incidents}
    return tuple(
        Record(
            sha=places[name].bad,
            base=places[name].good,
            scenario=f"_{name}",
            run=run.id,
            attempt=run.attempt,
            begun=run.created_at,
            when=when,
            origin=Origin.RELEASE,
            kind=Kind.INCIDENT,
            body=steps_to_body(name, own),
        )
        for name, own in added.items()
        if name in places
    )
