"""A small perceptron: gradients over a list of layers, one step of descent."""

import sys

import autograd.numpy as np
import autograd.numpy.random as npr
from autograd import grad

npr.seed(0)
layers = [(0.1 * npr.randn(m, n), 0.1 * npr.randn(n)) for m, n in [(12, 16), (16, 8), (8, 3)]]
inputs, targets = npr.randn(32, 12), npr.randn(32, 3)


def loss(parameters):
    hidden = inputs
    for weights, bias in parameters:
        hidden = np.tanh(np.dot(hidden, weights) + bias)
    return np.mean((hidden - targets) ** 2)


for _ in range(3):
    slopes = grad(loss)(layers)
    layers = [(w - 0.1 * dw, b - 0.1 * db) for (w, b), (dw, db) in zip(layers, slopes)]  # noqa: B905
sys.audit("ailab.first_batch")
