"""Logistic regression: value and gradient together, and a check against differences."""

import sys

import autograd.numpy as np
from autograd import grad

rng = np.random.RandomState(1)
inputs, targets = rng.randn(64, 5), rng.rand(64) > 0.5


def loss(weights):
    chance = 1.0 / (1.0 + np.exp(-np.dot(inputs, weights)))
    return -np.sum(np.log(chance * targets + (1 - chance) * (1 - targets)))


weights = np.zeros(5)
slope = grad(loss)
for _ in range(4):
    weights = weights - 0.01 * slope(weights)
step = 1e-5 * np.ones(5)
assert abs(loss(weights + step) - loss(weights) - np.dot(step, slope(weights))) < 1e-3
sys.audit("ailab.first_batch")
