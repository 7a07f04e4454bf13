"""What the ledger knows of release branches: each measurement, with what it said of each scenario.

Kept as one view, which the scheduled job makes; read with the few records that came after it.
Only records whose numbers may become a baseline count. Refuses to judge: verdicts are kept as they
were announced.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ailab_bot.ledger.places import DamagedViewError
from ailab_bot.ledger.reading import list_since, read_entries
from ailab_bot.ledger.records import Kind, Record, baseline_records
from ailab_bot.measure.git import Repository
from ailab_bot.model import strictjson
from ailab_bot.model.strictjson import BadJsonError, Json
from ailab_bot.model.verdict import Conclusion, Interval, VerdictKind

#: The ledger's view of releases. What reads another format has another name.
RELEASES = "releases-1"
#: Measurements that are kept, the newest: a year of nights and a push now and then.
MOST_RELEASES = 400
#: Loose records that are read where there is no view yet.
_MOST_LOOSE = 5_000
#: Scenarios x metrics of one measurement.
_MOST_RESULTS = 3_000
#: An effect is a ratio less 1; nothing is a million times slower.
_MOST_EFFECT = 1e6
_KEYS = ("sha", "base", "when", "run", "attempt", "conclusion", "results")


@dataclass(frozen=True)
class Result:
    """One metric of one scenario, head against base, as it was announced. `level` is the
    interval's; `effect` and `interval` are None where too little was measured."""

    scenario: str
    metric: str
    kind: VerdictKind
    confirmed: bool
    effect: float | None = None
    interval: Interval | None = None
    level: float = 0.99

    @property
    def announced(self) -> VerdictKind | None:
        """The change that was announced, if one was."""
        moved = self.kind in {VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT}
        return self.kind if self.confirmed and moved else None


@dataclass(frozen=True)
class Release:
    """One measurement of a release branch's commit, in its latest attempt.

    `when` its run came to be, which no later attempt changes. `conclusion` None: unknown.
    """

    sha: str
    base: str
    when: datetime
    run: int
    attempt: int
    conclusion: Conclusion | None = None
    results: tuple[Result, ...] = ()

    @property
    def improved(self) -> bool:
        """Whether something became faster, and nothing is in the way of a release."""
        faster = any(each.announced is VerdictKind.IMPROVEMENT for each in self.results)
        return faster and self.conclusion is Conclusion.SUCCESS

    @property
    def failed(self) -> bool:
        return self.conclusion is Conclusion.FAILURE

    def result(self, scenario: str, metric: str) -> Result | None:
        same = (each for each in self.results if (each.scenario, each.metric) == (scenario, metric))
        return next(same, None)


def read_releases(clone: Path, tip: str | None) -> tuple[Release, ...]:
    """The measurements that the ledger's commit knows, oldest first: the same for everybody who
    has that commit. A damaged view counts as none. LedgerError where git fails."""
    if tip is None:
        return ()
    since = list_since(clone, tip, RELEASES, (Kind.VERDICT,))
    known: tuple[Release, ...] = ()
    if since.view is not None:
        try:
            known = releases_from_view(since.view.data)
        except BadJsonError:
            known = ()
    entries = sorted(since.entries, key=lambda each: each.place[2:])[-_MOST_LOOSE:]
    return with_records(known, (record for _, record in read_entries(clone, entries, Counter())))


def with_records(known: Iterable[Release], records: Iterable[Record]) -> tuple[Release, ...]:
    """With what came later. Of a run the latest attempt counts, whose report covers what earlier
    attempts measured, too."""
    found = {(each.run, each.attempt): each for each in known}
    results: dict[tuple[int, int], dict[tuple[str, str], Result]] = defaultdict(dict)
    for key, release in found.items():
        results[key] = {(each.scenario, each.metric): each for each in release.results}
    for record in baseline_records(records):
        if record.kind is not Kind.VERDICT:
            continue
        key = (record.run, record.attempt)
        when = (record.begun or record.when).astimezone(UTC)
        release = found.setdefault(key, Release(record.sha, record.base, when, *key))
        if (release.sha, release.base) != (record.sha, record.base):
            continue
        if record.scenario:
            own = (_result(row) for row in record.verdicts)
            results[key] |= {(each.scenario, each.metric): each for each in own if each}
        else:
            found[key] = replace(release, conclusion=_conclusion(record))
    latest: dict[int, int] = {}
    for run, attempt in found:
        latest[run] = max(attempt, latest.get(run, 0))
    kept = [
        replace(found[key], results=tuple(own for _, own in sorted(results[key].items())))
        for key in latest.items()
    ]
    return tuple(sorted(kept, key=lambda each: (each.when, each.run))[-MOST_RELEASES:])


def _conclusion(record: Record) -> Conclusion | None:
    said = record.verdicts[0].get("conclusion") if record.verdicts else None
    return next((each for each in Conclusion if each.value == said), None)


