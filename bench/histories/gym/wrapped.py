"""Wrappers around an environment: statistics, frames stacked, rewards transformed."""

import sys

import gym
from gym import wrappers

env = gym.make("MountainCarContinuous-v0")
env = wrappers.RecordEpisodeStatistics(env)
env = wrappers.ClipAction(env)
env = wrappers.TransformReward(env, lambda reward: 0.1 * reward)
env = wrappers.TransformObservation(env, lambda seen: seen * 2.0)
env = wrappers.FrameStack(env, 3)
env.reset()
for _ in range(25):
    env.step(env.action_space.sample())
sys.audit("ailab.first_batch")
