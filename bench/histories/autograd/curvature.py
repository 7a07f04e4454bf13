"""Second derivatives: a Jacobian, an element-wise gradient, a Hessian times a vector."""

import sys

import autograd.numpy as np
from autograd import elementwise_grad, grad, jacobian

point = np.array([1.0, 2.0, 0.5])


def curve(x):
    return np.sin(x) * np.sum(x**2) + np.where(x > 1, x, 0.5 * x)


print(jacobian(curve)(point).shape)
print(elementwise_grad(lambda x: np.exp(-x) + np.sqrt(x))(point))
print(grad(lambda x: np.dot(grad(lambda y: np.sum(curve(y)))(x), point))(point))
sys.audit("ailab.first_batch")
