"""Values that name other values, and the environment's."""

import os
import sys

from omegaconf import OmegaConf

os.environ["TRAIN_HOST"] = "worker1"
conf = OmegaConf.create(
    {
        "root": "/data",
        "train": "${root}/train",
        "host": "${env:TRAIN_HOST}",
        "address": "tcp://${host}:${port}",
        "port": 29500,
        "nested": {"copy": "${train}", "lr": "${base_lr}"},
        "base_lr": 0.1,
    }
)
print(conf.train, conf.address, conf.nested.copy, conf.nested.lr)
sys.audit("ailab.first_batch")