def _result(row: Mapping[str, object]) -> Result | None:
    """None where the row is no verdict that this version can read."""
    try:
        return _result_of(
            [
                row.get("scenario"),
                row.get("metric"),
                row.get("verdict"),
                row.get("confirmed"),
                row.get("effect"),
                row.get("interval"),
                row.get("level"),
            ]
        )
    except BadJsonError:
        return None


def along(clone: Repository, head: str, releases: Iterable[Release]) -> tuple[Release, ...]:
    """Those of `head` and of commits before it: other branches have levels of their own."""
    known = tuple(releases)
    there = ancestors(clone, head, (each.sha for each in known)) | {head}
    return tuple(each for each in known if each.sha in there)


def ancestors(clone: Repository, head: str, shas: Iterable[str]) -> frozenset[str]:
    """Which of these commits come before `head`; one that is not in the clone does not."""
    asked = sorted(set(shas) - {head})
    if not asked:
        return frozenset()
    request = "".join(f"{sha}^{{commit}}\n" for sha in asked).encode()
    rows = clone.git_bytes("cat-file", "--batch-check", request=request).decode().splitlines()
    here = [row.split()[0] for row in rows if row.split()[1:2] == ["commit"]]
    if not here:
        return frozenset()
    request = "".join(f"{sha}\n" for sha in [*here, f"^{head}"]).encode()
    outside = clone.git_bytes("rev-list", "--stdin", request=request).decode().split()
    return frozenset(here) - frozenset(outside)


# --- the view ----------------------------------------------------------------------------------


def build_releases(previous: bytes | None, records: Iterator[Record]) -> bytes:
    """The view RELEASES. DamagedViewError, see `Build`."""
    known: tuple[Release, ...] = ()
    if previous is not None:
        try:
            known = releases_from_view(previous)
        except BadJsonError as error:
            raise DamagedViewError(RELEASES) from error
    return releases_to_view(with_records(known, records))


def releases_to_view(releases: Iterable[Release]) -> bytes:
    rows: list[Json] = [
        {
            "sha": each.sha,
            "base": each.base,
            "when": each.when.isoformat(timespec="seconds"),
            "run": each.run,
            "attempt": each.attempt,
            "conclusion": each.conclusion.value if each.conclusion else "",
            "results": [_row(result) for result in each.results],
        }
        for each in releases
    ]
    document = {"schema": 1, "releases": rows}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _row(result: Result) -> list[object]:
    interval = result.interval
    return [
        result.scenario,
        result.metric,
        result.kind.value,
        result.confirmed,
        result.effect,
        None if interval is None else [interval.low, interval.high],
        result.level,
    ]


def releases_from_view(data: bytes) -> tuple[Release, ...]:
    """BadJsonError where it is none, or damaged."""
    row = strictjson.load_bytes(data, most=len(data))
    row = strictjson.mapping(row, "the view", {"schema", "releases"})
    strictjson.schema(row, 1)
    rows = strictjson.items(row["releases"], "releases", most=MOST_RELEASES)
    return tuple(_release_of(each) for each in rows)


def _release_of(value: object) -> Release:
    row = strictjson.mapping(value, "a release", _KEYS)
    said = row["conclusion"]
    try:
        when = datetime.fromisoformat(strictjson.text(row["when"], "when"))
    except ValueError:
        strictjson.refuse("when is not a time")
    if when.tzinfo is None:
        strictjson.refuse("when has no time zone")
    results = strictjson.items(row["results"], "results", most=_MOST_RESULTS)
    return Release(
        sha=strictjson.sha(row["sha"], "sha"),
        base=strictjson.sha(row["base"], "base"),
        when=when,
        run=strictjson.whole(row["run"], "run", most=10**15),
        attempt=strictjson.whole(row["attempt"], "attempt", least=1),
        conclusion=None if said == "" else strictjson.one_of(said, "conclusion", Conclusion),
        results=tuple(_result_of(each) for each in results),
    )


def _result_of(value: object) -> Result:
    row = strictjson.items(value, "a result", least=7, most=7)
    scenario, metric, kind, confirmed, effect, interval, level = row
    return Result(
        scenario=strictjson.text(scenario, "scenario"),
        metric=strictjson.text(metric, "metric"),
        kind=strictjson.one_of(kind, "verdict", VerdictKind),
        confirmed=strictjson.flag(confirmed, "confirmed"),
        effect=None if effect is None else _effect(effect),
        interval=None if interval is None else _interval(interval),
        level=strictjson.number(level, "level", least=0.5, most=1 - 1e-9),
    )


def _interval(value: object) -> Interval:
    low, high = strictjson.items(value, "interval", least=2, most=2)
    return Interval(_effect(low), _effect(high))


def _effect(value: object) -> float:
    return strictjson.number(value, "effect", least=-1.0, most=_MOST_EFFECT)
