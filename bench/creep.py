"""How often steps are seen where there are none, and how often those that are there are.

    python bench/creep.py [--series 4000] [--nights 60] [--seed 1] [--only null|power|creep]
        [--lengths 60 …]

`null`: points that never moved, in series of several lengths, noises and mistakes about the noise;
the penalty of `stats/steps.py` is tuned with it. `power`: one step, and several small ones, in
units of a point's error. `creep`: 60 nights, each an A/B by the shipped rule against one baseline,
on recorded noise; the code becomes slower at nights 15, 30 and 45, by less than a verdict says:
what verdicts against the night before say, those against the baseline, and the series.

The defaults take about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from replay import sources, with_effect

from ailab_bot.flows.creep import sd_of
from ailab_bot.model.policy import Policy
from ailab_bot.stats.sequential import Decision, Direction, Rule, Sample, decide
from ailab_bot.stats.steps import PENALTY, StepAt, find_steps

Array = NDArray[np.float64]

LENGTHS = (8, 12, 20, 40, 60, 120)
NOISES = ("normal", "t4", "t3")
#: Stated errors in units of the true ones.
MISTAKES = (0.5, 1.0, 2.0)
#: How much the true error differs from night to night, and the stated from the true (log sd).
_ROUGH = 0.25
#: Steps by name: night of 60 -> size in units of a point's error.
STEPS = {
    "1 sd at night 30": {30: 1.0},
    "1.5 sd at night 30": {30: 1.5},
    "2 sd at night 30": {30: 2.0},
    "1.5 sd at night 50": {50: 1.5},
    "3 x 1 sd": {15: 1.0, 30: 1.0, 45: 1.0},
    "3 x 1.5 sd": {15: 1.5, 30: 1.5, 45: 1.5},
}
NIGHTS, LOOKS, CREEP_AT = 60, (30, 45, 60), (15, 30, 45)
CREEPS = (
    ("recorded", 0.0),
    ("recorded", 0.02),
    ("a quarter of it", 0.0),
    ("a quarter of it", 0.01),
)
_CHUNK = 100


@dataclass(frozen=True)
class Drawn:
    """How series are drawn: `jumps` by night, in units of a point's error."""

    noise: str
    length: int
    mistake: float
    jumps: tuple[tuple[int, float], ...]
    many: int
    seed: int


def series_of(how: Drawn) -> Iterable[tuple[Array, Array]]:
    """Levels and stated errors, one series after the other."""
    random = np.random.default_rng(how.seed)
    for _ in range(how.many):
        sd = np.exp(random.normal(0, _ROUGH, how.length))
        levels = _noise(how.noise, how.length, random) * sd
        for night, size in how.jumps:
            levels[night:] += size
        yield levels, sd * how.mistake * np.exp(random.normal(0, _ROUGH, how.length))


def _noise(name: str, length: int, random: np.random.Generator) -> Array:
    """Of standard deviation 1."""
    if name == "normal":
        return random.normal(size=length)
    freedom = int(name[1:])
    return random.standard_t(freedom, length) / math.sqrt(freedom / (freedom - 2))


def counted(how: Drawn) -> list[tuple[StepAt, ...]]:
    return [find_steps(levels, sds) for levels, sds in series_of(how)]


def show_null(pool: ProcessPoolExecutor, lengths: Sequence[int], many: int, seed: int) -> None:
    print(f"\nShare of {many} series without a step in which one is found (penalty {PENALTY:g})\n")
    print("| Nights | Noise |", " | ".join(f"Stated errors x {x:g}" for x in MISTAKES), "|")
    print("|--:|---|" + "--:|" * len(MISTAKES))
    rows = [(length, noise) for length in lengths for noise in NOISES]
    jobs = [Drawn(n, length, x, (), many, seed) for length, n in rows for x in MISTAKES]
    shares = [sum(map(bool, found)) / many for found in pool.map(counted, jobs)]
    for at, (length, noise) in enumerate(rows):
        own = shares[at * len(MISTAKES) : (at + 1) * len(MISTAKES)]
        print(f"| {length} | {noise} |", " | ".join(f"{share:.4f}" for share in own), "|")


def ever(how: Drawn) -> int:
    """Series in which a step was shown on any of the nights, each looked at as it came."""
    return sum(
        any(find_steps(levels[:last], sds[:last]) for last in range(1, how.length + 1))
        for levels, sds in series_of(how)
    )


def show_ever(pool: ProcessPoolExecutor, many: int, seed: int) -> None:
    print(f"\nShare of {many} series without a step in which one was shown on any of 60 nights\n")
    print("| Noise | Stated errors x 1 | x 2 |\n|---|--:|--:|")
    jobs = [Drawn(n, 60, x, (), many, seed) for n in NOISES for x in (1.0, 2.0)]
    shares = [f"{found / many:.4f}" for found in pool.map(ever, jobs)]
    for at, noise in enumerate(NOISES):
        print(f"| {noise} |", " | ".join(shares[2 * at : 2 * at + 2]), "|")


