"""The probe follows launchers, frameworks and compilers to the process that trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_first_batch import HEADER, MARKED, SLOW, assert_stamped_inside, run

from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Outcome

LOOP = """
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    update(first(net, x), y)
"""

LAUNCHERS = {
    "exec": """
import os, sys, time
time.sleep(0.3)
os.execvp(sys.executable, [sys.executable, "inner.py"])
""",
    "subprocess": """
import subprocess, sys, time
time.sleep(0.3)
raise SystemExit(subprocess.run([sys.executable, "inner.py"]).returncode)
""",
    "fork": """
import os, sys, runpy, time
time.sleep(0.3)
pid = os.fork()
if pid == 0:
    runpy.run_path("inner.py")
    os._exit(0)
os.waitpid(pid, 0)
""",
    "double fork": """
import os, runpy
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        runpy.run_path("inner.py")
    os._exit(0)
""",
    "import": "import inner\n",
}


@pytest.mark.torch
@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_trainer_is_found_behind(name: str, tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(MARKED + SLOW + LOOP, encoding="utf-8")
    execution = run(tmp_path, LAUNCHERS[name])
    assert_stamped_inside(tmp_path, execution)
    if "sleep" in LAUNCHERS[name]:
        assert execution.phases["config"] >= 0.3, "the launcher's own work counts as config"
    assert execution.phases["import"] > execution.phases["interpreter"] > 0


def test_a_launcher_may_name_the_arguments_of_execve(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("import sys\nsys.audit('ailab.first_batch')\n")
    launcher = """
import os, sys
os.execve(path=sys.executable, argv=[sys.executable, "inner.py"], env=dict(os.environ))
"""
    execution = run(tmp_path, launcher, first_batch=FirstBatch(FirstBatchMode.API))
    assert execution.outcome is Outcome.OK, execution.failure


@pytest.mark.torch
def test_a_shell_may_launch_the_trainer(tmp_path: Path) -> None:
    script = f"sleep 0.3; {sys.executable} train.py; true"
    execution = run(tmp_path, MARKED + SLOW + LOOP, "sh", "-c", script)
    assert_stamped_inside(tmp_path, execution)
    assert execution.phases["config"] >= 0.25


COMPILED = {
    "module": """
torch._dynamo.config.suppress_errors = False
net = torch.compile(net, backend="eager", fullgraph=True)
for i in range(0, 64, 16):
    update(first(net, X[i:i+16]), Y[i:i+16])
""",
    "module with a loader": """
net = torch.compile(net, backend="eager", fullgraph=True)
for x, y in DataLoader(DATA, batch_size=16, shuffle=True):
    update(first(net, x), y)
""",
    "loss function": """
@torch.compile(backend="eager", fullgraph=True)
def loss_of(x, y):
    return ((net(x) - y) ** 2).mean()
for i in range(0, 64, 16):
    first(loss_of, X[i:i+16], Y[i:i+16]).backward()
    optimizer.step()
""",
    "whole step": """
@torch.compile(backend="eager")
def step(x, y):
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    return loss
for i in range(0, 64, 16):
    first(step, X[i:i+16], Y[i:i+16])
    optimizer.step()
""",
}


@pytest.mark.torch
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_models_are_measured_and_compile_as_ever(name: str, tmp_path: Path) -> None:
    execution = run(tmp_path, MARKED + COMPILED[name], steps=2)
    assert_stamped_inside(tmp_path, execution)
    assert execution.metrics["step_time_s"] > 0


@pytest.mark.torch
def test_torch_fx_traces_the_graph_that_it_always_traces(tmp_path: Path) -> None:
    trace = """
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = Net(), nn.Linear(1, 1)
    def forward(self, x):
        return self.last(self.inner(x).relu())
outer = Outer()
outer(X)  # the patches have been out of the way and back before
print(torch.fx.symbolic_trace(outer).graph)
"""
    script = HEADER.replace("import torch\n", "import torch, torch.fx\n") + trace
    (tmp_path / "plain.py").write_text(script, encoding="utf-8")
    plain = subprocess.run(
        [sys.executable, "plain.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "call_module[target=inner.layers.0]" in plain.stdout
    execution = run(tmp_path, script)
    assert execution.failure is not None
    assert "\n".join(execution.failure.output_tail).strip() == plain.stdout.strip()


@pytest.mark.torch
def test_accelerate_prepares_and_the_batch_is_found(tmp_path: Path) -> None:
    script = """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
loader = DataLoader(DATA, batch_size=16, shuffle=True)
net, optimizer, loader = accelerator.prepare(net, optimizer, loader)
for x, y in loader:
    loss = ((first(net, x) - y) ** 2).mean()
    accelerator.backward(loss)
    optimizer.step()
