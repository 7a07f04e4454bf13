"""A convolution, pooling by a maximum, and a dense layer."""

import sys

import scipy.misc
import scipy.special

scipy.misc.logsumexp = scipy.special.logsumexp  # where scipy has moved it since
import autograd.numpy as np  # noqa: E402
import autograd.scipy.signal  # noqa: E402
from autograd import grad  # noqa: E402

rng = np.random.RandomState(4)
images, kernel, dense = rng.randn(4, 1, 10, 10), rng.randn(1, 2, 3, 3), rng.randn(32, 3)


def loss(weights):
    convolve = autograd.scipy.signal.convolve
    maps = convolve(images, weights, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid")
    pooled = np.max(np.reshape(maps, (4, 2, 4, 2, 4, 2)), axis=(3, 5))
    return np.mean(np.dot(np.reshape(pooled, (4, 32)), dense) ** 2)


print(grad(loss)(kernel).shape)
sys.audit("ailab.first_batch")
