"""Reads overrides from the command line, as a training script's start does."""

import sys

from omegaconf import OmegaConf

sys.argv = ["train.py", "lr=0.2", "data.workers=4", "model.name=mlp", "debug=true"]
conf = OmegaConf.merge(OmegaConf.create({"lr": 0.1}), OmegaConf.from_cli())
assert conf.lr == 0.2 and conf.data.workers == 4 and conf.debug is True  # noqa: PT018
for key in conf:
    print(key, conf[key])
sys.audit("ailab.first_batch")
