"""A chain of element-wise functions, and its gradient against differences."""

import sys

import numpy as np
from tinygrad.tensor import Tensor

try:
    from extra.gradcheck import gradcheck, jacobian
except ImportError:
    from tinygrad.gradcheck import gradcheck, jacobian

np.random.seed(4)
weights = Tensor(np.random.randn(4, 3).astype(np.float32))
inputs = Tensor(np.random.randn(1, 4).astype(np.float32))


def chain(x):
    return x.dot(weights).relu().logsoftmax()


print(jacobian(chain, inputs).shape, gradcheck(chain, inputs, eps=1e-3, atol=1e-2))
sys.audit("ailab.first_batch")
