"""Measures one scenario at any commit of a range, block by block, always beside the same GOOD one.

Commits stay checked out and set up while they are asked for again. Every block is on disk before
the next starts, in a file for each commit: whoever comes back reads them and goes on. Refuses to
decide which commit is worth a block.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.flows.measurement import Bench, TrialLog, run_block, warm_up
from ailab_bot.judge import pair_blocks
from ailab_bot.measure.environment import Environment, Source, compile_probe, prepare
from ailab_bot.measure.git import Repository
from ailab_bot.measure.machine import machine_class
from ailab_bot.measure.quiet import QuietGate, read_activity
from ailab_bot.measure.worktree import Workplace, cache_folder, open_workplace
from ailab_bot.model.noise import Noise
from ailab_bot.model.policy import Limits, Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import SeenBlock
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.wire import parse_trials
from ailab_bot.report.culprit import InOwnWords
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import clean

#: Commits that stay checked out; each holds two work trees.
MOST_OPEN = 8
#: So often a commit's blocks may fail before its first whole one.
_MOST_FAILURES = 2
#: So often one block may be spoilt by a busy machine before it counts all the same.
_MOST_DISTURBED = 5
#: Blocks in a row to which that happened: then the machine never gets quiet, and each is measured
#: once.
_MOST_RESTLESS = 3
#: Base, head, and the trials that compare them.
Keep = Callable[[str, str, Sequence[Trial]], None]


class CannotMeasureError(Exception):
    """This commit does not build, or does not run; another one may. The text says why."""


@dataclass(frozen=True)
class Work:
    """What is measured, where and how. `metric` is what the search is about."""

    repository: Repository
    good: str
    scenario: Scenario
    python: Environment
    policy: Policy
    noise: Noise
    seed: int
    cores: tuple[int, ...] = ()
    metric: str = ""

    @property
    def limits(self) -> Limits:
        return self.policy.limits(self.scenario.id, self.metric)


@dataclass
class _Open:
    bench: Bench
    stack: contextlib.ExitStack


def _keep_nothing(base: str, head: str, trials: Sequence[Trial]) -> None:
    """One's own folder is enough."""


