"""How others decide whether head is slower than base, restated for one comparison.

Each rule takes seconds of shape (replays, blocks, 2) (base, head) and says for each replay whether
it would announce a slowdown. The rules are restated from their sources as of 2026 for many replays
at once; `peer_packages.py` asks the packages that can be asked, pyperf and asv, whether they agree.
Where a tool compares against a history of many builds, it gets the same number of runs of each arm
instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Peer:
    """`decide` sees the first `blocks` blocks, which is what the rule costs."""

    name: str
    blocks: int
    decide: Callable[[Array], Mask]


def one_run(seconds: Array) -> Array:
    """One run of each, announced from 5 % on: the rule of a spreadsheet."""
    result: Array = seconds[:, 0, 1] / seconds[:, 0, 0] - 1
    return result


def welch(seconds: Array) -> Array:
    """Welch's t of the seconds (Welch 1947)."""
    base, head = seconds[..., 0], seconds[..., 1]
    n = seconds.shape[1]
    spread = np.sqrt((base.var(axis=1, ddof=1) + head.var(axis=1, ddof=1)) / n)
    result: Array = (head.mean(axis=1) - base.mean(axis=1)) / np.maximum(spread, 1e-12)
    return result


def welch_p(seconds: Array) -> Array:
    """One-sided p of Welch's t with its approximate degrees of freedom."""
    base, head = seconds[..., 0].var(axis=1, ddof=1), seconds[..., 1].var(axis=1, ddof=1)
    n = seconds.shape[1]
    freedom = (n - 1) * (base + head) ** 2 / np.maximum(base**2 + head**2, 1e-24)
    result: Array = stats.t.sf(welch(seconds), freedom)
    return result


def paired_t(seconds: Array) -> Array:
    """t of the blocks' log ratios."""
    ratios = np.log(seconds[..., 1] / seconds[..., 0])
    n = seconds.shape[1]
    result: Array = ratios.mean(axis=1) / (ratios.std(axis=1, ddof=1) / n**0.5)
    return result


def paired_p(seconds: Array) -> Array:
    result: Array = stats.t.sf(paired_t(seconds), seconds.shape[1] - 1)
    return result


def mann_whitney(seconds: Array) -> Array:
    """z of Mann and Whitney's U (1947), without ties."""
    n = seconds.shape[1]
    ranks = stats.rankdata(np.concatenate([seconds[..., 0], seconds[..., 1]], axis=1), axis=1)
    u = ranks[:, n:].sum(axis=1) - n * (n + 1) / 2
    result: Array = (u - n * n / 2) / np.sqrt(n * n * (2 * n + 1) / 12)
    return result


def mann_whitney_p(seconds: Array) -> Array:
    result: Array = stats.norm.sf(mann_whitney(seconds))
    return result


def pyperf_rule(seconds: Array) -> Mask:
    """`pyperf compare_to` (2.10): Student's two-sample t at 95 %, two-sided, and a slower mean."""
    base, head = seconds[..., 0], seconds[..., 1]
    n = seconds.shape[1]
    pooled = np.sqrt((base.var(axis=1, ddof=1) + head.var(axis=1, ddof=1)) / n)
    t = (head.mean(axis=1) - base.mean(axis=1)) / np.maximum(pooled, 1e-12)
    result: Mask = t > stats.t.ppf(0.975, 2 * n - 2)
    return result


def asv_rule(seconds: Array) -> Mask:
    """`asv continuous` (asv 0.6): a median more than 1.1 times as large, and asv's `is_different`,
    which is Mann and Whitney's two-sided p below 0.002 where there are enough samples.
    """
    ratio = np.median(seconds[..., 1], axis=1) / np.median(seconds[..., 0], axis=1)
    result: Mask = (ratio > 1.1) & (2 * mann_whitney_p(seconds) < 0.002)
    return result


def perfherder(seconds: Array) -> Array:
    """Perfherder's t (treeherder's perfalert): weighted means whose weights fall linearly with the
    distance from the change, plain variances about them, 12 points a side.
    """
    n = seconds.shape[1]
    near = (np.arange(n) + 1) / n  # base: the last runs weigh most; head: the first ones
    means, spreads = [], []
    for arm, weight in ((0, near), (1, near[::-1])):
        mean = (seconds[..., arm] * weight).sum(axis=1) / weight.sum()
        means.append(mean)
        spreads.append(((seconds[..., arm] - mean[:, None]) ** 2).sum(axis=1) / (n - 1))
    result: Array = (means[1] - means[0]) / np.sqrt(
        np.maximum(spreads[0] / n + spreads[1] / n, 1e-24)
    )
    return result


def rustc_perf(history: Array) -> Callable[[Array], Mask]:
    """rustc-perf: a change beyond the third quartile of past changes plus 3 interquartile ranges.

    One value per build, the smallest of its runs here 3; `history` are the |changes| without
    effect, shape (changes,).
    """
    low, high = np.quantile(history, [0.25, 0.75])
    limit = high + 3 * (high - low)

    def decide(seconds: Array) -> Mask:
        result: Mask = smallest_of(seconds) > limit
        return result

    return decide


def smallest_of(seconds: Array) -> Array:
    best = seconds.min(axis=1)
    result: Array = best[:, 1] / best[:, 0] - 1
    return result


def peers(null: Array) -> list[Peer]:
    """All rules; `null`: seconds without effect, from which rustc-perf's history is made."""
    history = np.abs(smallest_of(null[:, :3]))
    return [
        Peer("one run, 5 %", 1, lambda s: one_run(s) > 0.05),
        Peer("Welch .05", 20, lambda s: welch_p(s) < 0.05),
        Peer("Mann-Whitney .01", 20, lambda s: mann_whitney_p(s) < 0.01),
        Peer("pyperf", 20, pyperf_rule),
        Peer("asv", 20, asv_rule),
        Peer("Perfherder t > 7", 12, lambda s: perfherder(s) > 7),
        Peer("rustc-perf", 3, rustc_perf(history)),
    ]


def fixed_designs(error: float, half: int) -> dict[str, Callable[[Array], tuple[Mask, Array]]]:
    """A test at `error` on `half` blocks, then on as many fresh ones: the plain version of ours."""
    return {
        f"Welch twice {half}+{half}": twice(welch_p, error, half),
        f"paired t twice {half}+{half}": twice(paired_p, error, half),
    }


def twice(
    p_value: Callable[[Array], Array], error: float, half: int
) -> Callable[[Array], tuple[Mask, Array]]:
    """A test on `half` blocks, then on as many fresh ones: who is announced, and blocks used."""

    def decide(seconds: Array) -> tuple[Mask, Array]:
        first = p_value(seconds[:, :half]) < error
        second = p_value(seconds[:, half : 2 * half]) < error
        return first & second, np.where(first, 2.0 * half, half)

    return decide
