"""Selection on histories of real repositories: who is found at which cost, and what is proved.

    python bench/selection_real.py [REPO ...] [--level 0.01] [--footprints fresh|nightly]
    python bench/selection_real.py REPO --clone DIR       (relates anew; see histories/derive.py)

`bench/histories/` holds what its scenarios did at 240 consecutive commits of each repository. A
scenario is affected by a commit if one of its counts (calls, modules, files, bytes read) differs
from the commit before by `--level`. The first half of each history is the past that is learned
from, the second half is what the figures are about. History becomes known every 20 commits, as
nightly runs would tell it. Budgets are parts of what measuring every pair of the second half costs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent / "histories"))

from derive import NIGHTLY, Commit, Told, derive, read_commits
from stored import HERE, History, moved_by, names, read_history

from ailab_bot.model.learned import Learned
from ailab_bot.plan.examples import Example
from ailab_bot.plan.features import Features, Surroundings, rows_of
from ailab_bot.plan.learn import fitted, learn
from ailab_bot.plan.past import Outcome, Past
from ailab_bot.plan.predict import predict
from ailab_bot.plan.relation import Finding, Relation
from ailab_bot.stats.calibrate_probability import bins_of, brier

Array = NDArray[np.float64]

#: Methods that say probabilities.
PROBABLE = ("ours, cold", "ours, cold + history", "ours, learned", "learned, in any case")
BUDGETS = (0.10, 0.25, 0.50)
LEVELS = (0.001, 0.01, 0.05)
#: Orders of pairs that a method ranks alike are drawn so often, and the recall averaged.
SHUFFLES = 50
_DAY_ZERO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A change and a scenario. `moved_by`: the largest relative change of any count; `other`:
    whether the signature differs at all. `cold` has no history; `overlap` are changed files used;
    `rate` is what history alone says."""

    repo: str
    number: int
    sha: str
    scenario: str
    cost_s: float
    moved_by: float
    other: bool
    finding: Finding
    cold: Features
    warm: Features
    overlap: int
    rate: float

    @property
    def proved(self) -> bool:
        return self.finding.relation.is_proof


def costs_of(history: History) -> dict[str, float]:
    """Seconds to the first batch, unrecorded: the median over the commits where it was timed."""
    timed: dict[str, list[float]] = {}
    for row in history.rows.values():
        for name, each in row.items():
            if each.ttfb_s:
                timed.setdefault(name, []).append(each.ttfb_s)
    return {name: median(each) for name, each in timed.items()}


def pairs_of(
    history: History,
    commits: Sequence[Commit],
    level: float,
    kind: str = "fresh",
    *,
    calls_alone: bool = False,
) -> list[Pair]:
    """All pairs with a truth, in time's order."""
    costs = costs_of(history)
    past, rates = Past(), Rates()
    waiting: list[tuple[Outcome, tuple[str, ...]]] = []
    found: list[Pair] = []
    for number, commit in enumerate(commits, 1):
        if number % NIGHTLY == 1:
            past = past.with_outcomes([outcome for outcome, _ in waiting])
            rates.learn(waiting)
            waiting = []
        told: Told = getattr(commit, kind)
        findings = told.findings
        around = Surroundings(loads=_loads(history, commit.parent), expected=told.expected)
        cold = rows_of(commit.facts, findings, Past(), commit.when, around)
        warm = rows_of(commit.facts, findings, past, commit.when, around)
        for name in history.scenarios:
            base, head = (history.signature(sha, name) for sha in (commit.parent, commit.sha))
            known = commit.parent if kind == "fresh" else history.commits[night(number)]
            footprint = history.footprint(known, name)
            if base is None or head is None or footprint is None:
                continue
            by, paths = moved_by(base, head, calls_alone=calls_alone), commit.facts.paths
            found.append(
                Pair(
                    history.repo, number, commit.sha, name, costs[name], by, base != head,
                    findings[name], cold[name], warm[name],
                    sum(path in footprint.files for path in paths), rates.of(paths, name),
                )
            )  # fmt: skip
            touching = tuple({touch.path for touch in findings[name].touches})
            outcome = Outcome(commit.sha, commit.when, touching, name, by >= level, costs[name])
            waiting.append((outcome, paths))
    return found


def night(number: int) -> int:
    """The place of the commit whose footprints are the latest that a nightly run has recorded."""
    return (number - 1) // NIGHTLY * NIGHTLY


