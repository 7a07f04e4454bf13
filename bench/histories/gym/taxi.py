"""A table of transitions: built, and walked through."""

import sys

from gym.envs.toy_text.taxi import TaxiEnv

env = TaxiEnv()
env.action_space.seed(3)
try:
    env.reset(seed=3)
except TypeError:
    env.seed(3)
    env.reset()
for _ in range(50):
    answer = env.step(env.action_space.sample())
    if answer[2]:
        env.reset()
sys.audit("ailab.first_batch")
