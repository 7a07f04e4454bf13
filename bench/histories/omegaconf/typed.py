"""A configuration declared as a dataclass, where this version knows such; else typed nodes."""

import sys
from dataclasses import dataclass, field

from omegaconf import OmegaConf


@dataclass
class Optimizer:
    name: str = "adam"
    lr: float = 0.001


@dataclass
class Run:
    seed: int = 1
    optimizer: Optimizer = field(default_factory=Optimizer)


structured = getattr(OmegaConf, "structured", None)
if structured is not None:
    conf = OmegaConf.merge(structured(Run), {"optimizer": {"lr": 0.01}})
else:
    from omegaconf import FloatNode, IntegerNode

    conf = OmegaConf.create({"seed": IntegerNode(1), "optimizer": {"lr": FloatNode(0.01)}})
assert conf.optimizer.lr == 0.01
conf.seed = 3
sys.audit("ailab.first_batch")