def show_power(pool: ProcessPoolExecutor, many: int, seed: int) -> None:
    print(f"\n60 nights, {many} series: any step found, all found, and the mean nights it is off\n")
    print("| Steps | Noise | Any | As many as there are | More | Off by (median) |")
    print("|---|---|--:|--:|--:|--:|")
    rows = [(name, noise) for name in STEPS for noise in ("normal", "t4")]
    jobs = [Drawn(n, 60, 1.0, tuple(STEPS[name].items()), many, seed) for name, n in rows]
    for (name, noise), found in zip(rows, pool.map(counted, jobs), strict=True):
        there = list(STEPS[name])
        off = [min(abs(s.index - night) for night in there) for each in found for s in each]
        words = (
            f"{sum(map(bool, found)) / many:.3f}",
            f"{sum(len(each) == len(there) for each in found) / many:.3f}",
            f"{sum(len(each) > len(there) for each in found) / many:.4f}",
            f"{np.median(off) if off else math.nan:.0f}",
        )
        print(f"| {name} | {noise} |", " | ".join(words), "|")


# --- with the shipped rule ---------------------------------------------------------------------


def _decided(job: tuple[Array, int]) -> list[Decision]:
    seconds, _ = job
    limits = Policy().limits("replay", "ttfb_s")
    rule = Rule(
        threshold=limits.threshold,
        margin=limits.margin,
        error=Policy().error,
        stage_error=Policy().stage_error,
        interval_error=Policy().interval_error,
        scale=limits.scale,
    )
    return decide([Sample(*row.T) for row in seconds], [rule] * len(seconds))


def nights(
    pool: ProcessPoolExecutor, noise: str, effects: Sequence[float], many: int, seed: int
) -> list[list[Decision]]:
    """By series, each night's decision: a fresh A/B of that effect."""
    random = np.random.default_rng(seed)
    source = sources()[noise]
    blocks = Policy().max_blocks
    by_night = np.concatenate([with_effect(source(many, blocks, random), e) for e in effects])
    # One job for each hundred comparisons, all of one effect or of neighbours.
    parts = [(by_night[at : at + _CHUNK], at) for at in range(0, len(by_night), _CHUNK)]
    flat = [decision for part in pool.map(_decided, parts) for decision in part]
    return [[flat[night * many + one] for night in range(len(effects))] for one in range(many)]


def told(decisions: Iterable[Decision]) -> bool:
    return any(each.found is Direction.UP for each in decisions)


def steps_in(decisions: Sequence[Decision]) -> tuple[StepAt, ...]:
    """As `flows/releases.py` has them: points without a bounded interval are none."""
    points = [(math.log1p(each.effect), sd_of(each.low, each.high)) for each in decisions]
    kept = [(level, sd) for level, sd in points if sd is not None]
    return find_steps([level for level, _ in kept], [sd for _, sd in kept])


def show_creep(pool: ProcessPoolExecutor, many: int, seed: int) -> None:
    threshold = Policy().limits("replay", "ttfb_s").threshold
    print(f"\n{many} series of {NIGHTS} nights, three steps, threshold {threshold:.0%}\n")
    print("| Noise | Steps | Asked | Announced or shown: night 30 | night 45 | night 60 |")
    print("|---|--:|---|--:|--:|--:|")
    for noise, size in CREEPS:
        jumps = [size if night in CREEP_AT else 0.0 for night in range(NIGHTS)]
        against_base = [math.expm1(float(x)) for x in np.cumsum(np.log1p(jumps))]
        by_night = nights(pool, noise, jumps, many, seed)
        fixed = nights(pool, noise, against_base, many, seed + 1)
        head = f"| {noise} | {size:.0%} |"
        for asked, own in (("the night before", by_night), ("the baseline", fixed)):
            words = f"a verdict against {asked}"
            print(head, words, "|", _shares([told(x[:last]) for x in own] for last in LOOKS))
        found = [[steps_in(one[:last]) for one in fixed] for last in LOOKS]
        print(head, "the series |", _shares([bool(x) for x in own] for own in found))
        print(
            head, "the series, two or more |", _shares([len(x) > 1 for x in own] for own in found)
        )
        totals = [sum(step.size for step in one) for one in found[-1] if one]
        if totals and size:
            mean = math.expm1(float(np.mean(totals)))
            print(head, f"its steps together: {mean:+.1%}, true {against_base[-1]:+.1%} | | | |")


def _shares(columns: Iterable[Iterable[bool]]) -> str:
    return " | ".join(f"{np.mean(list(column)):.3f}" for column in columns) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=4000)
    parser.add_argument("--nights", type=int, default=60, help="series of real A/Bs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("null", "power", "creep"))
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="of null series")
    words = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if words.only in {None, "null"}:
            show_null(pool, words.lengths, words.series, words.seed)
            show_ever(pool, max(words.series // 20, 1), words.seed)
        if words.only in {None, "power"}:
            show_power(pool, words.series, words.seed)
        if words.only in {None, "creep"}:
            show_creep(pool, words.nights, words.seed)


if __name__ == "__main__":
    main()
