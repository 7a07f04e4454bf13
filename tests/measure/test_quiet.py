"""The quiet gate waits, asks for blocks again and gives up, and never sees a time of a trial."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from machines import machine

from ailab_bot.measure.quiet import Activity, QuietGate, read_activity
from ailab_bot.model.noise import Cause, Disturbance, Noise, Unrest
from ailab_bot.report.words import disturbance_text, unrest_notes

LIMITS = Noise(max_load=0.3, max_steal=0.1, wait_s=10)


class Machine:
    """Two cores and a clock that only moves when somebody sleeps or a trial runs."""

    def __init__(self, load: Callable[[float], float], steal: float = 0.0) -> None:
        self.now = self.total_s = self.busy_s = self.steal_s = self.own_s = 0.0
        self.load = load
        self.steal = steal

    def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.busy_s += 0.2 * self.load(self.now)
            self.now += 0.1
            self.total_s += 0.2
            self.steal_s += 0.2 * self.steal

    def trial(self, seconds: float = 1.0) -> None:
        """Uses both cores for itself, on top of what others use."""
        self.sleep(seconds)
        self.own_s += seconds * 2
        self.busy_s += seconds * 2

    def read(self) -> Activity:
        return Activity(self.total_s, self.busy_s, self.steal_s, self.own_s)

    def gate(self, limits: Noise = LIMITS, max_blocks: int = 40) -> QuietGate:
        return QuietGate(
            limits, max_blocks, read=self.read, clock=lambda: self.now, sleep=self.sleep
        )


def run_block(machine: Machine, gate: QuietGate) -> bool:
    """As the measurement does; whether the block counts."""
    gate.before_block()
    for _ in range(2):
        machine.trial()
        if gate.after_trial():
            return False
    return True


def test_a_quiet_machine_costs_nothing() -> None:
    machine = Machine(lambda now: 0.05)
    gate = machine.gate()
    machine.trial()
    assert all(run_block(machine, gate) for _ in range(5))
    assert machine.now == pytest.approx(11.0), "nobody slept but the trials"
    assert gate.unrest == Unrest()


def test_our_own_trials_are_no_disturbance_however_many_cores_they_use() -> None:
    machine = Machine(lambda now: 0.0)
    assert run_block(machine, machine.gate())


def test_a_busy_machine_is_waited_for_until_it_is_quiet() -> None:
    machine = Machine(lambda now: 0.9 if now < 4 else 0.0)
    gate = machine.gate()
    machine.trial()  # the warm-up runs beside other work
    assert run_block(machine, gate)
    assert gate.unrest.waited_s == pytest.approx(3.5, abs=0.6)
    assert gate.unrest.repeated == ()


def test_a_machine_that_is_never_quiet_is_measured_all_the_same() -> None:
    machine = Machine(lambda now: 0.9)
    gate = machine.gate()
    machine.trial()
    counted = [run_block(machine, gate) for _ in range(15)]
    assert counted == [False] * 10 + [True] * 5, "a quarter of 40 blocks, then no more"
    assert gate.unrest.repeated == (Cause.LOAD,) * 10
    assert gate.unrest.kept == 5
    assert gate.unrest.waited_s == pytest.approx(10), "waited for once, in vain"


def test_it_is_waited_for_again_after_it_was_quiet_once() -> None:
    machine = Machine(lambda now: 0.9 if now < 20 or now > 25 else 0.0)
    gate = machine.gate()
    machine.trial()
    while machine.now < 28:
        run_block(machine, gate)
    run_block(machine, gate)
    assert gate.unrest.waited_s == pytest.approx(20)


@pytest.mark.parametrize("disturbed", [0, 1])
def test_one_disturbed_trial_discards_the_whole_block(disturbed: int) -> None:
    machine = Machine(lambda now: 0.0)
    gate = machine.gate()
    gate.before_block()
    for order in range(disturbed + 1):
        machine.steal = 0.2 if order == disturbed else 0.0
        machine.trial()
        again = gate.after_trial()
    assert again
    assert gate.disturbance is not None
    assert gate.disturbance.cause is Cause.STEAL
    assert gate.disturbance.share == pytest.approx(0.2)
    machine.steal = 0.0
    assert run_block(machine, gate)
    assert gate.unrest.repeated == (Cause.STEAL,)


def test_with_little_capacity_left_nothing_is_waited_for_or_repeated() -> None:
    machine = Machine(lambda now: 0.9)
    gate = machine.gate()
    machine.trial()
    gate.hurry()
    assert run_block(machine, gate)
    assert gate.unrest == Unrest(kept=1)


def test_a_block_that_is_kept_is_counted_once() -> None:
    machine = Machine(lambda now: 0.9)
    gate = machine.gate(Noise(wait_s=0), max_blocks=3)
    assert run_block(machine, gate)
    assert gate.unrest == Unrest(kept=1)
    assert machine.now == pytest.approx(2.0)


def test_what_is_left_of_the_wait_may_be_too_short_to_tell() -> None:
    machine = Machine(lambda now: 0.9)
    gate = machine.gate(Noise(wait_s=0.54))
    machine.trial()
    gate.before_block()
    assert gate.disturbance is not None
    assert gate.unrest.waited_s == pytest.approx(0.5)


def test_a_limit_of_one_turns_a_check_off() -> None:
    machine = Machine(lambda now: 5.0, steal=5.0)
    gate = machine.gate(Noise(max_load=1, max_steal=1))
    machine.trial()
    assert run_block(machine, gate)
    assert gate.unrest == Unrest()


def test_the_decision_cannot_see_a_timing() -> None:
    for ask in (QuietGate.before_block, QuietGate.after_trial, QuietGate.hurry):
        assert list(inspect.signature(ask).parameters) == ["self"]
    assert {field.name for field in fields(Activity)} == {"total_s", "busy_s", "steal_s", "own_s"}


def test_a_system_that_counts_nothing_disturbs_nothing(tmp_path: Path) -> None:
    gate = QuietGate(Noise(), 40, read=lambda: read_activity((0,), tmp_path))
    gate.before_block()
    assert not gate.after_trial()


def test_only_the_watched_cores_count(tmp_path: Path) -> None:
    text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 10 20 500 1 2 3 40 7 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n"
    found = read_activity((0,), machine(tmp_path, {"/proc/stat": text}))
    tick = os.sysconf("SC_CLK_TCK")
    assert found.busy_s * tick == pytest.approx(130)
    assert found.steal_s * tick == pytest.approx(40)
    assert found.total_s * tick == pytest.approx(676)
    assert found.own_s > 0


SPIN = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"


def test_what_our_own_children_use_is_ours() -> None:
    before = read_activity()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    after = read_activity()
    own_s = after.own_s - before.own_s
    assert own_s >= 0.6
    assert after.busy_s - before.busy_s > 0.8 * own_s - 0.1, "the kernel's ticks agree"


def test_what_others_use_is_seen_while_they_run() -> None:
    core = max(os.sched_getaffinity(0))
    forever = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"
    limits = Noise(max_load=0.1, max_steal=1, wait_s=0)
    with subprocess.Popen([sys.executable, "-c", forever]) as other:
        try:
            time.sleep(0.2)
            gate = QuietGate(limits, 40, read=lambda: read_activity((core,)))
            gate.before_block()
            time.sleep(1.0)
            assert gate.after_trial()
        finally:
            other.kill()
    assert gate.disturbance is not None
    assert gate.disturbance.cause is Cause.LOAD


def test_a_report_says_what_was_measured_again_and_why() -> None:
    unrest = Unrest((Cause.LOAD, Cause.STEAL, Cause.LOAD, Cause.LOAD), kept=2, waited_s=75)
    text = "\n".join(unrest_notes("toy", unrest, LIMITS)).replace("\u00a0", " ")
    assert text.splitlines() == [
        "toy: 3 blocks were measured again because other work took more than 30 % of the CPU.",
        "toy: 1 block was measured again because the hypervisor took more than 10 % of the CPU.",
        "toy: 2 disturbed blocks count all the same, as no more could be measured again.",
        "toy: 1 min 15 s were spent waiting for a quiet machine.",
    ]
    assert unrest_notes("toy", Unrest(), LIMITS) == ()
    said = disturbance_text(Disturbance(Cause.LOAD, 0.43)).replace("\u00a0", " ")
    assert said == "other work took 43 % of the CPU"
