"""Convolutions with pooling on small images, one step of Adam."""

import sys

import numpy as np
from tinygrad import optim
from tinygrad.tensor import Tensor

np.random.seed(1)


def weights(*shape):
    return Tensor(np.random.randn(*shape).astype(np.float32) * 0.1)


one, two, dense = weights(4, 1, 3, 3), weights(8, 4, 3, 3), weights(200, 10)
steps = optim.Adam([one, two, dense], lr=0.001)
images = weights(2, 1, 28, 28)
hidden = images.conv2d(one).relu().max_pool2d()
hidden = hidden.conv2d(two).relu().max_pool2d()
loss = hidden.reshape(shape=[2, 200]).dot(dense).logsoftmax().mean()
loss.backward()
steps.step()
sys.audit("ailab.first_batch")
