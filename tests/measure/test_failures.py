"""What a trial says when it has no value, and what it leaves behind: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_first_batch import HEADER, run

from ailab_bot.measure import counters, procfs
from ailab_bot.measure.execute import LONGEST_TAIL_LINE, OUTPUT_KEPT_BYTES, Execution
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Failure, Outcome

API = FirstBatch(FirstBatchMode.API)


def failure_of(execution: Execution, outcome: Outcome) -> Failure:
    assert execution.outcome is outcome, execution
    assert not execution.metrics
    assert execution.failure is not None
    return execution.failure


def test_a_crash_shows_its_status_and_the_last_twenty_lines_of_stderr(tmp_path: Path) -> None:
    script = "import sys\nfor i in range(30): print('line', i, file=sys.stderr)\nsys.exit(7)\n"
    failure = failure_of(run(tmp_path, script), Outcome.CRASH)
    assert "status 7" in failure.reason
    assert failure.output_tail == tuple(f"line {i}" for i in range(10, 30))


def test_an_endless_line_is_kept_as_its_beginning(tmp_path: Path) -> None:
    """A printed tensor, a progress bar: twenty of them in each trial made a file unreadable."""
    script = "import sys\nprint('0.0, ' * 5000, file=sys.stderr)\nprint('ä' * 500)\nsys.exit(7)\n"
    (line,) = failure_of(run(tmp_path, script), Outcome.CRASH).output_tail
    assert line == ("0.0, " * 100)[: LONGEST_TAIL_LINE - 1] + "…"
    script = f"import sys\nprint('ä' * {LONGEST_TAIL_LINE}, file=sys.stderr)\nsys.exit(7)\n"
    assert failure_of(run(tmp_path, script), Outcome.CRASH).output_tail == (
        "ä" * LONGEST_TAIL_LINE,
    )


def test_a_killed_process_is_named_by_its_signal(tmp_path: Path) -> None:
    script = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    failure = failure_of(run(tmp_path, script), Outcome.CRASH)
    assert "SIGSEGV" in failure.reason


def test_a_kill_that_was_not_for_memory_is_a_crash(tmp_path: Path) -> None:
    script = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    failure = failure_of(run(tmp_path, script), Outcome.CRASH)
    assert "SIGKILL" in failure.reason


def test_a_crash_is_not_waited_out_when_a_helper_lives_on(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                 start_new_session=True)\n"
        "sys.exit(3)\n"
    )
    failure = failure_of(run(tmp_path, script, timeout_s=60), Outcome.CRASH)
    assert "status 3" in failure.reason


def test_running_out_of_memory_is_an_outcome_of_its_own(tmp_path: Path) -> None:
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "bytearray(8 << 30)\n"
    )
    failure = failure_of(run(tmp_path, script), Outcome.OOM)
    assert "memory" in failure.reason


def test_a_program_that_hangs_times_out(tmp_path: Path) -> None:
    execution = run(tmp_path, "import time\ntime.sleep(600)\n", timeout_s=1.0)
    assert "within 1 s" in failure_of(execution, Outcome.TIMEOUT).reason


def test_a_program_that_ends_without_training_reached_no_first_batch(tmp_path: Path) -> None:
    failure = failure_of(run(tmp_path, "print('done')\n"), Outcome.NO_FIRST_BATCH)
    assert "without training" in failure.reason
    assert "marker" in failure.advice
    assert failure.output_tail == ("done",), "stdout stands in for an empty stderr"


@pytest.mark.torch
def test_forward_passes_without_a_backward_are_named(tmp_path: Path) -> None:
    failure = failure_of(run(tmp_path, HEADER + "net(X)\n"), Outcome.NO_FIRST_BATCH)
    assert "no backward pass" in failure.reason


def test_an_interpreter_that_ignores_the_probe_is_named(tmp_path: Path) -> None:
    execution = run(tmp_path, "", sys.executable, "-I", "-c", "pass")
    failure = failure_of(execution, Outcome.NO_FIRST_BATCH)
    assert "loaded the probe" in failure.reason
    assert "PYTHONPATH" in failure.advice


def test_a_marker_that_never_comes_is_named(tmp_path: Path) -> None:
    marker = FirstBatch(FirstBatchMode.MARKER, "step 1")
    failure = failure_of(run(tmp_path, "print(1)", first_batch=marker), Outcome.NO_FIRST_BATCH)
    assert "'step 1'" in failure.reason


def test_a_program_that_cannot_be_started_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "not-executable").touch(mode=0o600)
    for program, why in (
        ("no-such-program", "no such program"),
        ("./gone.sh", "no such program"),
        ("./not-executable", "Permission denied"),
    ):
        failure = failure_of(run(tmp_path, "", program), Outcome.CRASH)
        assert failure.reason.startswith(f"cannot start `{program}`: ")
        assert why in failure.reason
        assert "Check `command`" in failure.advice


def test_a_flood_of_output_is_kept_at_both_ends_only(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "print('the first line', file=sys.stderr)\n"
        "for _ in range(200): sys.stderr.write('x' * 65535 + '\\n')\n"
        "print('the last line', file=sys.stderr)\n"
        "sys.exit(1)\n"
    )
    failure = failure_of(run(tmp_path, script), Outcome.CRASH)
    assert failure.output_tail[-1] == "the last line"
    assert sum(map(len, failure.output_tail)) < 2 * OUTPUT_KEPT_BYTES


def alive(pid: int) -> bool:
    return not procfs.is_zombie(pid)


def test_no_process_outlives_a_trial_not_even_an_escaped_one(tmp_path: Path) -> None:
    script = """
