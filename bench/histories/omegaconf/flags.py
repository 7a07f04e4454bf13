"""A configuration that is closed against new keys and against writing."""

import sys

from omegaconf import OmegaConf

conf = OmegaConf.create({"data": {"workers": 2}, "lr": 0.1})
OmegaConf.set_struct(conf, True)
try:
    conf.data.wrokers = 4
except Exception as error:
    print(type(error).__name__)
OmegaConf.set_readonly(conf, True)
try:
    conf.lr = 0.2
except Exception as error:
    print(type(error).__name__)
print(OmegaConf.is_readonly(conf), OmegaConf.is_struct(conf))
sys.audit("ailab.first_batch")
