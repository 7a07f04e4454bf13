"""What it costs to relate a large change to many footprints.

python bench/planner_scale.py [--scenarios 10000] [--files 5000] [--runs 5]

Scenarios share 200 files each of a repository of 8,000; 60 files of the change are compared as
code. Also the worst: every changed file is one that somebody used.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ailab_bot.model.change import Change, ChangedFile, ChangeKind
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.plan.index import FootprintIndex
from ailab_bot.plan.relate import blobs_wanted, relate

PATHS = 8_000
USED_BY_ONE = 200
T = TypeVar("T")


def footprints(number: int) -> list[Footprint]:
    """Scenarios of one team share most of their files; each has its own script and data."""
    chance = random.Random(1)
    paths = [f"src/team{each % 40}/part{each % 7}/module{each}.py" for each in range(PATHS)]
    teams = [chance.sample(paths[: PATHS // 2], USED_BY_ONE + 40) for _ in range(40)]
    # Shares of one function differ from scenario to scenario, but not without end.
    variants = {
        path: [
            {
                name: Executed(
                    1 if chance.random() < 0.5 else round(chance.paretovariate(0.7)),
                    chance.random() / 100 if chance.random() < 0.1 else 0.0,
                )
                for name in ("<module>", "Model", "Model.forward", "build")
            }
            for _ in range(5)
        ]
        for path in paths
    }
    found = []
    for scenario in range(number):
        used = chance.sample(teams[scenario % 40], USED_BY_ONE)
        functions = {path: chance.choice(variants[path]) for path in used}
        files = {path: frozenset({Use.IMPORTED}) for path in used}
        files[f"scenarios/{scenario}/train.py"] = frozenset({Use.IMPORTED})
        files[f"data/{scenario % 90}.csv"] = frozenset({Use.OPENED})
        found.append(
            Footprint(
                f"s{scenario}", "a" * 40, "3.11.7", files,
                folders=frozenset({f"data/{scenario % 90}"}),
                missing=frozenset({f"configs/{scenario % 300}.yaml"}),
                search=("", "src"),
                modules=frozenset({f"m{each}" for each in range(300)}),
                functions=functions,
                distributions={f"d{each}": "1" for each in range(60)},
                signature=Signature(300, 800_000, 700_000, 200, 1 << 20, 0, "s"),
            )
        )  # fmt: skip
    return found


def change(files: int, used: bool) -> tuple[Change, dict[str, bytes]]:
    sources = {
        "old": b"def build():\n    return 1\n\n\ndef unused():\n    return 1\n",
        "new": b"def build():\n    return 2\n\n\ndef unused():\n    return 1\n",
        "idle": b"def build():\n    return 1\n\n\ndef unused():\n    return 2\n",
    }
    found = []
    for each in range(files):
        number = each if used else PATHS // 2 + each % (PATHS // 2) if each >= 60 else each
        path = f"src/team{number % 40}/part{number % 7}/module{number}.py"
        if each % 10 == 9:
            found.append(
                ChangedFile(f"src/new/{each}.py", ChangeKind.ADDED, new_mode="100644", new_blob="n")
            )
            continue
        blobs = ("old", ("new", "idle")[each % 2]) if each < 60 else (f"o{each}", f"n{each}")
        found.append(
            ChangedFile(path, ChangeKind.MODIFIED, "", "100644", "100644", blobs[0], blobs[1])
        )
    return Change("a" * 40, "b" * 40, tuple(found)), sources


def timed(what: str, runs: int, work: Callable[[], T]) -> T:
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:44} {statistics.median(seconds):8.3f} CPU s   peak so far {peak:6.0f} MB")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    every = footprints(given.scenarios)
    some = every[:64]
    index = timed("of(footprints)", 1, partial(FootprintIndex.of, every))
    del every
    text = timed("to_json", given.runs, index.to_json)
    print(f"{'':44} {len(text) / 1e6:8.1f} MB of JSON")
    index = timed("from_json", given.runs, lambda: FootprintIndex.from_json(text))
    timed("updated(64 footprints)", given.runs, lambda: index.updated(some))
    relate_all(index, given.files, given.runs, used=False)
    relate_all(index, given.files, given.runs, used=True)


def relate_all(index: FootprintIndex, files: int, runs: int, *, used: bool) -> None:
    names = list(index.scenarios)
    folders = {name: f"scenarios/{name[1:]}" for name in names}
    delta, sources = change(files, used)
    print(f"-- {'every file is used' if used else 'most is not used'}: {len(delta.files)} files")
    wanted = timed("blobs_wanted", runs, lambda: blobs_wanted(delta, index))
    found = timed("relate", runs, lambda: relate(delta, sources, index, names, folders))
    kinds = [each.relation for each in found.values()]
    told = ", ".join(f"{kind} {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
    print(f"   {len(wanted)} blobs; {told}")


if __name__ == "__main__":
    main()
