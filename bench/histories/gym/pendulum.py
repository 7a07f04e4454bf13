"""Continuous control with the physics alone, without the registry's wrappers."""

import sys

from gym.envs.classic_control.pendulum import PendulumEnv

env = PendulumEnv()
env.reset()
total = 0.0
for _ in range(60):
    total += env.step(env.action_space.sample())[1]
sys.audit("ailab.first_batch")
