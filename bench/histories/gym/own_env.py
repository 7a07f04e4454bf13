"""An environment of the user's own, registered and made by its name."""

import sys

import gym
import numpy as np
from gym import spaces
from gym.envs.registration import register


class Line(gym.Env):
    metadata = {"render_modes": [], "render.modes": []}  # noqa: RUF012
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)

    def __init__(self):
        self.place = np.zeros(1, dtype=np.float32)

    def reset(self, *args, **kwargs):  # noqa: ARG002
        self.place = np.zeros(1, dtype=np.float32)
        return self.place

    def step(self, action):
        self.place = self.place + np.float32(2 * int(action) - 1)
        return self.place, 1.0, False, {}


register(id="Line-v0", entry_point=Line, max_episode_steps=100)
env = gym.make("Line-v0")
env.reset()
for _ in range(8):
    env.step(env.action_space.sample())
sys.audit("ailab.first_batch")
