"""Looks through the registry as a sweep would, and makes nothing."""

import sys

import gym
from gym.envs.registration import registry

specs = getattr(registry, "env_specs", registry)
names = sorted(specs if isinstance(specs, dict) else [spec.id for spec in registry.all()])
print(len(names), gym.spec(names[0]).id)
sys.audit("ailab.first_batch")
