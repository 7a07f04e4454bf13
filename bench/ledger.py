"""What the ledger costs when it is large: appends, what plans read, compaction, size.

    python bench/ledger.py                    a million records: 10 to 20 minutes, 3 GB of disk
    python bench/ledger.py --records 100000   a tenth of it

A year of a busy repository is made in a bare repository: about 41 changes a day, each one commit
with 65 records. Then the ledger's own code works on it, through a shallow clone as a workflow's
job has, and reads it in a clone of everything. Commands that talk to the remote are timed apart:
here they go to a folder on the same disk, there over the network.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ailab_bot.flows.history import DURATIONS, build_durations, expected_s
from ailab_bot.ledger import plumbing, scratch
from ailab_bot.ledger.compaction import compact, write_view
from ailab_bot.ledger.git_branch import append
from ailab_bot.ledger.reading import list_entries, list_parts, list_since, read_all, read_entries
from ailab_bot.ledger.records import Kind, Record, place_of, record_to_json
from ailab_bot.ledger.scratch import Ledger

SCENARIOS = tuple(f"scenario-{number:02}" for number in range(64))
PER_CHANGE = len(SCENARIOS) + 1
CHANGES_A_DAY = 41
END = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)
#: Commands whose time a network adds to.
TALKING = {"fetch", "push", "ls-remote"}
APPENDS = 20


def records_of(number: int, begun: datetime) -> list[Record]:
    """A change's: one of itself and one for each scenario, with the words of a real verdict."""
    rng = random.Random(number)
    sha, base = (f"{rng.getrandbits(160):040x}" for _ in range(2))
    whole = Record(
        sha=sha,
        base=base,
        scenario="",
        run=10**9 + number,
        attempt=1,
        begun=begun,
        when=begun + timedelta(minutes=20),
        machine="AMD EPYC 7763 64-Core Processor",
        verdicts=({"conclusion": "success"},),
        runner_seconds=rng.uniform(500, 5000),
    )
    rows = [whole]
    for scenario in SCENARIOS:
        effect = rng.gauss(0, 0.02)
        verdict = {
            "scenario": scenario,
            "metric": "ttfb_s",
            "verdict": "NO_CHANGE",
            "effect": effect,
            "interval": [effect - 0.03, effect + 0.03],
            "level": 0.95,
            "threshold": 0.05,
            "base_median": rng.uniform(5, 50),
            "head_median": rng.uniform(5, 50),
            "blocks": 12,
            "confirmed": False,
            "reason": "The interval lies within the threshold.",
            "p_value": rng.random(),
        }
        seconds = rng.uniform(60, 600)
        rows.append(replace(whole, scenario=scenario, verdicts=(verdict,), runner_seconds=seconds))
    return rows


def stream(changes: int) -> Iterator[bytes]:
    """For `git fast-import`: a branch main with one file, and the ledger's."""
    yield b"commit refs/heads/main\ncommitter B <b@b.invalid> 1700000000 +0000\ndata 1\nm\n"
    yield b"M 100644 inline a.txt\ndata 1\na\n\n"
    for number in range(changes):
        begun = END - timedelta(days=1) * ((changes - number) / CHANGES_A_DAY)
        at_s = int(begun.timestamp()) + 1500
        yield b"commit refs/heads/ailab-ledger\ncommitter B <b@b.invalid> %d +0000\n" % at_s
        yield b"data 1\nr\n"
        for record in records_of(number, begun):
            data = record_to_json(record).encode()
            path = "/".join(place_of(record)).encode()
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(data), data)


def build(remote: Path, changes: int) -> None:
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run(["git", "config", name, "true"], cwd=remote, check=True)
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=remote, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.writelines(stream(changes))
        process.stdin.close()
    if process.returncode:
        raise SystemExit("git fast-import failed")


class Stopwatch:
    """Seconds in git's commands that talk to the remote, and in everything."""

    def __init__(self) -> None:
        self.talking_s = 0.0
        self._run = plumbing.run_git

    def __enter__(self) -> Stopwatch:
        plumbing.run_git = scratch.run_git = self.run  # type: ignore[assignment]
        self.start_s = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        plumbing.run_git = scratch.run_git = self._run
        self.total_s = time.perf_counter() - self.start_s
        self.own_s = self.total_s - self.talking_s

    def run(self, folder: Path, *words: str, **other: object) -> object:
        start_s = time.perf_counter()
        try:
            return self._run(folder, *words, **other)  # type: ignore[arg-type]
        finally:
            if TALKING & set(words):
                self.talking_s += time.perf_counter() - start_s


def shallow(remote: Path, folder: Path) -> Path:
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{remote}", str(folder)], check=True)
    return folder


def disk_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def peak_mib() -> float:
    """Of this process alone; `getrusage` would still know the one that started it."""
    (line,) = (
        each for each in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in each
    )
    return int(line.split()[1]) / 1024


READER = "import sys; sys.path.insert(0, {here!r}); import ledger; ledger.read_in(sys.argv[1])"


