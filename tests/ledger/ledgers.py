"""Records for tests of the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ailab_bot.ledger.records import Kind, Origin, Record
from ailab_bot.ledger.store import Store

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def record(number: int = 1, **other: object) -> Record:
    """A verdict of run `number`; `days` says how long ago the run began."""
    days = other.pop("days", 1)
    begun = NOW - timedelta(days=float(str(days)))
    plain = Record(
        sha=f"{number:040x}",
        base="b" * 40,
        scenario="eager",
        run=number,
        attempt=1,
        begun=begun,
        when=begun + timedelta(minutes=20),
        machine="Testing CPU",
        verdicts=({"metric": "ttfb_s", "verdict": "NO_CHANGE", "interval": [-0.01, 0.02]},),
        runner_seconds=10.0 + number,
    )
    return replace(plain, **other)  # type: ignore[arg-type]


def other_kind(kind: Kind, number: int = 1, **other: object) -> Record:
    plain: dict[str, object] = {"verdicts": (), "runner_seconds": 0.0, "body": {"n": number}}
    return record(number, kind=kind, **{**plain, **other})


def everything(store: Store, **chosen: object) -> list[Record]:
    """What can be read, in the order of names; nothing may be passed over."""
    skipped: Counter[str] = Counter()
    found = list(store.read(skipped, **chosen))  # type: ignore[arg-type]
    assert not skipped
    return sorted(found, key=key)


def key(each: Record) -> tuple[str, str, str, int, int]:
    return each.kind.value, each.sha, each.scenario, each.run, each.attempt


def counting(previous: bytes | None, records: object) -> bytes:
    """A view that says how many records it was made of."""
    new = sum(1 for _ in records)  # type: ignore[attr-defined]
    return str(int(previous or b"0") + new).encode()


ORIGINS = tuple(Origin)
