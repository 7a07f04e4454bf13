"""Reads a run's YAML file and takes its values."""

import os
import sys

from omegaconf import OmegaConf

conf = OmegaConf.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.yaml"))  # noqa: PTH100, PTH118, PTH120
sizes = [conf.model.layers[i] for i in range(len(conf.model.layers))]
print(conf.seed, conf.data.batch_size * len(conf.data.shards), sum(sizes))
sys.audit("ailab.first_batch")
