"""Two dense layers, cross entropy by hand, one step of SGD."""

import sys

import numpy as np
from tinygrad import optim
from tinygrad.tensor import Tensor

np.random.seed(0)
first = Tensor(np.random.randn(64, 32).astype(np.float32) * 0.1)
second = Tensor(np.random.randn(32, 10).astype(np.float32) * 0.1)
inputs = Tensor(np.random.randn(16, 64).astype(np.float32))
target = np.zeros((16, 10), dtype=np.float32)
target[range(16), np.random.randint(0, 10, 16)] = -10.0
steps = optim.SGD([first, second], lr=0.01)
loss = inputs.dot(first).relu().dot(second).logsoftmax().mul(Tensor(target)).mean()
loss.backward()
steps.step()
sys.audit("ailab.first_batch")