@dataclass
class Stand:
    """`folder` holds the trials of each commit. To be used in a `with`: commits stay open. `keep`
    gets the trials of every block, too, with the commits that it compares."""

    work: Work
    folder: Path
    progress: Progress
    keep: Keep = _keep_nothing
    spent_s: float = 0.0
    logs: dict[str, TrialLog] = field(default_factory=dict)
    _open: OrderedDict[str, _Open] = field(default_factory=OrderedDict)
    _order: list[tuple[int, str, int]] = field(default_factory=list)
    _session: int = 1
    _opened_good: bool = False
    _restless: int = 0

    def __enter__(self) -> Stand:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._order = _read_order(self.folder / _ORDER)
        self._session = 1 + max((session for session, _, _ in self._order), default=0)
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.name == _DISCARDED:
                continue
            self.logs[path.stem] = TrialLog(path, read_trials(path), self.folder / _DISCARDED)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.popitem()[1].stack.close()

    def is_prepared(self, sha: str) -> bool:
        return sha in self._open

    def blocks(self, sha: str) -> tuple[SeenBlock, ...]:
        """Every whole block of the commit so far."""
        log = self.logs.get(sha)
        return blocks_of(sha, log.trials, self.work.metric) if log else ()

    def in_order(self) -> list[SeenBlock]:
        """All whole blocks as they ran; a machine is only the same one within a session."""
        sessions = {(sha, number): session for session, sha, number in self._order}
        places = {key: place for place, key in enumerate(sessions)}
        found: list[tuple[int, int, SeenBlock]] = []
        for sha, log in self.logs.items():
            for block in pair_blocks(log.trials):
                for seen in blocks_of(sha, (block.base, block.head), self.work.metric):
                    key = sha, block.index
                    machine = f"{sessions.get(key, 0)}: {seen.machine}"
                    rank = places.get(key, -1)
                    found.append((rank, len(found), replace(seen, machine=machine)))
        return [seen for _, _, seen in sorted(found, key=lambda row: row[:2])]

    def effects(self, sha: str) -> tuple[float, ...]:
        """log(commit / GOOD) of every whole block so far."""
        return tuple(math.log(each.value / each.good) for each in self.blocks(sha))

    def failed_blocks(self, sha: str) -> int:
        """Blocks in which the commit failed and GOOD did not."""
        log = self.logs.get(sha)
        failed: dict[Arm, set[int]] = {arm: set() for arm in Arm}
        for trial in log.trials if log else ():
            if trial.outcome is not Outcome.OK:
                failed[trial.arm].add(trial.block)
        return len(failed[Arm.HEAD] - failed[Arm.BASE])

    @property
    def trials(self) -> int:
        return sum(len(log.trials) for log in self.logs.values())

    def block(self, sha: str) -> float | None:
        """One more block of this commit, as log(commit / GOOD); None where a trial of it failed.

        CannotMeasureError where the commit does not run. UserError where GOOD does not.
        """
        started = time.monotonic()
        kept = len(self._log(sha).trials)
        try:
            bench = self._bench(sha)
            log = self._log(sha)
            before = len(self.effects(sha))
            number = _next_block(log)
            self._run(bench, log, number)
            effects = self.effects(sha)
            if len(effects) > before:
                self._note_order(sha, number)
                return effects[-1]
            self._give_up_on(log.trials)
            return None
        finally:
            self.spent_s += time.monotonic() - started
            if new := self._log(sha).trials[kept:]:
                self.keep(self.work.good, sha, new)

    def _run(self, bench: Bench, log: TrialLog, number: int) -> None:
        """Again while other work disturbs it, unless that never ends."""
        if self._restless < _MOST_RESTLESS:
            for _ in range(_MOST_DISTURBED):
                if run_block(bench, log, self.progress, number):
                    if bench.gate is None or bench.gate.disturbance is None:
                        self._restless = 0
                    return
            self._restless += 1
            if self._restless == _MOST_RESTLESS:
                self.progress.note(
                    f"the machine was not quiet for {_MOST_RESTLESS} blocks in a row: from here on "
                    "each is measured once, and it takes more of them to be certain"
                )
        if bench.gate is not None:
            bench.gate.hurry()
        run_block(bench, log, self.progress, number)

    def _note_order(self, sha: str, number: int) -> None:
        self._order.append((self._session, sha, number))
        with (self.folder / _ORDER).open("a", encoding="ascii") as file:
            file.write(f"{self._session} {sha} {number}\n")

    @property
    def _good_runs(self) -> bool:
        return any(
            trial.arm is Arm.BASE and trial.outcome is Outcome.OK
            for log in self.logs.values()
            for trial in log.trials
        )

    def _log(self, sha: str) -> TrialLog:
        if sha not in self.logs:
            self.logs[sha] = TrialLog(self.folder / f"{sha}.jsonl", [], self.folder / _DISCARDED)
        return self.logs[sha]

    def _bench(self, sha: str) -> Bench:
        if sha in self._open:
            self._open.move_to_end(sha)
            return self._open[sha].bench
        while len(self._open) >= MOST_OPEN:
            self._open.popitem(last=False)[1].stack.close()
        with contextlib.ExitStack() as stack:
            bench = self._prepared(sha, stack)
            log = self._log(sha)
            warm = TrialLog(self.folder / _DISCARDED)
            if warm_up(bench, warm, self._own_words(sha)):
                number = _next_block(log)  # block 0 may be there from before
                for trial in warm.trials:
                    log.append(replace(trial, block=number))
                self._give_up_on(log.trials)
            self._open[sha] = _Open(bench, stack.pop_all())
        return bench

    def _prepared(self, sha: str, stack: contextlib.ExitStack) -> Bench:
        work = self.work
        shas = {Arm.BASE: work.good, Arm.HEAD: sha}
        place = self._workplace(shas, stack)
        environments = {}
        for arm in (Arm.BASE, Arm.HEAD):
            self._own_words(sha).activity(work.scenario.id, f"preparing {arm.value}")
            source = Source(work.repository, shas[arm], place.checkout(arm))
            try:
                environments[arm] = prepare(work.scenario, source, work.python, cache_folder())
            except UserError as error:
                if arm is Arm.BASE:
                    raise
                raise CannotMeasureError(f"its set-up fails: {error.what}") from error
            with contextlib.suppress(OSError):
                compile_probe(place.probe, environments[arm].python)
        gate = QuietGate(work.noise, work.policy.max_blocks, read=lambda: read_activity(work.cores))
        return Bench(
            work.scenario, environments, place, work.seed, work.policy, 1, None, work.cores,
            work.noise.threads, gate, machine_class(), until_known=False,
        )  # fmt: skip

    def _own_words(self, sha: str) -> Progress:
        return InOwnWords(self.progress, sha[:9], lasting=bool(self.work.scenario.setup))

    def _workplace(self, shas: Mapping[Arm, str], stack: contextlib.ExitStack) -> Workplace:
        """CannotMeasureError where the commit cannot be checked out and GOOD could."""
        try:
            place = stack.enter_context(open_workplace(self.work.repository, dict(shas)))
        except RunnerError as error:
            if not self._opened_good:
                raise
            raise CannotMeasureError(f"it cannot be checked out: {clean(error.what)}") from error
        self._opened_good = True
        return place

    def _give_up_on(self, trials: Sequence[Trial]) -> None:
        """Ends what keeps failing: the search where it is GOOD, otherwise this commit."""
        for arm in (Arm.BASE, Arm.HEAD):
            failed = [trial for trial in trials if trial.arm is arm]
            if len(failed) < _MOST_FAILURES or any(t.outcome is Outcome.OK for t in failed):
                continue
            why = _why(failed[-1])
            if arm is Arm.HEAD:
                raise CannotMeasureError(f"it does not run: {why}")
            if self._good_runs:
                continue  # beside another commit it did
            raise UserError(
                f"`{self.work.scenario.id}` does not run at GOOD ({self.work.good[:12]})",
                why=f"{why}.",
                advice=_advice(failed[-1]),
            )