def read_in(clone: str) -> None:
    """What a plan reads, in a process of its own; one line of JSON."""
    path, tip = Path(clone), "refs/remotes/origin/ailab-ledger"
    start_s = time.perf_counter()
    expected = expected_s(path, tip, SCENARIOS)
    expected_at_s = time.perf_counter()
    since = list_since(path, tip, DURATIONS)
    skipped: Counter[str] = Counter()
    read = sum(1 for _ in read_entries(path, since.entries, skipped))
    end_s = time.perf_counter()
    print(
        json.dumps(
            {
                "expected": len(expected),
                "since": read,
                "skipped": dict(skipped),
                "view": since.view is not None,
                "expected_s": expected_at_s - start_s,
                "since_s": end_s - expected_at_s,
                "peak_mib": peak_mib(),
            }
        )
    )


def plan_time(clone: Path) -> dict[str, float]:
    code = READER.format(here=str(Path(__file__).parent))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code, str(clone)], env=env, capture_output=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    return min(runs, key=lambda run: run["expected_s"] + run["since_s"])


def compact_as(folder: Path, remote: Path, now: datetime, what: str) -> None:
    clone = shallow(remote, folder)
    with Stopwatch() as watch:
        done = compact(
            Ledger(clone), now, {DURATIONS: build_durations}, sleep=time.sleep, rng=random.Random()
        )
    print(
        f"{what}: {done.moved} records into {done.parts} parts, views {list(done.views)}, skipped "
        f"{dict(done.skipped)}: {watch.own_s:.1f} s and {watch.talking_s:.1f} s of fetch and push"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--keep", metavar="DIR", help="where the ledger is made, and stays")
    arguments = parser.parse_args()
    changes = arguments.records // PER_CHANGE
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="ailab-bench-ledger-"))
    folder.mkdir(parents=True, exist_ok=True)
    built, remote = folder / "built.git", folder / "remote.git"
    try:
        start_s = time.perf_counter()
        if not built.exists():
            build(built, changes)
        shutil.copytree(built, remote)
        print(
            f"{changes * PER_CHANGE} records in {changes} commits: made in "
            f"{time.perf_counter() - start_s:.0f} s, {disk_mib(remote):.0f} MiB as imported"
        )
        measure(folder, remote, changes)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def measure(folder: Path, remote: Path, changes: int) -> None:
    compact_as(folder / "first", remote, END - timedelta(days=2), "First compaction of all")
    compact_as(folder / "daily", remote, END - timedelta(days=1), "A day's compaction")
    # A day's changes more since the view, as appends.
    clone = shallow(remote, folder / "writer")
    own, talking = [], []
    rng = random.Random(1)
    more = 3000 // PER_CHANGE
    for number in range(changes, changes + more):
        begun = END + timedelta(minutes=number - changes)
        texts = {place_of(each): record_to_json(each) for each in records_of(number, begun)}
        with Stopwatch() as watch:
            assert append(Ledger(clone), texts, sleep=time.sleep, rng=rng)
        own.append(watch.own_s)
        talking.append(watch.talking_s)
    print(
        f"Append of {PER_CHANGE} records, median of {more}: {1000 * sorted(own)[more // 2]:.0f} ms "
        f"(worst {1000 * max(own):.0f}), and {1000 * sorted(talking)[more // 2]:.0f} ms of git "
        "fetch and push from a folder"
    )
    start_s = time.perf_counter()
    everything = folder / "everything"
    subprocess.run(["git", "clone", "-q", f"file://{remote}", str(everything)], check=True)
    clone_s = time.perf_counter() - start_s
    tip = "refs/remotes/origin/ailab-ledger"
    loose, parts = len(list_entries(everything, tip)), list_parts(everything, tip)
    print(
        f"Loose {loose}, archive of {len(parts)} parts; a clone of everything takes "
        f"{clone_s:.0f} s and {disk_mib(everything):.0f} MiB"
    )
    seen = plan_time(everything)
    print(
        f"Plan-time read: durations of {seen['expected']} scenarios {seen['expected_s']:.2f} s; "
        f"all {seen['since']} records since the view {seen['since_s']:.2f} s; "
        f"{seen['peak_mib']:.0f} MiB at the peak (view: {seen['view']}, skipped: {seen['skipped']})"
    )
    with Stopwatch() as watch:
        counts: Counter[Kind] = Counter()
        for record in read_all(everything, tip, Counter()):
            counts[record.kind] += 1
    print(
        f"All {sum(counts.values())} records read in {watch.own_s:.0f} s; "
        f"{peak_mib():.0f} MiB at the peak of all this"
    )
    with Stopwatch() as watch:
        write_view(
            Ledger(shallow(remote, folder / "viewer")),
            DURATIONS,
            build_durations,
            END + timedelta(days=1),
            sleep=time.sleep,
            rng=rng,
        )
    print(f"View of what came since: {watch.own_s:.1f} s and {watch.talking_s:.1f} s of git")


if __name__ == "__main__":
    main()
