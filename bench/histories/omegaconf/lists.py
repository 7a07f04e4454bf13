"""A list of stages that is built, changed and read in a loop."""

import sys

from omegaconf import OmegaConf

stages = OmegaConf.create([])
for width in (8, 16, 32, 64):
    stages.append({"width": width, "blocks": [1, 2]})
stages[1].width = 24
stages.insert(0, {"width": 4, "blocks": []})
stages.pop(2)
total = 0
for stage in stages:
    total += stage.width + len(stage.blocks)
print(total, len(stages), stages[-1].width)
sys.audit("ailab.first_batch")