"""
    execution = run(tmp_path, MARKED + SLOW + script)
    assert_stamped_inside(tmp_path, execution)


@pytest.mark.torch
def test_steps_after_the_first_batch_are_timed(tmp_path: Path) -> None:
    loop = LOOP.replace("update(", "time.sleep(0.1); update(")
    execution = run(tmp_path, HEADER + loop, steps=2)
    assert execution.metrics["step_time_s"] >= 0.1


@pytest.mark.torch
def test_an_arm_without_the_steps_it_was_asked_for_says_so(tmp_path: Path) -> None:
    once = HEADER + "update(net(X), Y)\n"
    execution = run(tmp_path, once, steps=5)
    assert execution.outcome is Outcome.NO_FIRST_BATCH
    assert execution.failure is not None
    assert "step" in execution.failure.reason


MODEL_PHASES = """
import argparse, sys, time
argparse.ArgumentParser().parse_args(["x"][1:])
time.sleep(0.2)
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
{config}
data = TensorDataset(torch.randn(64, 8), torch.randn(64, 1))
{data}
loader = DataLoader(data, batch_size=16, shuffle=True)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 1)
        {model}
        self.other = nn.Linear(8, 1)
    def forward(self, x):
        return self.layer(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
{first_batch}
for x, y in loader:
    net(x).sum().backward()
"""


@pytest.mark.torch
@pytest.mark.parametrize("phase", ["config", "data", "model", "first_batch"])
def test_a_delay_shows_in_its_phase(phase: str, tmp_path: Path) -> None:
    delays = dict.fromkeys(["config", "data", "model", "first_batch"], "")
    delays[phase] = "time.sleep(0.4)"
    if phase == "config":
        delays[phase] += '\nargparse.ArgumentParser().parse_args(["x"][1:])'
    execution = run(tmp_path, MODEL_PHASES.format(**delays))
    assert execution.phases[phase] >= 0.4
    others = [name for name in delays if name != phase]
    assert all(execution.phases[name] < 0.4 for name in others), execution.phases
    assert sum(execution.phases.values()) == pytest.approx(execution.metrics["ttfb_s"], abs=1e-3)


@pytest.mark.torch
def test_the_program_may_mark_phases_of_its_own(tmp_path: Path) -> None:
    marks = 'sys.audit("ailab.phase", "warehouse"); time.sleep(0.4); sys.audit("ailab.phase", "")'
    delays = {"config": "", "data": marks, "model": "", "first_batch": ""}
    execution = run(tmp_path, MODEL_PHASES.format(**delays))
    assert 0.4 <= execution.phases["warehouse"] < 0.8


def test_a_marker_line_is_the_first_batch(tmp_path: Path) -> None:
    script = "import time\ntime.sleep(0.2)\nprint('step 1 loss 0.5')\ntime.sleep(60)\n"
    marker = FirstBatch(FirstBatchMode.MARKER, r"^step 1\b")
    execution = run(tmp_path, script, first_batch=marker)
    assert execution.outcome is Outcome.OK
    assert 0.2 <= execution.metrics["ttfb_s"] < 30


UNENDED = {
    "the next is written": "time.sleep(0.2); write('\\rstep 2'); time.sleep(600)",
    "the program works on": "time.sleep(600)",
    "the program ends": "",
}


@pytest.mark.parametrize("name", UNENDED)
def test_a_marker_finds_a_line_without_an_end_before(name: str, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "def write(text): sys.stderr.write(text); sys.stderr.flush()\n"
        "write('\\rstep 0'); time.sleep(0.2); write('\\rstep 1 loss 0.5')\n"
    )
    marker = FirstBatch(FirstBatchMode.MARKER, r"^step 1 loss \S+$")
    execution = run(tmp_path, script + UNENDED[name], first_batch=marker, timeout_s=10)
    assert execution.outcome is Outcome.OK, execution.failure
    assert execution.metrics["ttfb_s"] >= 0.2


def test_the_api_is_one_line_that_does_nothing_outside_a_trial(tmp_path: Path) -> None:
    script = "import sys, time\nsys.audit('ailab.first_batch')\ntime.sleep(60)\n"
    execution = run(tmp_path, script, first_batch=FirstBatch(FirstBatchMode.API))
    assert execution.outcome is Outcome.OK
    assert set(execution.phases) >= {"interpreter", "import"}
    sys.audit("ailab.first_batch")  # here, outside any trial: no effect, no error


@pytest.mark.parametrize("refusals", [3, 10**9])
def test_a_full_pipe_neither_loses_the_first_batch_nor_holds_the_program(
    refusals: int, tmp_path: Path
) -> None:
    script = f"""
import sys
probe = sys.audit.__globals__
write, refused = probe["_write"], 0
def full_at_first(pipe, data):
    global refused
    refused += 1
    if refused <= {refusals}:
        raise BlockingIOError
    return write(pipe, data)
probe["_write"] = full_at_first
sys.audit("ailab.first_batch")
"""
    execution = run(tmp_path, script, first_batch=FirstBatch(FirstBatchMode.API))
    expected = Outcome.OK if refusals == 3 else Outcome.NO_FIRST_BATCH
    assert execution.outcome is expected, execution.failure


def test_the_users_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import sys\nsys.mine = 1\n")
    script = "import sys\nassert sys.mine == 1\nsys.audit('ailab.first_batch')\n"
    api = FirstBatch(FirstBatchMode.API)
    execution = run(
        tmp_path, script, first_batch=api, env={"PYTHONPATH": str(tmp_path / "own"), "PATH": ""}
    )
    assert execution.outcome is Outcome.OK, execution.failure


def test_the_program_sees_no_trace_of_the_probe_on_its_path(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "assert not any('probe' in entry for entry in sys.path), sys.path\n"
        "assert not any(name.startswith('ailab_bot') for name in sys.modules)\n"
        "sys.audit('ailab.first_batch')\n"
    )
    execution = run(tmp_path, script, first_batch=FirstBatch(FirstBatchMode.API))
    assert execution.outcome is Outcome.OK, execution.failure


def test_warnings_and_tracebacks_of_imports_look_as_ever(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("import warnings\nwarnings.warn('old', stacklevel=2)\n")
    (tmp_path / "inner.py").write_text("import old\nimport not_installed\n")
    execution = run(tmp_path, "import inner\n")
    assert execution.failure is not None
    text = "\n".join(execution.failure.output_tail)
    assert "inner.py:1: UserWarning: old" in text
    assert "No module named 'not_installed'" in text
    assert "sitecustomize" not in text
    assert "importlib" not in text
