"""Every scenario reaches its first batch on a CPU, and is an ordinary, deterministic script."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_bot.config import Config, load_scenarios
from ailab_bot.measure.environment import command_of, interpreter, variables_of
from ailab_bot.measure.execute import Launch, execute
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import PHASES, Outcome

ROOT = Path(__file__).parents[2]
SCENARIOS = load_scenarios(Config(scenarios_dir=ROOT / ".ailab" / "scenarios"))

pytestmark = pytest.mark.torch


def test_the_scenarios_are_the_ones_the_readme_lists() -> None:
    listed = re.findall(r"^\| `([\w-]+)`", (ROOT / "scenarios/README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [scenario.id for scenario in SCENARIOS]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_it_reaches_its_first_batch(scenario: Scenario, tmp_path: Path) -> None:
    environment = interpreter(sys.executable)
    execution = execute(
        Launch(
            command=command_of(scenario, tmp_path, environment),
            cwd=tmp_path,
            env=variables_of(scenario, tmp_path, environment, hash_seed=1),
            first_batch=scenario.first_batch,
            timeout_s=scenario.timeout_s,
            scratch=tmp_path,
            steps=scenario.steps,
        )
    )
    assert execution.outcome is Outcome.OK, execution.failure
    assert set(scenario.metrics) <= set(execution.metrics)
    assert set(execution.phases) == set(PHASES)
    assert sum(execution.phases.values()) == pytest.approx(execution.metrics["ttfb_s"], abs=1e-3)
    assert execution.phases["import"] > 0.5 * execution.metrics["ttfb_s"], "torch is imported"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_it_is_an_ordinary_script_that_gives_the_same_loss_twice(
    scenario: Scenario, tmp_path: Path
) -> None:
    text = (scenario.directory / "train.py").read_text()
    assert "ailab" not in text
    environment = interpreter(sys.executable)
    outputs = [
        subprocess.run(
            command_of(scenario, tmp_path, environment),
            cwd=tmp_path,
            env=variables_of(scenario, tmp_path, environment, hash_seed=seed),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        for seed in (1, 2)
    ]
    assert [output.returncode for output in outputs] == [0, 0], outputs[0].stderr
    losses = {re.findall(r"^final loss (\d+\.\d+)$", o.stdout, re.MULTILINE)[-1] for o in outputs}
    assert len(losses) == 1
    assert not any(tmp_path.iterdir()), "it leaves nothing behind"
