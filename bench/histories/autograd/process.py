"""A Gaussian process: linear algebra and a density of many variables."""

import sys

import scipy.misc
import scipy.special

scipy.misc.logsumexp = scipy.special.logsumexp  # where scipy has moved it since
import autograd.numpy as np  # noqa: E402
import autograd.numpy.linalg  # noqa: E402, F401
import autograd.scipy.stats.multivariate_normal as normal  # noqa: E402
from autograd import grad  # noqa: E402

places = np.linspace(0, 1, 9)
heights = np.sin(5 * places)


def loss(scale):
    apart = np.expand_dims(places, 1) - np.expand_dims(places, 0)
    covariance = np.exp(-0.5 * (apart / np.exp(scale)) ** 2) + 0.1 * np.eye(9)
    likely = normal.logpdf(heights, np.zeros(9), covariance)
    return -likely + np.sum(np.linalg.solve(covariance, heights)) + np.trace(covariance)


print(grad(loss)(0.3))
sys.audit("ailab.first_batch")
