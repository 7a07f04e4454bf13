"""Does what the machine did explain the noise of a block? If it does, it can be taken out.

Fitted on equal arms, and used only where blocks that the fit has not seen get clearly less noisy.
Whatever is taken out of a value is a fixed function of that trial's own covariates, so swapping the
arms of a block swaps the adjusted values too: the evidence stays exact. But a head that starts more
threads moves its own run delay, and adjusting for that would hide a regression. So a covariate is
left alone from the block on after which the earlier blocks show that it differs between the arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ailab_bot.model.calibration import UNKNOWN_CLASS
from ailab_bot.model.trial import Block, Trial
from ailab_bot.stats.compare import robust_deviation

Array = NDArray[np.float64]

#: What is looked at, where a trial has it; each is divided by the trial's seconds.
COVARIATES = ("run_delay_s", "stime_s", "instructions")
#: Blocks in each half of the history: with fewer, the check cannot tell 10 % from chance.
LEAST_HALF = 30
#: By how much the noise has to fall to be worth a rule that readers have to understand.
LEAST_REDUCTION = 0.10
#: Blocks before anything is adjusted: the fewest in which a covariate that always differs shows.
BURN_IN = 6
#: Two-sided level, in standard deviations of a sign count, at which a covariate counts as moved.
_MOVED_SDS = 2.0
#: Huber's constant: 95 % as efficient as least squares on normal noise.
_HUBER = 1.345
_BOOTSTRAPS, _LOWER = 1000, 0.05


@dataclass(frozen=True)
class Fit:
    """Coefficients of the first half, and the second half's deviation without and with them.

    `reduction_low`: lower end (95 %) of the share by which the deviation falls.
    """

    coefficients: Array
    sigma_before: float
    sigma_after: float
    reduction_low: float

    @property
    def helps(self) -> bool:
        enough = self.sigma_after <= (1 - LEAST_REDUCTION) * self.sigma_before
        return self.sigma_before > 0 and enough and self.reduction_low > 0


def fit_halves(ratios: Array, differences: Array, random: np.random.Generator) -> Fit | None:
    """Fit on the first half of the blocks, check on the rest. None: too few blocks.

    `ratios` has shape (blocks,), `differences` of covariates (blocks, covariates).
    """
    half = len(ratios) // 2
    if half < LEAST_HALF:
        return None
    coefficients = huber(differences[:half], ratios[:half])
    before = ratios[half:]
    after = before - differences[half:] @ coefficients
    index = random.integers(0, len(before), (_BOOTSTRAPS, len(before)))
    was = np.array([robust_deviation(before[each]) for each in index])
    now = np.array([robust_deviation(after[each]) for each in index])
    falls = 1 - now / np.maximum(was, 1e-12)
    return Fit(
        coefficients,
        robust_deviation(before),
        robust_deviation(after),
        float(np.quantile(falls, _LOWER)),
    )


def huber(x: Array, y: Array, rounds: int = 50) -> Array:
    """Coefficients without intercept (equal arms have none), outliers bounded (Huber 1964)."""
    spread = np.array([robust_deviation(column) for column in x.T])
    unit = np.where(spread > 0, spread, np.maximum(np.abs(x).max(axis=0), 1e-300))
    z = x / unit
    ridge = 1e-6 * len(y) * np.eye(z.shape[1])
    weights = np.ones(len(y))
    beta: Array = np.zeros(z.shape[1])
    for _ in range(rounds):
        weighted = z * weights[:, None]
        found = np.linalg.solve(z.T @ weighted + ridge, weighted.T @ y).astype(np.float64)
        moved, beta = float(np.abs(found - beta).max()), found
        left = y - z @ beta
        cut = _HUBER * max(robust_deviation(left), 1e-12)
        weights = np.minimum(1.0, cut / np.maximum(np.abs(left), 1e-300))
        if moved < 1e-10:
            break
    result: Array = beta / unit
    return result


def adjusted(
    base: Array, head: Array, of_base: Array, of_head: Array, coefficients: Array
) -> tuple[Array, Array]:
    """Logs of both arms without what the covariates explain; what came before decides on a block.

    `base` and `head` have shape (blocks,), the arms' covariates (blocks, covariates). Block by
    block, so the first blocks of a longer sample give what they gave alone.
    """
    out = np.array(base), np.array(head)
    signs = np.sign(of_head - of_base)
    moved = np.zeros(len(coefficients), dtype=bool)
    for block in range(BURN_IN, len(base)):
        earlier = signs[:block]
        informative = np.abs(earlier).sum(axis=0)
        moved |= np.abs(earlier.sum(axis=0)) > _MOVED_SDS * np.sqrt(np.maximum(informative, 1))
        used = np.where(moved, 0.0, coefficients)
        # About the block's middle, so its level stays where its neighbours' is.
        middle = (of_base[block] + of_head[block]) / 2
        out[0][block] -= float((of_base[block] - middle) @ used)
        out[1][block] -= float((of_head[block] - middle) @ used)
    return out


def rates(trial: Trial, names: Sequence[str]) -> Array:
    """Covariates divided by the trial's seconds; NaN for one that it lacks."""
    seconds = trial.metrics["ttfb_s"]
    return np.array([trial.covariates.get(name, np.nan) / seconds for name in names])


def present_in(blocks: Sequence[Block]) -> tuple[str, ...]:
    """The covariates that both trials of every block have."""
    trials = [trial for block in blocks for trial in (block.base, block.head)]
    return tuple(name for name in COVARIATES if all(name in t.covariates for t in trials))


def without_covariates(
    blocks: Sequence[Block], fits: Mapping[str, Mapping[str, float]]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Adjusted TTFB of both arms, `fits` by machine; None where there is nothing to adjust.

    A block whose trials lack a covariate is left as it is.
    """
    machines = [block.base.machine or UNKNOWN_CLASS for block in blocks]
    if not any(fits.get(machine) for machine in machines):
        return None
    base = [block.base.metrics["ttfb_s"] for block in blocks]
    head = [block.head.metrics["ttfb_s"] for block in blocks]
    for machine, coefficients in fits.items():
        names = tuple(coefficients)
        own = [i for i, where in enumerate(machines) if where == machine]
        if not own or not names:
            continue
        of_base = np.array([rates(blocks[i].base, names) for i in own])
        of_head = np.array([rates(blocks[i].head, names) for i in own])
        lacking = np.isnan(of_base) | np.isnan(of_head)
        of_base[lacking] = of_head[lacking] = 0.0
        logs = adjusted(
            np.log([base[i] for i in own]),
            np.log([head[i] for i in own]),
            of_base,
            of_head,
            np.array([coefficients[name] for name in names]),
        )
        for arm, values in zip((base, head), logs, strict=True):
            for i, value in zip(own, values, strict=True):
                arm[i] = float(np.exp(value))
    return tuple(base), tuple(head)
