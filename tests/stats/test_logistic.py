"""Fitting of probabilities, and the measures of how good they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from ailab_bot.stats.calibrate_probability import bins_of, brier, calibration_error
from ailab_bot.stats.logistic import fit_logistic, fit_platt, sigmoid


def draw(
    rows: int, seed: int, truth: tuple[float, ...] = (1.5, -1.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    columns = random.normal(size=(rows, len(truth)))
    chance = sigmoid(-1.0 + columns @ np.array(truth))
    return columns, (random.random(rows) < chance).astype(float)


def test_coefficients_are_found_within_their_errors() -> None:
    columns, happened = draw(20_000, 1)
    intercept, found = fit_logistic(columns, happened, ridge=1e-3)
    assert [intercept, *found] == pytest.approx([-1.0, 1.5, -1.0, 0.0], abs=0.08)


def test_it_is_the_minimum_that_a_general_optimiser_finds() -> None:
    columns, happened = draw(300, 2)
    weights = np.random.default_rng(3).uniform(0.1, 3, 300)
    offset = columns[:, 0] * 0.3

    def loss(beta: np.ndarray) -> float:
        log_odds = offset + beta[0] + columns @ beta[1:]
        fit = weights @ (np.logaddexp(0, log_odds) - happened * log_odds)
        return float(fit + 2.5 * (beta[1:] ** 2).sum() + 0.0025 * beta[0] ** 2)

    best = optimize.minimize(loss, np.zeros(4), method="BFGS", tol=1e-10)
    intercept, found = fit_logistic(columns, happened, weights=weights, offset=offset, ridge=5.0)
    assert [intercept, *found] == pytest.approx(list(best.x), abs=1e-4)


def test_a_weight_of_two_is_the_row_twice() -> None:
    columns, happened = draw(200, 4)
    twice = fit_logistic(np.vstack([columns] * 2), np.tile(happened, 2))
    heavy = fit_logistic(columns, happened, weights=np.full(200, 2.0))
    assert twice[0] == pytest.approx(heavy[0])
    assert twice[1] == pytest.approx(heavy[1])


def test_an_offset_that_says_all_leaves_nothing_to_learn() -> None:
    """Null: 40 fits of noise on top of the true log odds. The mean gain of likelihood is half a
    unit for each coefficient, so a ridge holds the coefficients near 0."""
    sizes = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        columns = random.normal(size=(2000, 5))
        known = random.normal(-2, 1.5, 2000)
        happened = (random.random(2000) < sigmoid(known)).astype(float)
        _, found = fit_logistic(columns, happened, offset=known, ridge=10.0)
        sizes.append(float(np.abs(found).max()))
    assert np.mean(sizes) < 0.15


@pytest.mark.parametrize("happened", [np.zeros(50), np.ones(50), np.arange(50) % 2 * 1.0])
def test_classes_that_are_separable_or_alone_give_finite_numbers(happened: np.ndarray) -> None:
    columns = np.column_stack([happened * 2 - 1, np.full(50, 1e6)])
    intercept, found = fit_logistic(columns, happened)
    assert np.isfinite([intercept, *found]).all()


def test_no_log_odds_are_too_large() -> None:
    assert list(sigmoid(np.array([-1e4, 0.0, 1e4]))) == [0.0, 0.5, 1.0]


def test_calibration_undoes_what_was_said_too_loudly() -> None:
    random = np.random.default_rng(5)
    true = random.normal(-2, 1.5, 20_000)
    happened = (random.random(20_000) < sigmoid(true)).astype(float)
    loud = 2 * true + 1
    slope, shift = fit_platt(loud, happened)
    assert (slope, shift) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.5, abs=0.08))
    before = calibration_error(sigmoid(loud), happened)
    after = calibration_error(sigmoid(slope * loud + shift), happened)
    assert after < before / 5


def test_few_rows_move_the_calibration_little() -> None:
    slope, _ = fit_platt(np.array([1.0, -1.0]), np.array([0.0, 1.0]))
    assert slope > 0.6


def test_the_brier_score_of_the_rate_is_its_variance() -> None:
    happened = np.array([1.0, 0, 0, 0])
    assert brier(np.full(4, 0.25), happened) == pytest.approx(0.25 * 0.75)
    assert brier(happened, happened) == 0.0
    assert brier(np.zeros(4), happened, np.array([3.0, 1, 1, 1])) == pytest.approx(0.5)


def test_bins_hold_every_row_once_and_say_what_happened() -> None:
    said = np.array([0.0, 0.003, 0.0031, 0.5, 0.55, 1.0])
    happened = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    bins = bins_of(said, happened)
    assert sum(each.count for each in bins) == 6
    assert [(each.high, each.count) for each in bins] == [(0.003, 2), (0.01, 1), (0.6, 2), (1.0, 1)]
    assert bins[2].happened == 0.5
    assert bins[2].said == pytest.approx(0.525)


def test_calibrated_probabilities_have_a_small_error_and_shifted_ones_their_shift() -> None:
    random = np.random.default_rng(6)
    said = random.uniform(0.05, 0.75, 50_000)
    happened = (random.random(50_000) < said).astype(float)
    assert calibration_error(said, happened) < 0.01
    assert calibration_error(said + 0.2, happened) == pytest.approx(0.2, abs=0.01)
