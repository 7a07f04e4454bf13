"""How long scenarios are expected to take, from the ledger's view and what came after it."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import fetched, git_store
from ledgers import NOW, other_kind, record

from ailab_bot.flows.history import DURATIONS, MOST_RECORDS, build_durations, expected_s
from ailab_bot.ledger.places import DamagedViewError
from ailab_bot.ledger.records import Kind, Record

SCENARIOS = ("eager", "train", "a.b-c")


def expected(clone: Path) -> Mapping[str, float]:
    return expected_s(clone, fetched(clone), SCENARIOS)


def compacted(clone: Path) -> None:
    git_store(clone).compact(NOW, {DURATIONS: build_durations})


@pytest.mark.parametrize("seed", range(3))
def test_the_view_and_the_records_since_say_what_all_records_say(clone: Path, seed: int) -> None:
    rng = random.Random(seed)
    made: list[Record] = []
    for _ in range(4):
        new = [
            record(
                run, days=rng.choice([0, 3, 100]), scenario=scenario, attempt=rng.randint(1, 3),
                runner_seconds=float(rng.randint(0, 30_000)),
            )
            for run in rng.sample(range(1, 60), 12)
            for scenario in SCENARIOS
        ]  # fmt: skip
        known = {(e.scenario, e.run, e.attempt) for e in made}
        new = [each for each in new if (each.scenario, each.run, each.attempt) not in known]
        git_store(clone).append([*new, other_kind(Kind.PLAN, 500 + len(made))])
        made += new
        before = expected(clone)
        compacted(clone)
        assert expected(clone) == before == by_hand(made)


def by_hand(records: list[Record]) -> dict[str, float]:
    found = {}
    for scenario in SCENARIOS:
        latest: dict[int, Record] = {}
        for each in records:
            if each.scenario == scenario and each.attempt > getattr(
                latest.get(each.run), "attempt", 0
            ):
                latest[each.run] = each
        seconds = sorted(
            min(max(latest[run].runner_seconds, 1.0), 6 * 3600.0)
            for run in sorted(latest)[-MOST_RECORDS:]
        )
        middle = len(seconds) // 2
        found[scenario] = (seconds[middle] + seconds[-middle - 1]) / 2
    return found


def test_old_runs_count_after_their_records_were_archived(clone: Path) -> None:
    git_store(clone).append([record(n, days=200, runner_seconds=50.0) for n in range(1, 4)])
    compacted(clone)
    assert expected(clone) == {"eager": 50.0}
    git_store(clone).append([record(9, days=0, runner_seconds=70.0, attempt=2)])
    git_store(clone).append([record(3, days=0, runner_seconds=90.0, attempt=2)])
    assert expected(clone) == {"eager": 60.0}


@pytest.mark.parametrize(
    "data",
    ["", "[]", "{", '{"eager": 5}', '{"eager": [[1, 1]]}', '{"eager": [["1", 1, 5]]}', "[" * 9999],
)
def test_a_damaged_view_is_as_none(clone: Path, data: str) -> None:
    git_store(clone).append([record(1, runner_seconds=50.0)])
    compacted(clone)
    git_store(clone).append([record(2, runner_seconds=70.0)])
    stream = (
        f"commit refs/heads/damaged\ncommitter A <a@b.invalid> 1 +0000\ndata 0\n"
        f"from {fetched(clone)}\nM 100644 inline view/durations-1/data\ndata {len(data)}\n{data}\n"
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=clone, input=stream.encode(), check=True)
    assert expected_s(clone, "refs/heads/damaged", SCENARIOS) == {"eager": 60.0}


def test_a_view_keeps_a_bounded_number_of_runs() -> None:
    data = build_durations(None, iter(record(n) for n in range(1, 100)))
    data = build_durations(data, iter(record(n) for n in range(100, 200)))
    assert json.loads(data) == {"eager": [[n, 1, 10.0 + n] for n in range(190, 200)]}
    with pytest.raises(DamagedViewError):
        build_durations(b"damaged", iter([record(1)]))
