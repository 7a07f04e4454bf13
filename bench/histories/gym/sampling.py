"""Spaces alone: nested ones are sampled, checked and flattened."""

import sys

import numpy as np
from gym import spaces
from gym.spaces import utils

space = spaces.Dict(
    {
        "image": spaces.Box(low=0.0, high=1.0, shape=(4, 4), dtype=np.float32),
        "choice": spaces.Discrete(5),
        "pair": spaces.Tuple((spaces.MultiBinary(3), spaces.MultiDiscrete([2, 3]))),
    }
)
space.seed(1)
rows = []
for _ in range(16):
    sample = space.sample()
    assert space.contains(sample)
    rows.append(utils.flatten(space, sample))
print(np.stack(rows).shape)
sys.audit("ailab.first_batch")
