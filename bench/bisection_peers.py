"""How others find a culprit, on the same ranges and the same recorded trials.

*Plain bisection*: 10 blocks of the bad end give the effect; every probe is the mean or the median
of k blocks against half of it. 10 + k log2(n) blocks, and always a culprit, unless the bad end
shows no effect beyond 2 %.

*FACF* (Henderson, Dorward, Nickell, Johnston, Kondareddy: Flake Aware Culprit Finding, ICST 2023):
a posterior over the n suspects and "no culprit". A pass at i is impossible from a culprit on; a
failure there without one happens at the flake rate. The next run is where the cumulated posterior
reaches 1/2, or the commit before it, if that was not run yet. It is made for tests that pass or
fail: a run is one block, or the median of 5, and fails above half of the effect at the ends (10
blocks); the flake rate is that of blocks without an effect, between 1 and 50 %. A slow commit also
passes by chance, which the paper rules out: "two-sided" is our extension that gives passes their
rate as well, and runs the one of the two that was run less. Prior: 40 % no culprit, as in the
paper's ranges. Stops at the confidence that ours stops at.

*Pinpoint* (Chromium's catapult, dashboard/pinpoint/models/job_state.py and models/compare): ten
attempts per commit at first; neighbours are compared by the smaller p of Mann-Whitney's U and
Kolmogorov-Smirnov's: different up to 0.01, the same above a high threshold, else unknown, and the
one with fewer attempts gets ten more. Between different neighbours come the midpoint and, two
levels of speculation, those of its halves. All neighbours that differ at the end are culprits. The
high threshold is the 99th percentile of Mann-Whitney's p between normal samples as far apart as the
effect looked for, in interquartile ranges (thresholds_performance.py; simulated here, with the
table's own offset of 0.2). It is told the true effect. An attempt is a trial, half a block, without
a good end beside it; all that is asked for at a time is interleaved.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np
from bisection_ranges import Array, Found, Numbers, Ranges
from scipy import stats

#: Blocks of the bad end before the first probe, and the effect below which there is no search.
ENDS, _NO_EFFECT = 10, 0.02
_NO_CULPRIT_PRIOR = 0.4
#: Pinpoint.
_ATTEMPTS, _LOW, _LEVELS, _TABLE_OFFSET = 10, 0.01, 2, 0.2
_SIMULATED = 1500
#: Trials after which a search is given up.
_GIVE_UP = 4000

Center = Callable[[Array], float]


def plain(ranges: Ranges, logs: Array, repeats: int, center: Center) -> Found:
    """Bisection with `repeats` blocks a probe."""
    named, used = [], np.zeros(len(logs), dtype=np.int64)
    for row, (shifts, pairs) in enumerate(zip(ranges.shifts, logs, strict=True)):
        ratios = pairs[:, 1] - pairs[:, 0]
        effect = center(ratios[:ENDS] + shifts[-1])
        good, bad, at = 0, len(shifts), ENDS
        if effect <= _NO_EFFECT:
            named.append(frozenset[int]())
            used[row] = at
            continue
        while bad - good > 1:
            middle = (good + bad) // 2
            slow = center(ratios[at : at + repeats] + shifts[middle - 1]) > effect / 2
            good, bad = (good, middle) if slow else (middle, bad)
            at += repeats
        named.append(frozenset({bad}))
        used[row] = at
    return Found(named, used, ["culprit" if each else "no-culprit" for each in named])


def facf(
    ranges: Ranges, logs: Array, null: Array, repeats: int, confidence: float, two_sided: bool
) -> Found:
    """`null`: log ratios without effect, (samples, repeats), for the rates."""
    named, used, words = [], np.zeros(len(logs), dtype=np.int64), []
    medians = np.median(null, axis=1)
    for row, (shifts, pairs) in enumerate(zip(ranges.shifts, logs, strict=True)):
        ratios = pairs[:, 1] - pairs[:, 0]
        effect = max(float(np.median(ratios[:ENDS] + shifts[-1])), _NO_EFFECT)
        flake = float(np.clip((medians > effect / 2).mean(), 0.01, 0.5))
        missed = float(np.clip((medians < -effect / 2).mean(), 0.01, 0.5)) if two_sided else 0.0
        n, at = len(shifts), ENDS
        belief = np.append(np.full(n, (1 - _NO_CULPRIT_PRIOR) / n), _NO_CULPRIT_PRIOR)
        guilty, runs = np.arange(1, n + 2), np.zeros(n + 2, dtype=np.int64)
        while belief.max() < confidence and at + repeats <= len(ratios):
            probe = int(np.searchsorted(np.cumsum(belief), 0.5 - 1e-8)) + 1
            fewer = runs[probe - 1] <= runs[probe] if two_sided else runs[probe - 1] == 0
            if probe > n or (probe > 1 and belief[probe - 2] > 0 and fewer):
                probe -= 1
            runs[probe] += 1
            fails = np.median(ratios[at : at + repeats] + shifts[probe - 1]) > effect / 2
            at += repeats
            slow = guilty <= probe
            likely = (
                np.where(slow, 1 - missed, flake) if fails else np.where(slow, missed, 1 - flake)
            )
            belief = belief * likely
            belief = belief / belief.sum()
        best = int(belief.argmax()) + 1
        sure = belief.max() >= confidence
        named.append(frozenset({best}) if sure and best <= n else frozenset[int]())
        words.append("open" if not sure else "culprit" if best <= n else "no-culprit")
        used[row] = at
    return Found(named, used, words)


def pinpoint(ranges: Ranges, logs: Array, effect: float) -> Found:
    """`effect`: the size it is told to look for, a fraction. Blocks are trials / 2."""
    named, used, words = [], np.zeros(len(logs), dtype=np.int64), []
    for shifts, pairs in zip(ranges.shifts, logs, strict=True):
        found, trials, finished = _explore(np.append(0.0, shifts), pairs.ravel(), effect)
        used[len(named)] = -(-trials // 2)
        named.append(found)
        words.append(("culprit" if found else "no-culprit") if finished else "open")
    return Found(named, used, words)


def _explore(shifts: Array, trials: Array, effect: float) -> tuple[frozenset[int], int, bool]:
    """Culprits, trials used and whether it came to an end. `shifts`: with the good end's 0."""
    values: dict[int, list[float]] = {0: [], len(shifts) - 1: []}
    wanted = [0, len(shifts) - 1]
    compared: dict[tuple[int, int, int, int], str] = {}
    at = 0

    def compare(a: int, b: int) -> str:
        key = (a, b, len(values[a]), len(values[b]))
        if key not in compared:
            compared[key] = _compare(np.array(values[a]), np.array(values[b]), effect)
        return compared[key]

    while wanted and at + _ATTEMPTS * len(wanted) <= min(len(trials), _GIVE_UP):
        for _ in range(_ATTEMPTS):
            for commit in wanted:
                values[commit].append(float(np.exp(trials[at] + shifts[commit])))
                at += 1
        commits = sorted(values)
        wanted = []
        for a, b in pairwise(commits):
            result = compare(a, b)
            if result == "unknown":
                wanted.append(a if len(values[a]) <= len(values[b]) else b)
            elif result == "different":
                new = _midpoints(a, b, _LEVELS)
                values.update({commit: [] for commit in new})
                wanted += new
        wanted = sorted(set(wanted))
    commits = sorted(values)
    known = [c for c in commits if values[c]]
    found = {b for a, b in pairwise(known)
             if compare(a, b) == "different" and b == a + 1}  # fmt: skip
    return frozenset(found), at, not wanted


