"""One environment made by name, and a short rollout of random actions."""

import sys

import gym

env = gym.make("CartPole-v1")
env.action_space.seed(3)
try:
    env.reset(seed=3)
except TypeError:
    env.seed(3)
    env.reset()
total = 0.0
for _ in range(40):
    answer = env.step(env.action_space.sample())
    total += answer[1]
    if answer[2]:
        env.reset()
sys.audit("ailab.first_batch")
