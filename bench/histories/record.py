"""Runs the scenarios of one public repository at each commit of its history, recorded.

    python bench/histories/record.py record REPO --clone DIR --python PYTHON --raw FILE
    python bench/histories/record.py pack REPO --raw FILE

REPO is a folder beside this file: its scenarios, and `repository.json`, which says where the
repository is had from, which commits, and what to install for PYTHON. The clone's work tree is
this program's while it runs. Interrupted, it goes on where it was. One process at a time.

What other projects wrote is neither copied nor kept: only what their code did.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footprints import apply, difference, signature_row, to_row

from ailab_bot.measure.execute import Launch, execute
from ailab_bot.measure.footprint import installed_distributions, read_footprint
from ailab_bot.measure.opens import watch_opens
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode

HERE = Path(__file__).parent
#: Every so many commits each scenario is recorded twice, and timed without recording.
REPEAT_EVERY = 24
TIMEOUT_S = 60.0
#: Paths that no scenario here can use. A commit that changes nothing else is not run, but for
#: one in `VERIFY_EVERY` of its scenarios: it has the last row, marked `same`. That spares half
#: of the runs; what it might hide would show as a change of the next commit that is run.
_IDLE = re.compile(
    r"(.*/)?(docs?|tests?|news|\.github|\.circleci)/.*|[^/]*\.(md|rst|txt|toml|cfg|ini|ya?ml)"
    r"|\.[^/]*|LICENSE|DISCLAIMER|MANIFEST\.in|noxfile\.py|bin/.*|py\.Dockerfile"
)
VERIFY_EVERY = 5


@dataclass(frozen=True)
class Repository:
    """One folder beside this file."""

    name: str
    head: str
    commits: int

    @property
    def scenarios(self) -> list[Path]:
        return sorted((HERE / self.name).glob("*.py"))


def repository(name: str) -> Repository:
    found = json.loads((HERE / name / "repository.json").read_text())
    return Repository(name, found["head"], found["commits"])


def git(clone: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(clone), *words], check=True, capture_output=True, text=True
    ).stdout


def history(clone: Path, repo: Repository) -> list[str]:
    """First parents, oldest first; one more than `commits`, as the first has no truth."""
    count = str(repo.commits + 1)
    return git(clone, "rev-list", "--first-parent", "-n", count, repo.head).split()[::-1]


def check_out(clone: Path, sha: str) -> None:
    git(clone, "checkout", "-q", "--force", "--detach", sha)
    git(clone, "clean", "-q", "-fdx")


def is_idle(clone: Path, old: str, new: str) -> bool:
    names = git(clone, "diff-tree", "-r", "--no-renames", "--name-only", "-z", old, new)
    return all(_IDLE.fullmatch(path) for path in names.split("\0") if path)


def environment(clone: Path, python: str) -> dict[str, str]:
    """Warnings are off: the old code meets newer interpreters, and a warning reads its source."""
    # Fixed, as every variable that is there or not costs calls at Python's start.
    env = {"HOME": "/tmp", "LANG": "C.UTF-8"}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **env,
        **one,
        "PATH": f"{Path(python).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(clone),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
        "CI": "1",
    }


def launch(script: Path, clone: Path, python: str, scratch: Path, footprint: Path | None) -> Launch:
    return Launch(
        command=(python, str(script)),
        cwd=clone,
        env=environment(clone, python),
        first_batch=FirstBatch(FirstBatchMode.API),
        timeout_s=TIMEOUT_S,
        scratch=scratch,
        footprint=footprint,
    )


def run_recorded(script: Path, clone: Path, python: str, sha: str) -> dict[str, Any]:
    """One row: the signature and the whole footprint, or why there is none."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "footprint")
        folder.mkdir()
        with watch_opens(clone) as opens:
            done = execute(launch(script, clone, python, Path(name), folder))
        footprint = read_footprint(
            folder,
            opens,
            scenario=script.stem,
            sha=sha,
            trainer=done.trainer,
            distributions=installed_distributions(python),
        )
    row: dict[str, Any] = {
        "sha": sha, "scenario": script.stem, "outcome": done.outcome.value,
        "wall_s": round(time.monotonic() - started, 3),
    }  # fmt: skip
    if done.failure is not None or footprint is None:
        row["why"] = (
            [done.failure.reason, *done.failure.output_tail[-1:]]
            if done.failure
            else ["no footprint"]
        )
    else:
        row["signature"] = signature_row(footprint.signature)
        row["footprint"] = to_row(footprint)
    return row


def run_plain(script: Path, clone: Path, python: str) -> float | None:
    with tempfile.TemporaryDirectory() as name:
        return execute(launch(script, clone, python, Path(name), None)).metrics.get("ttfb_s")


def record(repo: Repository, clone: Path, python: str, raw: Path) -> None:
    done = {(row["sha"], row["scenario"]) for row in rows(raw)}
    commits = history(clone, repo)
    with raw.open("a") as file:
        for number, sha in enumerate(commits):
            left = [path for path in repo.scenarios if (sha, path.stem) not in done]
            if not left:
                continue
            check_out(clone, sha)
            idle = number > 0 and number % REPEAT_EVERY and is_idle(clone, commits[number - 1], sha)
            for script in left:
                chosen = zlib.crc32(f"{sha} {script.stem}".encode()) % VERIFY_EVERY == 0
                if idle and not chosen:
                    row = {"sha": sha, "scenario": script.stem, "same": True}
                    file.write(json.dumps(row, separators=(",", ":")) + "\n")
                    continue
                row = run_recorded(script, clone, python, sha)
                if number % REPEAT_EVERY == 0 and "signature" in row:
                    row["again"] = run_recorded(script, clone, python, sha).get("signature")
                    row["ttfb_s"] = run_plain(script, clone, python)
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
                file.flush()
            print(f"{repo.name} {number}/{len(commits) - 1} {sha[:10]}", flush=True)


def rows(raw: Path) -> Iterator[dict[str, Any]]:
    if raw.exists():
        with raw.open() as file:
            yield from (json.loads(line) for line in file if line.endswith("\n"))


def pack(found: Iterable[dict[str, Any]], target: Path) -> None:
    """One line for each commit and scenario; of the footprint what differs from the last one."""
    last: dict[str, dict[str, Any]] = {}
    # Without a date in it, the same data give the same file.
    with target.open("wb") as plain, gzip.GzipFile("", "wb", 9, plain, mtime=0) as file:
        for row in found:
            kept = {key: value for key, value in row.items() if key not in ("footprint", "wall_s")}
            if "footprint" in row:
                before = last.get(row["scenario"], {})
                kept["moved"] = difference(before, row["footprint"])
                last[row["scenario"]] = row["footprint"]
                assert apply(before, kept["moved"]) == row["footprint"]
            file.write(json.dumps(kept, separators=(",", ":")).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("verb", choices=("record", "pack"))
    parser.add_argument("repo")
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--python")
    parser.add_argument("--raw", type=Path, required=True)
    options = parser.parse_args()
    repo = repository(options.repo)
    if options.verb == "record":
        record(repo, options.clone.resolve(), options.python, options.raw)
    else:
        wanted = {path.stem for path in repo.scenarios}
        found = (row for row in rows(options.raw) if row["scenario"] in wanted)
        pack(found, HERE / repo.name / "footprints.jsonl.gz")


if __name__ == "__main__":
    main()
