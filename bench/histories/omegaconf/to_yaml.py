"""Writes a configuration back as YAML and plain containers, as a run's log would."""

import sys

from omegaconf import OmegaConf

conf = OmegaConf.create({"a": {"b": [1, 2, {"c": None}]}, "d": 1.5, "e": True, "f": "text"})
to_yaml = getattr(OmegaConf, "to_yaml", None)
text = to_yaml(conf) if to_yaml else conf.pretty()
again = OmegaConf.create(text)
assert again == conf
to_container = getattr(OmegaConf, "to_container", None)
print(to_container(again, resolve=True) if to_container else again.to_container(resolve=True))
sys.audit("ailab.first_batch")