_DISCARDED, _ORDER = "discarded.jsonl", "order.txt"


def _next_block(log: TrialLog) -> int:
    return 1 + max((trial.block for trial in log.trials), default=-1)


def _read_order(path: Path) -> list[tuple[int, str, int]]:
    """Session, commit and block of each line; what is damaged is as if it were not there."""
    if not path.exists():
        return []
    rows = [line.split() for line in path.read_text("ascii", "replace").splitlines()]
    return [
        (int(row[0]), row[1], int(row[2]))
        for row in rows
        if len(row) == 3 and row[0].isdecimal() and row[2].isdecimal()
    ]


def _advice(trial: Trial) -> str:
    if trial.failure is not None and trial.failure.reason.startswith("cannot start"):
        return trial.failure.advice
    return (
        "Take a GOOD commit at which it runs, or name a --python (or a `setup` in the scenario) "
        "that has what it needs: the scenario is read from the work tree, the code from the commit."
    )


def _why(trial: Trial) -> str:
    if trial.failure is None:
        return trial.outcome.value
    last = trial.failure.output_tail[-1:]
    return ": ".join([trial.failure.reason, *(clean(line, 200) for line in last)])


def blocks_of(sha: str, trials: Sequence[Trial], metric: str) -> tuple[SeenBlock, ...]:
    found = []
    for block in pair_blocks(trials):
        base, head = block.base.metrics.get(metric), block.head.metrics.get(metric)
        if base and head and base > 0 and head > 0:
            found.append(SeenBlock(sha, base, head, block.head.machine))
    return tuple(found)


def read_trials(path: Path) -> list[Trial]:
    """What an earlier run wrote. A line that was cut off in writing is none, and goes."""
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        return parse_trials(whole.decode("utf-8").splitlines(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(
            f"the trials of an earlier run cannot be read: {path}",
            why=str(error),
            advice="Start anew, without --resume.",
        ) from error
