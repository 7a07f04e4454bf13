"""The probe finds the first training batch in unmodified scripts, and only there.

Each script writes two times of the monotonic clock around the first training batch's forward
pass, which sleeps; the supervisor's stamp must lie between them. That holds on any machine.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ailab_bot.measure.execute import Execution, Launch, execute
from ailab_bot.model.scenario import FirstBatch
from ailab_bot.model.trial import Outcome

pytestmark = pytest.mark.torch

HEADER = """
import json, os, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    def forward(self, x):
        return self.layers(x)

def slow(module, args):  # the forward pass of the first training batch sleeps inside
    time.sleep(0.5)

def first(call, *args, **kwargs):
    before = time.monotonic_ns()
    result = call(*args, **kwargs)
    if not os.path.exists("times.json"):
        with open("times.json", "w") as file:
            json.dump([before, time.monotonic_ns()], file)
    return result

X, Y = torch.randn(64, 8), torch.randn(64, 1)
DATA = TensorDataset(X, Y)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

def update(prediction, target):
    loss = ((prediction - target) ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""

SLOW = "net.layers[0].register_forward_pre_hook(slow)\n"

SCRIPTS = {
    "plain tensors": """
for i in range(0, 64, 16):
    update(first(net, X[i:i+16]), Y[i:i+16])
""",
    "shuffling loader": """
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    update(first(net, x), y)
""",
    "sequential loader": """
for x, y in DataLoader(DATA, batch_size=16):
    update(first(net, x), y)
""",
    "two workers": """
for x, y in DataLoader(DATA, batch_size=16, shuffle=True, num_workers=2):
    update(first(net, x), y)
""",
    "batch changed on its way to the model": """
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    update(first(net, (x * 2).repeat(2, 1)), y.repeat(2, 1))
""",
    "model in evaluation mode": """
net.eval()
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    update(first(net, x), y)
""",
    "frozen encoder before the model": """
encoder = nn.Linear(8, 8).requires_grad_(False)
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    features = encoder(x)
    time.sleep(0.3)
    update(first(net, features), y)
""",
    "forward called directly": """
for x, y in DataLoader(DATA, batch_size=16):
    update(first(net.forward, x), y)
""",
    "batches fetched ahead by a thread": """
import queue, threading
class Slow(TensorDataset):
    def __getitem__(self, index):
        time.sleep(0.6)
        return super().__getitem__(index)
batches = queue.Queue()
def fetch():
    for batch in DataLoader(Slow(X[:4], Y[:4]), batch_size=2, shuffle=True):
        batches.put(batch)
threading.Thread(target=fetch, daemon=True).start()
for _ in range(2):
    x, y = batches.get()
    time.sleep(0.3)  # the thread is inside the loader again
    update(first(net, x), y)
""",
    "adversarial pair": """
other = Net()
for i in range(0, 64, 16):
    real = first(net, X[i:i+16])
    time.sleep(0.3)
    fake = other(torch.randn(16, 8))
    update(real + net(fake.repeat(1, 8)), Y[i:i+16])
""",
}

BEFORE = {
    "dummy forward": "net(torch.zeros(1, 8)); time.sleep(0.3)\n",
    "dummy forward with the batch's size": "net(torch.zeros(16, 8)).sum(); time.sleep(0.3)\n",
    "summary": "with torch.no_grad(): net(torch.zeros(16, 8))\ntime.sleep(0.3)\n",
    "sanity check on validation data": """
net.eval()
with torch.no_grad():
    for x, y in DataLoader(DATA, batch_size=16):
        net(x)
net.train()
time.sleep(0.3)
""",
    "careless validation with gradients": """
for x, y in DataLoader(DATA, batch_size=16):
    net(x)
time.sleep(0.3)
""",
}


def run(
    folder: Path, script: str, *words: str, first_batch: FirstBatch | None = None, **options: object
) -> Execution:
    (folder / "train.py").write_text(script, encoding="utf-8")
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return execute(
        Launch(
            command=words or (sys.executable, "train.py"),
            cwd=folder,
            scratch=scratch,
            first_batch=first_batch or FirstBatch(),
            **{"env": dict(os.environ, OMP_NUM_THREADS="1"), "timeout_s": 120, **options},
        )
    )


def assert_stamped_inside(folder: Path, execution: Execution) -> None:
    assert execution.outcome is Outcome.OK, execution.failure
    # The trial may have been ended inside the forward pass: then only its start is known.
    times = folder / "entered"
    before_ns, after_ns = (
        json.loads((folder / "times.json").read_text())
        if (folder / "times.json").exists()
        else (int(times.read_text()), None)
    )
    stamped_ns = execution.started_ns + int(execution.metrics["ttfb_s"] * 1e9)
    assert before_ns - 1000 <= stamped_ns
    if after_ns is not None:
        assert stamped_ns <= after_ns
    assert sum(execution.phases.values()) == pytest.approx(execution.metrics["ttfb_s"], abs=1e-3)


# Where the probe is certain at once the tree is ended inside the forward pass, so `first` also
# leaves the time at which it was entered.
MARKED = HEADER.replace(
    "    result = call(",
    """    if not os.path.exists("entered"):
        with open("entered.tmp", "w") as file:
            file.write(str(before))
        os.rename("entered.tmp", "entered")
    result = call(""",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_first_training_batch_is_found_in(name: str, tmp_path: Path) -> None:
    execution = run(tmp_path, MARKED + SLOW + SCRIPTS[name])
    assert_stamped_inside(tmp_path, execution)


def test_a_long_look_at_the_data_does_not_hide_the_first_batch(tmp_path: Path) -> None:
    look = "for _ in DataLoader(TensorDataset(torch.zeros(22_000, 8))):\n    pass\n"
    execution = run(tmp_path, MARKED + look + SLOW + SCRIPTS["sequential loader"])
    assert_stamped_inside(tmp_path, execution)


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("loop", ["plain tensors", "shuffling loader"])
def test_no_first_batch_is_seen_in(name: str, loop: str, tmp_path: Path) -> None:
    execution = run(tmp_path, MARKED + BEFORE[name] + SLOW + SCRIPTS[loop])
    assert_stamped_inside(tmp_path, execution)