def _midpoints(a: int, b: int, levels: int) -> list[int]:
    if levels == 0 or b - a < 2:
        return []
    middle = (a + b) // 2
    return [*_midpoints(a, middle, levels - 1), middle, *_midpoints(middle, b, levels - 1)]


def _compare(a: Array, b: Array, effect: float) -> str:
    """By Pinpoint's rule: different, the same or unknown."""
    mann = stats.mannwhitneyu(a, b, alternative="two-sided", method="asymptotic").pvalue
    p = min(float(mann), float(stats.ks_2samp(a, b, method="asymp").pvalue))
    spread = max(float(stats.iqr(a)), float(stats.iqr(b)))
    magnitude = effect * float(np.median(a)) / spread if spread > 0 else 4.0
    if p <= _LOW:
        return "different"
    row = min(max(int(magnitude * 10) / 10 - _TABLE_OFFSET, 0.3), 4.0)
    return "unknown" if p <= _high(round(row, 1), (len(a) + len(b)) // 2) else "same"


@lru_cache(maxsize=4096)
def _high(distance: float, size: int) -> float:
    """99th percentile of the p between samples so many interquartile ranges apart."""
    random = np.random.default_rng(size)
    a = random.normal(0, 1, (_SIMULATED, size))
    b = random.normal(distance * 2 * stats.norm.ppf(0.75), 1, (_SIMULATED, size))
    p = stats.mannwhitneyu(a, b, alternative="two-sided", axis=1, method="asymptotic").pvalue
    return float(np.quantile(p, 0.99))


def rates(pairs: Numbers | Array, repeats: int, random: np.random.Generator) -> Array:
    """Log ratios of equal arms for FACF's rates, (samples, repeats): every recorded block, in
    draws of `repeats` with random sides."""
    ratios = np.log(pairs[:, 1]) - np.log(pairs[:, 0])
    drawn = random.choice(ratios, (4000, repeats))
    result: Array = drawn * random.choice([-1.0, 1.0], drawn.shape)
    return result
