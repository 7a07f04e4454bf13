"""Logistic regression by Newton's method, with a ridge that pulls coefficients to zero.

Weighted, with an offset per row: what is known already, which the coefficients correct. Refuses to
choose anything: which columns, how strong a ridge and what to do with few rows is the caller's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Newton's method is there in less than 10 steps; where classes are separable the ridge holds it.
_MOST_STEPS = 60
#: Change of the penalised log likelihood, per unit of weight, that counts as none.
_ENOUGH = 1e-10
#: Halvings of a step that would lead uphill.
_MOST_HALVINGS = 30


def fit_logistic(
    columns: Array,
    happened: Array,
    *,
    weights: Array | None = None,
    offset: Array | None = None,
    ridge: float = 1.0,
) -> tuple[float, Array]:
    """Intercept and coefficients. `columns` (rows, k), the others (rows,).

    Minimises the weighted negative log likelihood of `happened` (0 or 1) plus
    ridge/2 * sum of squared coefficients; the intercept is nearly free (a thousandth of it), so
    that rows of one class alone give no infinite number.
    """
    rows, width = columns.shape
    weight = np.ones(rows) if weights is None else weights
    base = np.zeros(rows) if offset is None else offset
    design = np.column_stack([np.ones(rows), columns])
    penalty = np.full(width + 1, ridge)
    penalty[0] = ridge / 1000
    beta = np.zeros(width + 1)
    value = _loss(design, happened, weight, base, penalty, beta)
    total = max(float(weight.sum()), 1.0)
    for _ in range(_MOST_STEPS):
        chance = sigmoid(base + design @ beta)
        gradient = design.T @ (weight * (chance - happened)) + penalty * beta
        curvature = weight * chance * (1 - chance)
        hessian = (design * curvature[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        for _ in range(_MOST_HALVINGS):
            trial = beta - step
            lower = _loss(design, happened, weight, base, penalty, trial)
            if lower <= value:
                break
            step = step / 2
        gained, beta, value = value - lower, trial, lower
        if gained < _ENOUGH * total:
            break
    return float(beta[0]), beta[1:]


def fit_platt(
    log_odds: Array, happened: Array, weights: Array | None = None
) -> tuple[float, float]:
    """Slope and shift so that sigmoid(slope * log_odds + shift) is calibrated (Platt 1999).

    Shrunk to (1, 0) as 4 rows would: few rows move it little.
    """
    shift, coefficients = fit_logistic(
        log_odds[:, None], happened, weights=weights, offset=log_odds, ridge=4.0
    )
    return max(0.05, 1.0 + float(coefficients[0])), shift


def sigmoid(log_odds: Array) -> Array:
    """Probabilities; no number is too large for it."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)), dtype=np.float64)


def _loss(
    design: Array, happened: Array, weight: Array, base: Array, penalty: Array, beta: Array
) -> float:
    log_odds = base + design @ beta
    likelihood = np.logaddexp(0.0, log_odds) - happened * log_odds
    return float(weight @ likelihood + 0.5 * penalty @ beta**2)
