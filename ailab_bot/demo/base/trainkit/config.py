"""Job files: read and validated before anything expensive happens."""

import json
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Job:
    name: str
    rows: int
    features: int
    hidden: int
    batch_size: int
    steps: int
    learning_rate: float
    seed: int
    tracked: bool


def load_job(path: str) -> Job:
    with Path(path).open(encoding="utf-8") as file:
        values = json.load(file)
    known = {field.name: field.type for field in fields(Job)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{path}: unknown settings {unknown}")
    for name, kind in known.items():
        if not isinstance(values.get(name), kind):
            raise ValueError(f"{path}: {name} must be {kind.__name__}")
    return Job(**values)
