"""The repository's own training loop where there is one, else the same by hand."""

import sys

import numpy as np
from tinygrad import optim
from tinygrad.tensor import Tensor

np.random.seed(6)
inputs, labels = np.random.randn(64, 784).astype(np.float32), np.random.randint(0, 5, 64)


class Model:
    def __init__(self):
        self.weights = Tensor(np.random.randn(784, 5).astype(np.float32) * 0.1)

    def forward(self, x):
        return x.dot(self.weights).logsoftmax()


model = Model()
steps = optim.SGD([model.weights], lr=0.01)
try:
    from extra.training import train
except ImportError:
    for _ in range(2):
        loss = model.forward(Tensor(inputs)).mul(Tensor(np.ones((64, 5), np.float32))).mean()
        loss.backward()
        steps.step()
else:
    train(model, inputs, labels, steps, 2, BS=16)
sys.audit("ailab.first_batch")
