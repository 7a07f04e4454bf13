"""How noisy blocks of equal arms are: their scale, their dependence, and what separate builds add.

Everything works on log ratios of blocks in the order in which they ran. Refuses to know what a
scenario or a machine is: numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ailab_bot.stats.compare import robust_deviation
from ailab_bot.stats.evidence import TAIL_GAP

Array = NDArray[np.float64]

#: Blocks that a class's noise is worth beside a scenario's own. On recorded noise, the robust
#: deviation of 10 blocks is off by about a quarter, as the scenarios of one class are from another.
PRIOR_BLOCKS = 10.0
#: A smaller scale calls a scheduler's tick an outlier, and finds no effect any earlier.
SMALLEST_SCALE = 0.005
#: With fewer builds than this, a scenario's own spread between builds is mostly chance.
LEAST_BUILDS = 5
#: Unless chance within builds gives such a spread more rarely than this: a scenario without bias
#: is then taken to have one once in a hundred calibrations, which costs it margin and no error.
BIAS_BY_CHANCE = 0.01
#: Autocorrelation is estimated from ratios cut off here, in scales: one outlier must not decide it.
_CUT_OFF = 3.0
#: What the robust deviation of so few normal values is multiplied with; n / (n - 0.8) from 10 on.
#: Croux, Rousseeuw: Time-efficient algorithms for two highly robust estimators of scale, 1992.
_FEW_BLOCKS = {
    2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107,
}  # fmt: skip
#: An autocorrelation that is believed: beyond it, no block would count as independent.
_MOST_CORRELATED = 0.9


def shrunk(sigma: float, blocks: int, prior: float) -> float:
    """A deviation of `blocks` values drawn toward `prior`, which is worth PRIOR_BLOCKS of them.

    The variances are averaged by their degrees of freedom, as an inverse-chi-square prior has it
    (Smyth: Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 2004). One
    block says nothing about its spread: the prior remains.
    """
    freedom = max(blocks - 1, 0)
    variance = (freedom * sigma**2 + PRIOR_BLOCKS * prior**2) / (freedom + PRIOR_BLOCKS)
    return float(np.sqrt(variance))


def unbiased_deviation(sigma: float, blocks: int) -> float:
    """A robust deviation of few values, without what it reads too low; of 2 at least.

    12 values read 7 % low, and a scale that follows many such readings would end there.
    """
    return sigma * _FEW_BLOCKS.get(blocks, blocks / (blocks - 0.8))


def class_deviation(groups: Sequence[Array], built_in: float) -> float:
    """Deviation of a class: of all its scenarios' ratios, each scenario about its own median.

    `built_in` is what a class without blocks is taken to have.
    """
    residuals = [ratios - np.median(ratios) for ratios in groups if len(ratios)]
    if not residuals:
        return built_in
    freedom = sum(len(each) - 1 for each in residuals)
    return shrunk(robust_deviation(np.concatenate(residuals)), freedom + 1, built_in)


def autocorrelation(values: Array) -> float:
    """Correlation of neighbours; 0 where there are too few to know, or they do not vary."""
    if len(values) < 4:
        return 0.0
    cut = _CUT_OFF * robust_deviation(values)
    centred = values - np.median(values)
    bounded = np.clip(centred, -cut, cut) if cut > 0 else centred
    bounded = bounded - bounded.mean()
    power = float(bounded @ bounded)
    return float(bounded[1:] @ bounded[:-1]) / power if power > 0 else 0.0


def independent_blocks(ratios: Array) -> float:
    """How many independent blocks these are worth (first-order autoregression).

    Arms are swapped at random in a replay, so what neighbours share may be their size alone: the
    stronger dependence of the two counts.
    """
    sizes = np.abs(ratios - np.median(ratios)) if len(ratios) else ratios
    rho = max(autocorrelation(ratios), autocorrelation(sizes), 0.0)
    rho = min(rho, _MOST_CORRELATED)
    return len(ratios) * (1 - rho) / (1 + rho)


def far_slow_share(ratios: Array, scale: float) -> float:
    """Share of trials that were far slower than the other trial of their block."""
    if not len(ratios):
        return 0.0
    return float((np.abs(ratios) > TAIL_GAP * scale).mean()) / 2


def between_builds(medians: Sequence[float], variances: Sequence[float]) -> float:
    """Standard deviation between builds that chance within builds does not explain; 0 or more.

    Method of moments with weights 1/variance (DerSimonian, Laird: Meta-analysis in clinical trials,
    1986), about 0 instead of about the mean: base and head are the same code, so a bias that comes
    back in every build is one too. Both sequences have shape (builds,).
    """
    m, v = np.asarray(medians, dtype=float), np.asarray(variances, dtype=float)
    known = v > 0
    if not known.any():  # nothing varies within a build: all that differs is bias
        return float(np.sqrt((m**2).mean())) if len(m) else 0.0
    weights = 1 / v[known]
    excess = float(weights @ m[known] ** 2) - float(known.sum())
    return float(np.sqrt(max(0.0, excess / float(weights.sum()))))


def beyond_chance(medians: Sequence[float], variances: Sequence[float]) -> bool:
    """Whether builds of equal arms lie further from 0 than chance within them explains.

    Cochran's Q about 0 (The combination of estimates from different experiments, Biometrics 1954)
    above its chi-square quantile; see BIAS_BY_CHANCE. Both sequences have shape (builds,).
    """
    m, v = np.asarray(medians, dtype=float), np.asarray(variances, dtype=float)
    known = v > 0
    if (m[~known] != 0).any():
        return True
    if not known.any():
        return False
    q = float((m[known] ** 2 / v[known]).sum())
    return q > float(special.chdtri(known.sum(), BIAS_BY_CHANCE))


def variance_of_median(ratios: Array, sigma: float) -> float:
    """Of the median of dependent ratios: pi/2 sigma^2 / n for a normal centre, n those that are
    independent. Heavier tails than the normal's make it smaller, so this errs to less bias."""
    count = len(ratios)
    if not count:
        return 0.0
    rho = min(max(autocorrelation(ratios), 0.0), _MOST_CORRELATED)
    return float(np.pi / 2 * sigma**2 / count * (1 + rho) / (1 - rho))