import os, subprocess, sys, time
pids = []
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("escaped", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists("escaped") or not open("escaped").read():
    time.sleep(0.01)
open("pids", "w").write(f"{os.getpid()} {child.pid} " + open("escaped").read())
sys.audit("ailab.first_batch")
time.sleep(600)
"""
    execution = run(tmp_path, script, first_batch=API)
    assert execution.outcome is Outcome.OK, execution.failure
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert not any(alive(pid) for pid in pids)


def test_an_interrupted_trial_leaves_no_process(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from pathlib import Path\n"
        "from test_first_batch import run\n"
        'run(Path(sys.argv[2]), \'import os, time; open("pid", "w").write(str(os.getpid()));'
        " time.sleep(600)')\n"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not alive(int((tmp_path / "pid").read_text()))
    assert not (tmp_path / "scratch" / "probe.pipe").exists()


def test_an_interruption_while_the_command_is_being_started_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            for stream in (self.stdout, self.stderr):
                assert stream is not None
                stream.close()
            signal.raise_signal(signal.SIGINT)

        def __del__(self) -> None:
            """No warning about a child that nobody waited for: that is the case shown."""

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "import time\ntime.sleep(600)\n")
    assert len(started) == 1
    assert not any(alive(pid) for pid in started)


def test_what_the_tree_used_is_counted_over_all_its_processes(tmp_path: Path) -> None:
    script = """
import subprocess, sys, time
burn = "import time\\nx = bytearray(50 << 20)\\nwhile time.process_time() < 0.5: pass\\n"
subprocess.run([sys.executable, "-c", burn])
child = subprocess.Popen([sys.executable, "-c", burn + "print(1, flush=True); time.sleep(600)"],
                         stdout=subprocess.PIPE)
child.stdout.readline()
sys.audit("ailab.first_batch")
"""
    execution = run(tmp_path, script, first_batch=API)
    assert execution.metrics["cpu_s"] >= 0.95, "one child has ended, one is alive"
    assert execution.metrics["peak_rss_bytes"] >= 50 << 20
    expected = {"run_delay_s", "steal_s", "stime_s", "nvcsw", "nivcsw", "minflt", "majflt"}
    assert expected <= set(execution.covariates)
    assert execution.covariates["minflt"] > 0
    assert execution.covariates["nvcsw"] > 0


def test_instructions_are_counted_where_the_kernel_gives_them_and_absent_elsewhere() -> None:
    counter = counters.open_counter()
    if counter is not None:
        counter.close()
    # The mechanism, shown on an event that also virtual machines have: a task's clock.
    clock = counters.open_counter(counters.PERF_TYPE_SOFTWARE, counters.PERF_COUNT_SW_TASK_CLOCK)
    if clock is None:
        pytest.skip("this kernel does not allow perf_event_open")
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    used_ns = clock.read()
    clock.close()
    assert used_ns > 1_000_000


def test_the_childs_environment_is_what_was_asked_for(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "assert os.environ['MINE'] == 'yes'\n"
        "assert 'SHELL_ONLY' not in os.environ\n"
        "sys.audit('ailab.first_batch')\n"
    )
    env = {"MINE": "yes", "PATH": os.environ["PATH"]}
    execution = run(tmp_path, script, first_batch=API, env=env)
    assert execution.outcome is Outcome.OK, execution.failure
