"""Each optimizer takes three steps on the same small problem."""

import sys

import numpy as np
from tinygrad import optim
from tinygrad.tensor import Tensor

np.random.seed(3)
for kind in (optim.SGD, optim.Adam, optim.RMSprop):
    weights = Tensor(np.random.randn(6, 4).astype(np.float32))
    inputs = Tensor(np.random.randn(5, 6).astype(np.float32))
    steps = kind([weights], lr=0.01)
    for _ in range(3):
        loss = inputs.dot(weights).relu().logsoftmax().mean()
        if hasattr(steps, "zero_grad"):
            steps.zero_grad()
        loss.backward()
        steps.step()
sys.audit("ailab.first_batch")
