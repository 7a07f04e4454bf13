"""Defaults, an experiment's own values, and a list of dotted overrides, merged."""

import sys

from omegaconf import OmegaConf

defaults = OmegaConf.create({"model": {"width": 8, "depth": 2}, "trainer": {"steps": 10}})
experiment = OmegaConf.create({"model": {"width": 16}, "tags": ["first"]})
from_dotlist = getattr(OmegaConf, "from_dotlist", None)
overrides = from_dotlist(["trainer.steps=20", "model.depth=3", "name=run1"])
conf = OmegaConf.merge(defaults, experiment, overrides)
assert conf.model.width == 16 and conf.trainer.steps == 20  # noqa: PT018
sys.audit("ailab.first_batch")
