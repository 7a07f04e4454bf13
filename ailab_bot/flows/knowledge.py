"""What plans know from the ledger: footprints, outcomes and what was spent; kept as one view.

Footprints and outcomes are a release's or a nightly run's: a pull request's never count. A view is
made by the scheduled job; a plan reads it and the few records that came after. Whatever cannot be
read is left out and counted: a plan without knowledge measures everything, and is none the worse.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ailab_bot.flows.train import labels_of
from ailab_bot.ledger.places import DamagedViewError, LedgerError
from ailab_bot.ledger.reading import Entry, list_since, read_entries
from ailab_bot.ledger.records import BASELINE_ORIGINS, Kind, Origin, Record, split_name
from ailab_bot.model import strictjson
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.footprintwire import footprint_from_json, footprint_to_json
from ailab_bot.model.github import MOST_SHARDS
from ailab_bot.model.strictjson import BadJsonError, Json
from ailab_bot.plan.index import FootprintIndex
from ailab_bot.plan.past import TRUTH, Past

#: The ledger's view that plans read. What reads another format has another name.
SELECTION = "selection-2"
_KINDS = (Kind.FOOTPRINT, Kind.PLAN, Kind.VERDICT)
#: Without a view so much of the loose ledger is read: a plan must not wait for more.
_MOST_LOOSE, _LOOSE_DAYS = 5_000, 60
#: What a change has spent counts for the day; older entries are dropped from the view.
DAY = timedelta(hours=24)
_SPENT_KEPT = timedelta(days=3)
_MOST_SPENT = 20_000


@dataclass(frozen=True)
class Source:
    """Where a scenario's footprint is from: the time, and the fingerprint of its definition."""

    when: datetime
    definition: str


