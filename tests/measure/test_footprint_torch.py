"""Footprints of programs that train with torch, whose counts have to repeat."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_footprint import IMPORTED, OPENED, ran

from ailab_bot.config import load_scenario
from ailab_bot.measure.execute import Launch, execute
from ailab_bot.measure.footprint import installed_distributions, read_footprint
from ailab_bot.measure.opens import watch_opens
from ailab_bot.model.footprint import Footprint
from ailab_bot.model.scenario import FirstBatch
from ailab_bot.model.trial import Outcome

pytestmark = pytest.mark.torch
SCENARIOS = Path(__file__).parents[2] / "scenarios"
WORKERS = """
import os
import torch
from torch import nn
from torch.utils.data import DataLoader
import own

net = nn.Linear(1, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for batch in DataLoader(own.Numbers(), batch_size=4, shuffle=True, num_workers=2):
    net(batch).sum().backward()
    own.after()
"""
OWN = """
import torch

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, index):
        return self.read("words/%d.txt" % (index % 2))
    def read(self, path):
        with open(path) as file:
            return torch.tensor([float(file.read())])
    def never(self):
        return 0

def after():
    pass
"""


def recorded(folder: Path, repository: Path, command: tuple[str, ...]) -> Footprint:
    left = folder / "left"
    shutil.rmtree(left, ignore_errors=True)
    left.mkdir(parents=True)
    env = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    launch = Launch(
        (sys.executable, *command), repository, env, FirstBatch(), 300.0, folder, footprint=left
    )
    with watch_opens(repository) as opens:
        execution = execute(launch)
    assert execution.outcome is Outcome.OK, execution.failure
    found = read_footprint(
        left, opens, scenario="it", sha="a" * 40, trainer=execution.trainer,
        distributions=installed_distributions(sys.executable),
    )  # fmt: skip
    assert found is not None
    return found


def test_an_example_scenario_does_the_same_each_time(tmp_path: Path) -> None:
    name = "tabular-mlp"
    repository = tmp_path / "repository"
    shutil.copytree(SCENARIOS / name, repository / name)
    scenario = load_scenario(repository / name / "scenario.yml")
    command = tuple(word.replace("{scenario_dir}", name) for word in scenario.command[1:])
    one, two = (recorded(tmp_path, repository, command) for _ in range(2))
    assert one.signature is not None
    assert two.signature is not None
    assert one.signature.exact == two.signature.exact
    assert one.signature.calls == pytest.approx(two.signature.calls, rel=0.005)
    counts = replace(one.signature, calls=0, builtin_calls=0)
    assert counts == replace(two.signature, calls=0, builtin_calls=0)
    assert one.files == {f"{name}/config.yml": OPENED, f"{name}/train.py": IMPORTED}
    assert {"main", "read_events", "preprocess"} <= ran(one, f"{name}/train.py")
    assert {"torch", "numpy", "pandas", "pyyaml"} <= set(one.distributions)
    assert one.unseen == ()


def test_workers_that_load_data_belong_to_it(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "words").mkdir(parents=True)
    for number in range(2):
        (repository / f"words/{number}.txt").write_text("1")
    (repository / "train.py").write_text(WORKERS)
    (repository / "own.py").write_text(OWN)
    found = recorded(tmp_path, repository, ("train.py",))
    assert found.files["words/0.txt"] == found.files["words/1.txt"] == OPENED
    assert {"Numbers.__getitem__", "Numbers.read"} <= ran(found, "own.py")
    assert not {"Numbers.never", "after"} & ran(found, "own.py")
    assert found.unseen == ()