class Rates:
    """The peer that knows history alone: how often a scenario moved when these files changed."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], tuple[int, int]] = {}
        self.scenarios: dict[str, tuple[int, int]] = {}

    def learn(self, outcomes: Iterable[tuple[Outcome, tuple[str, ...]]]) -> None:
        for outcome, paths in outcomes:
            name, moved = outcome.scenario, outcome.moved
            keys = [(path, name) for path in paths]
            self.pairs.update((key, _plus(self.pairs.get(key), moved)) for key in keys)
            self.scenarios[name] = _plus(self.scenarios.get(name), moved)

    def of(self, paths: Iterable[str], name: str) -> float:
        """The highest rate of any file, drawn towards the scenario's own."""
        moved, times = self.scenarios.get(name, (0, 0))
        usual = (moved + 0.02) / (times + 1)
        counts = [self.pairs.get((path, name), (0, 0)) for path in paths]
        return max(((moved + usual) / (times + 1) for moved, times in counts), default=usual)


def _plus(count: tuple[int, int] | None, moved: bool) -> tuple[int, int]:
    before, times = count or (0, 0)
    return before + moved, times + 1


def _loads(history: History, sha: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in history.scenarios:
        footprint = history.footprint(sha, name)
        for module in footprint.modules if footprint else ():
            if "." not in module:
                found.setdefault(module, set()).add(name)
    return found


# --- methods -----------------------------------------------------------------------------------


def examples(past: Sequence[Pair], level: float) -> list[Example]:
    """What `ailab train` learns from."""
    return [
        Example(
            _DAY_ZERO + timedelta(days=each.number), f"{each.repo} {each.sha}", each.scenario,
            each.warm, each.moved_by >= level, each.cost_s,
        )
        for each in past
    ]  # fmt: skip


def recall(scores: Array, moved: Array, costs: Array, budget: float, seed: int = 1) -> float:
    """Part of the affected pairs among those taken by score for each second, while `budget` of
    all cost lasts. Expected over the orders of pairs that score the same."""
    random = np.random.default_rng(seed)
    worth = np.round(scores / costs, 9)
    found = []
    for _ in range(SHUFFLES):
        order = np.lexsort((random.random(len(worth)), -worth))
        taken = order[np.cumsum(costs[order]) <= budget * costs.sum() * (1 + 1e-12)]
        found.append(moved[taken].sum() / max(moved.sum(), 1))
    return float(np.mean(found))


def recall_by_change(
    scores: Array, moved: Array, costs: Array, changes: Sequence[object], budget: float
) -> float:
    """The same where every change may spend `budget` of what all of its scenarios cost."""
    places: dict[object, list[int]] = {}
    for place, change in enumerate(changes):
        places.setdefault(change, []).append(place)
    found = 0.0
    for rows in places.values():
        if moved[rows].any():
            found += recall(scores[rows], moved[rows], costs[rows], budget) * moved[rows].sum()
    return float(found / max(moved.sum(), 1))


def recall_by_limit(
    past: tuple[Array, Array], scores: Array, moved: Array, costs: Array, budget: float
) -> tuple[float, float]:
    """Recall and cost where all is taken that is worth more for each second than a limit under
    which `budget` of the past would have been spent. `past`: scores and costs."""
    random = np.random.default_rng(1)
    found, spent = [], []
    for _ in range(SHUFFLES):
        # What scores the same is taken in part, by lot.
        before, now = (_worth(*each, random) for each in (past, (scores, costs)))
        order = np.argsort(-before)
        inside = np.cumsum(past[1][order]) <= budget * past[1].sum()
        limit = before[order][inside].min(initial=np.inf)
        taken = now >= limit
        found.append(moved[taken].sum() / max(moved.sum(), 1))
        spent.append(costs[taken].sum() / costs.sum())
    return float(np.mean(found)), float(np.mean(spent))


def _worth(scores: Array, costs: Array, random: np.random.Generator) -> Array:
    return np.asarray(np.round(scores / costs, 9) + 1e-10 * random.random(len(scores)))


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """Both halves of one history, with the scores of each method."""

    past: tuple[Pair, ...]
    future: tuple[Pair, ...]
    past_scores: Mapping[str, Array]
    scores: Mapping[str, Array]

    def moved(self, level: float) -> Array:
        return np.array([float(each.moved_by >= level) for each in self.future])


def costs(pairs: Sequence[Pair]) -> Array:
    return np.array([each.cost_s for each in pairs])


def scored(
    past: Sequence[Pair], future: Sequence[Pair], everyone: Sequence[Pair], level: float
) -> Scored:
    """`everyone`: the first halves of all histories, which a model is learned from in any case:
    alone they have too few affected pairs, and `ailab train` asks besides whether it is better."""
    model, _ = learn(examples(past, level))
    shared = fitted(examples(everyone, level))
    both = [_scores(pairs, model, shared, level) for pairs in (past, future)]
    return Scored(tuple(past), tuple(future), *both)


def _scores(
    pairs: Sequence[Pair],
    model: Learned | None,
    shared: Learned | None,
    level: float,
) -> dict[str, Array]:
    cold = [each.cold for each in pairs]
    warm = [each.warm for each in pairs]
    scores = {
        "random": [0.0] * len(pairs),
        "path overlap": [float(each.overlap) for each in pairs],
        "history only": [each.rate for each in pairs],
        "ours, cold": predict(cold),
        "ours, cold + history": predict(warm),
        "ours, learned": predict(warm, model),
        "learned, in any case": predict(warm, shared),
        "oracle": [each.moved_by >= level for each in pairs],
    }
    return {name: np.array(each, dtype=np.float64) for name, each in scores.items()}


def print_recall(halves: Sequence[Scored], level: float) -> None:
    """Each history has its own budget; affected pairs are pooled."""
    heads = "".join(f"{budget:>7.0%}" for budget in BUDGETS)
    print(
        f"{'recall at a cost of':24}{heads} | limit set on the past: recall (what it cost)", end=""
    )
    print(f"{'':9}| each change:{heads}")
    total = max(sum(each.moved(level).sum() for each in halves), 1)
    for name in halves[0].scores:
        ranked, limited, changed = [], [], []
        for budget in BUDGETS:
            found, spent = np.zeros(3), 0.0
            for each in halves:
                moved, seconds = each.moved(level), costs(each.future)
                arguments = (each.scores[name], moved, seconds)
                past = (each.past_scores[name], costs(each.past))
                limit, cost = recall_by_limit(past, *arguments, budget)
                numbers = [pair.number for pair in each.future]
                every = recall_by_change(*arguments, numbers, budget)
                found += np.array([recall(*arguments, budget), limit, every]) * moved.sum()
                spent += cost / len(halves)
            found /= total
            ranked.append(f"{found[0]:7.1%}")
            limited.append(f"{found[1]:7.1%} ({spent:5.1%})")
            changed.append(f"{found[2]:7.1%}")
        print(f"{name:24}{''.join(ranked)} |{''.join(limited)}{'':8}|{'':13}{''.join(changed)}")


def print_brier(futures: Sequence[Scored], level: float, table: bool) -> None:
    moved = np.concatenate([each.moved(level) for each in futures])
    rate = moved.mean()
    print(f"Brier score: always the rate ({rate:.2%}) {rate * (1 - rate):.5f}", end="")
    for name in PROBABLE:
        said = np.concatenate([each.scores[name] for each in futures])
        print(f"; {name} {brier(said, moved):.5f}", end="")
    print()
    if table:
        for name in ("ours, cold", "learned, in any case"):
            print(f"calibration, {name}: said up to, pairs, mean said, happened")
            said = np.concatenate([each.scores[name] for each in futures])
            for row in bins_of(said, moved):
                print(f"  {row.high:6.3f} {row.count:6d} {row.said:8.4f} {row.happened:8.4f}")


def print_proofs(pairs: Sequence[Pair]) -> None:
    changes: dict[tuple[str, str], list[Pair]] = {}
    for each in pairs:
        changes.setdefault((each.repo, each.sha), []).append(each)
    skipped = [each for each in changes.values() if all(pair.proved for pair in each)]
    missed = sum(any(pair.other for pair in each) for each in skipped)
    proved = [each for each in pairs if each.proved]
    wrong = [each for each in proved if each.other]
    print(
        f"Everything soundly skipped: {len(skipped)} of {len(changes)} changes "
        f"({len(skipped) / len(changes):.1%}), with any difference missed: {missed}"
    )
    kinds = {kind.value: sum(each.finding.relation is kind for each in pairs) for kind in Relation}
    print(f"Pairs by relation: {kinds}; proved {len(proved) / len(pairs):.1%}, wrong: {len(wrong)}")
    for each in wrong[:20]:
        print(
            f"  VIOLATION {each.repo} {each.sha[:12]} {each.scenario}: {each.finding.relation} "
            f"({each.finding.reason}), moved by {each.moved_by:.4%}"
        )


def print_truth(history: History, pairs: Sequence[Pair]) -> None:
    ran = [each for row in history.rows.values() for each in row.values()]
    again = [
        (row.footprint.signature, row.again)
        for row in ran
        if row.again is not None and row.footprint and row.footprint.signature
    ]
    print(
        f"{len(history.commits) - 1} commits, {len(history.scenarios)} scenarios, "
        f"{sum(each.ran for each in ran)} recorded runs "
        f"({sum(each.ran and each.footprint is None for each in ran)} failed), "
        f"{sum(not each.ran for each in ran)} not run as nothing of use changed; recorded twice "
        f"{len(again)}, of these different {sum(one != two for one, two in again)}"
    )
    print(
        f"{len(pairs)} pairs with a truth; any difference {sum(each.other for each in pairs)}"
        + "".join(
            f", by {level:.1%} or more {sum(each.moved_by >= level for each in pairs)}"
            for level in LEVELS
        )
    )


@dataclass(frozen=True)
class Timing:
    """An effect, log(head/base): the middle one of the blocks' differences. Interval: the second
    smallest and largest of nine, which hold the middle one 24 of 25 times."""

    kind: str
    effect: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        return self.low > 0 or self.high < 0


def timing_of(row: Mapping[str, Any]) -> Timing | None:
    """In CPU seconds up to the first batch; None without trials. These scenarios never wait, and
    on a machine with ten others at work what they took by the clock is mostly the others' doing:
    unchanged pairs spread twice to ten times as much by it."""
    if not row["trials"]:
        return None
    base, head = (np.log([cpu_s for _, _, cpu_s in arm]) for arm in row["trials"])
    differences = np.sort(head - base)
    effect = float(np.median(differences))
    return Timing(row["kind"], effect, float(differences[1]), float(differences[-2]))


def print_timings(histories: Mapping[str, History]) -> None:
    rows: list[dict[str, Any]] = []
    moves: list[tuple[float, float]] = []
    for repo, history in histories.items():
        file = HERE / repo / "timings.jsonl"
        mine = [json.loads(line) for line in file.open()] if file.exists() else []
        rows += mine
        for row in mine:
            timing = timing_of(row)
            base, head = (history.signature(row[at], row["scenario"]) for at in ("parent", "sha"))
            if timing and base and head:
                calls = [each.calls + each.builtin_calls for each in (base, head)]
                moves.append((float(np.log(calls[1] / calls[0])), timing.effect))
    timings = [each for each in map(timing_of, rows) if each is not None]
    print("\n## Timed pairs")
    for kind in ("changed", "same"):
        mine = [each for each in timings if each.kind == kind]
        if not mine:
            continue
        sizes = np.array([abs(each.effect) for each in mine])
        cells = [
            f"at least {least:.0%} {sum(t.is_real and abs(t.effect) >= least for t in mine)}"
            for least in (0.0, 0.01, 0.02, 0.05)
        ]
        print(
            f"{kind:8} {len(mine)} pairs; interval without 0 and effect {', '.join(cells)}; "
            f"middle effect {np.median(sizes):.1%}, nine of ten below {np.quantile(sizes, 0.9):.1%}"
        )
    if moves:
        grown, effects = np.array(moves).T
        slope = float(grown @ effects / (grown @ grown))
        print(
            f"Over all {len(moves)}: correlation of calls and CPU time "
            f"{np.corrcoef(grown, effects)[0, 1]:.2f}; 1 % more calls are {slope:.2f} % more time"
        )


def evaluate(
    histories: Mapping[str, tuple[History, Sequence[Commit]]],
    level: float,
    kind: str,
    *,
    calls_alone: bool = False,
) -> None:
    every = {
        repo: pairs_of(history, commits, level, kind, calls_alone=calls_alone)
        for repo, (history, commits) in histories.items()
    }
    middles = {repo: (len(histories[repo][1]) + 1) // 2 for repo in every}
    past = {r: [each for each in ps if each.number <= middles[r]] for r, ps in every.items()}
    later = {r: [each for each in ps if each.number > middles[r]] for r, ps in every.items()}
    everyone = [each for pairs in past.values() for each in pairs]
    halves = {repo: scored(past[repo], later[repo], everyone, level) for repo in every}
    for repo, half in halves.items():
        print(f"\n## {repo}")
        print_truth(histories[repo][0], every[repo])
        print_proofs(every[repo])
        before = sum(each.moved_by >= level for each in past[repo])
        print(
            f"Affected in the first half: {before}, in the second {half.moved(level).sum():.0f} "
            f"of {len(half.future)} pairs"
        )
        print_recall([half], level)
        print_brier([half], level, table=False)
    if len(halves) > 1:
        print("\n## all")
        print_proofs([each for pairs in every.values() for each in pairs])
        print_recall([*halves.values()], level)
        print_brier([*halves.values()], level, table=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("repos", nargs="*", help="folders of bench/histories; all by default")
    parser.add_argument("--level", type=float, default=0.01, help="smallest relevant change")
    parser.add_argument("--footprints", choices=("fresh", "nightly"), default="fresh")
    parser.add_argument("--calls-alone", action="store_true", help="no files, bytes, modules")
    parser.add_argument("--clone", type=Path, help="of the one repository named: relate anew")
    options = parser.parse_args(arguments)
    histories: dict[str, tuple[History, Sequence[Commit]]] = {}
    for repo in options.repos or names():
        history = read_history(repo)
        anew = options.clone is not None
        histories[repo] = (
            history,
            [*derive(history, options.clone)] if anew else read_commits(repo),
        )
    alone = options.calls_alone
    evaluate(histories, options.level, options.footprints, calls_alone=alone)
    print_timings({repo: history for repo, (history, _) in histories.items()})


if __name__ == "__main__":
    main()
