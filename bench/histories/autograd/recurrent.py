"""A recurrent net over ten steps, its parameters in a dictionary, outputs concatenated."""

import sys

import autograd.numpy as np
from autograd import grad

rng = np.random.RandomState(3)
parameters = {"change": rng.randn(20, 12) * 0.1, "predict": rng.randn(12, 4) * 0.1}
sequence = [rng.randn(6, 8) for _ in range(10)]


def loss(weights):
    hidden, outputs = np.zeros((6, 12)), []
    for step in sequence:
        hidden = np.tanh(np.dot(np.concatenate((step, hidden), axis=1), weights["change"]))
        outputs.append(np.dot(hidden, weights["predict"]))
    return np.sum(np.abs(np.concatenate(outputs, axis=0)))


slopes = grad(loss)(parameters)
print(sorted(slopes.keys()))
sys.audit("ailab.first_batch")
