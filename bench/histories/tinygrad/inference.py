"""Batch normalisation and a convolution in front of a classifier, forward alone."""

import sys

import numpy as np
from tinygrad.nn import BatchNorm2D
from tinygrad.tensor import Tensor

np.random.seed(2)
images = Tensor(np.random.randn(2, 3, 12, 12).astype(np.float32))
kernel = Tensor(np.random.randn(6, 3, 3, 3).astype(np.float32))
norm = BatchNorm2D(6)
hidden = norm(images.conv2d(kernel)).relu()
print(hidden.avg_pool2d(kernel_size=(2, 2)).shape)
sys.audit("ailab.first_batch")
