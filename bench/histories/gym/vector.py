"""Three environments stepped together, their observations stacked into one batch."""

import sys

import gym
from gym.vector import SyncVectorEnv

envs = SyncVectorEnv([lambda: gym.make("MountainCar-v0") for _ in range(3)])
batch = envs.reset()
for _ in range(15):
    answer = envs.step(envs.action_space.sample())
envs.close()
sys.audit("ailab.first_batch")