@dataclass(frozen=True)
class Knowledge:
    """`sources`: by scenario, of the footprints in `index`. `spent`: by pull requests, when and how
    many runner-seconds. `skipped`: records that could not be read, by reason; `note`: a remark
    about how it was read.
    """

    index: FootprintIndex = field(default_factory=FootprintIndex)
    sources: Mapping[str, Source] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    spent: tuple[tuple[datetime, float], ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing here could tell one scenario from another, or has to be told."""
        known = self.sources or self.past.costs or self.past.scenarios
        return not known and not self.skipped

    def spent_before(self, when: datetime) -> float:
        """Runner-seconds of all changes in the day before."""
        return sum(seconds for at, seconds in self.spent if when - DAY <= at < when)

    def with_records(self, records: Iterable[Record]) -> Knowledge:
        """With what came later; of a scenario's footprints the latest counts."""
        known, skipped = list(records), Counter(self.skipped)
        latest: dict[str, tuple[datetime, Record]] = {}
        for record in known:
            if record.kind is not Kind.FOOTPRINT or record.origin not in BASELINE_ORIGINS:
                continue
            before = latest.get(record.scenario)
            there = self.sources.get(record.scenario)
            if (before and before[0] >= record.when) or (there and there.when >= record.when):
                continue
            latest[record.scenario] = (record.when, record)
        footprints, sources = [], dict(self.sources)
        for scenario, (when, record) in sorted(latest.items()):
            try:
                footprint = footprint_from_json(record.body.get("footprint"))
                definition = strictjson.text(record.body.get("definition"), "definition")
            except BadJsonError:
                skipped["damaged"] += 1
                continue
            footprints.append(replace(footprint, scenario=scenario, sha=record.sha))
            sources[scenario] = Source(when, definition)
        labels = labels_of(r for r in known if r.kind in {Kind.PLAN, Kind.VERDICT})
        # What a pull request says that it cost must not decide what others are measured with.
        outcomes = [
            each if each.origin in TRUTH else replace(each, cost_s=None) for each in labels.outcomes
        ]
        return replace(
            self,
            index=self.index.updated(footprints) if footprints else self.index,
            sources=sources,
            past=self.past.with_outcomes(outcomes),
            spent=_spent(self.spent, known),
            skipped=dict(skipped),
        )

    def with_footprints(self, recorded: Iterable[tuple[Footprint, Source]]) -> Knowledge:
        """With footprints that were recorded here, in the place of what was known."""
        pairs = list(recorded)
        sources = {footprint.scenario: source for footprint, source in pairs}
        index = self.index.updated(footprint for footprint, _ in pairs) if pairs else self.index
        return replace(self, index=index, sources={**self.sources, **sources})


def footprint_body(footprint: Footprint, definition: str) -> dict[str, object]:
    """The body of a footprint's record. `definition`: the scenario's fingerprint."""
    return {"definition": definition, "footprint": footprint_to_json(footprint)}


def read_knowledge(clone: Path, tip: str, when: datetime) -> Knowledge:
    """What the ledger's commit knows. `when` bounds how far back loose records are read.

    LedgerError where git fails.
    """
    since = list_since(
        clone, tip, SELECTION, _KINDS, fallback_from=(when - timedelta(days=_LOOSE_DAYS)).date()
    )
    known = Knowledge(note=since.note)
    if since.view is not None:
        try:
            known = knowledge_from_view(since.view.data)
        except BadJsonError as error:
            note = f"The ledger's view of footprints is not used: {error}."
            known = Knowledge(note=note, skipped={"damaged": 1})
    skipped: Counter[str] = Counter(known.skipped)
    records = [record for _, record in read_entries(clone, _needed(since.entries), skipped)]
    return replace(known, skipped=dict(skipped)).with_records(records)


def _needed(entries: Iterable[Entry]) -> list[Entry]:
    """Of footprints the latest of each scenario; of the others the newest _MOST_LOOSE."""
    latest: dict[str, Entry] = {}
    others = []
    for entry in entries:
        words = split_name(entry.place[-1])
        if entry.place[1] != Kind.FOOTPRINT.value or words is None:
            others.append(entry)
        elif words[0] not in latest or _age(latest[words[0]]) < _age(entry):
            latest[words[0]] = entry
    others.sort(key=lambda entry: entry.place[2:4])
    return [*latest.values(), *others[-_MOST_LOOSE:]]


def _age(entry: Entry) -> tuple[object, ...]:
    words = split_name(entry.place[-1])
    return (entry.place[2], entry.place[3], words[1:] if words else ())


def _spent(
    before: tuple[tuple[datetime, float], ...], records: Iterable[Record]
) -> tuple[tuple[datetime, float], ...]:
    found = set(before)
    for record in records:
        of_change = record.kind is Kind.VERDICT and not record.scenario
        if of_change and record.origin in {Origin.PULL_REQUEST, Origin.MERGE_GROUP}:
            found.add((record.when, _real_s(record)))
    newest = max((when for when, _ in found), default=None)
    kept = sorted(each for each in found if newest and each[0] >= newest - _SPENT_KEPT)
    return tuple(kept[-_MOST_SPENT:])


def _real_s(record: Record) -> float:
    """What a measurement says that it spent, and no more than its time on all runners."""
    seconds = (record.when - (record.begun or record.when)).total_seconds()
    return min(record.runner_seconds, max(seconds, 0.0) * MOST_SHARDS)


# --- the view ----------------------------------------------------------------------------------


def build_selection(previous: bytes | None, records: Iterator[Record]) -> bytes:
    """The view SELECTION: three documents, a line each. DamagedViewError, see `Build`."""
    known = Knowledge()
    if previous is not None:
        try:
            known = knowledge_from_view(previous)
        except BadJsonError as error:
            raise DamagedViewError(SELECTION) from error
    return knowledge_to_view(known.with_records(records))


def knowledge_to_view(known: Knowledge) -> bytes:
    header: Json = {
        "schema": 1,
        "sources": {
            name: [source.when.isoformat(timespec="seconds"), source.definition]
            for name, source in sorted(known.sources.items())
        },
        "spent": [
            [when.isoformat(timespec="seconds"), round(seconds, 3)] for when, seconds in known.spent
        ],
    }
    lines = (json.dumps(header, separators=(",", ":")), known.index.to_json(), known.past.to_json())
    return ("\n".join(lines) + "\n").encode()


def knowledge_from_view(data: bytes) -> Knowledge:
    """BadJsonError where it is none, or damaged."""
    try:
        first, index, past, rest = data.decode("utf-8").split("\n")
    except ValueError:
        strictjson.refuse("it has not three lines")
    if rest:
        strictjson.refuse("there is something after its end")
    header = strictjson.mapping(
        strictjson.load(first), "the header", {"schema", "sources", "spent"}
    )
    strictjson.schema(header, 1)
    sources = header["sources"]
    if not isinstance(sources, dict):
        strictjson.refuse("sources must be an object")
    return Knowledge(
        FootprintIndex.from_json(index),
        {name: _source(row) for name, row in sources.items()},
        Past.from_json(past),
        tuple(
            _spending(row) for row in strictjson.items(header["spent"], "spent", most=_MOST_SPENT)
        ),
    )


def _source(value: object) -> Source:
    when, definition = strictjson.items(value, "a source", least=2, most=2)
    return Source(_time(when), strictjson.text(definition, "definition"))


def _spending(value: object) -> tuple[datetime, float]:
    when, seconds = strictjson.items(value, "an entry of spent", least=2, most=2)
    return _time(when), strictjson.number(seconds, "seconds")


def _time(value: object) -> datetime:
    try:
        when = datetime.fromisoformat(strictjson.text(value, "when"))
    except ValueError:
        strictjson.refuse("when is not a time")
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def known_at(clone: Path, tip: str | None, when: datetime) -> Knowledge:
    """As `read_knowledge`; nothing where there is no ledger, or it cannot be read."""
    if tip is None:
        return Knowledge()
    try:
        return read_knowledge(clone, tip, when)
    except LedgerError as error:
        return Knowledge(note=f"{error.what}: {error.why}")
