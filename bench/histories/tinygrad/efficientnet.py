"""Builds the repository's own EfficientNet; small images would enter it next."""

import sys

import numpy as np

try:
    from extra.efficientnet import EfficientNet
except ImportError:
    try:
        from models.efficientnet import EfficientNet
    except ImportError:
        from examples.efficientnet import EfficientNet

np.random.seed(5)
model = EfficientNet()
print(type(model).__name__, np.random.rand(1, 3, 32, 32).shape)
sys.audit("ailab.first_batch")
