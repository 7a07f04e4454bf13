"""Trials run where the configuration says, with all that they start; else on any core."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from machines import cores, machine

from ailab_bot.errors import RunnerError, UserError
from ailab_bot.measure.cores import THREAD_VARIABLES, choose_cores, on_cores, thread_variables
from ailab_bot.measure.environment import Environment, interpreter, variables_of
from ailab_bot.measure.execute import Launch, execute
from ailab_bot.model.noise import cores_text, parse_cores
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode, Scenario
from ailab_bot.model.trial import Outcome

GRANDCHILD = """
import os, subprocess, sys
code = "import os; print(sorted(os.sched_getaffinity(0)))"
inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', %r])" % code
with open("seen", "w") as file:
    print(sorted(os.sched_getaffinity(0)), file=file, flush=True)
    subprocess.run([sys.executable, "-c", inner], stdout=file, start_new_session=True)
sys.audit("ailab.first_batch")
"""


def launch(folder: Path, pinned: tuple[int, ...]) -> Launch:
    (folder / "train.py").write_text(GRANDCHILD)
    return Launch(
        command=(interpreter(sys.executable).python, "train.py"),
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        first_batch=FirstBatch(FirstBatchMode.API),
        timeout_s=60,
        scratch=folder,
        cores=pinned,
    )


def test_all_that_a_pinned_trial_starts_runs_on_its_cores_and_we_do_not(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    last = max(before)
    assert execute(launch(tmp_path, (last,))).outcome is Outcome.OK
    assert (tmp_path / "seen").read_text().splitlines() == [f"[{last}]"] * 2
    assert os.sched_getaffinity(0) == before


def test_a_trial_that_is_not_pinned_may_use_every_core(tmp_path: Path) -> None:
    assert execute(launch(tmp_path, ())).outcome is Outcome.OK
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen == [str(sorted(os.sched_getaffinity(0)))] * 2


def test_our_own_cores_come_back_whatever_happens() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyboardInterrupt), on_cores([max(before)]):
        raise KeyboardInterrupt
    assert os.sched_getaffinity(0) == before
    with pytest.raises(RunnerError, match="cannot pin a trial"), on_cores([8191]):
        pass
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (cores(2), ""),
        (cores(3), ""),
        (cores(4), "1-3"),
        (cores(4, threads_each=2), ""),
        (cores(8, threads_each=2), "2-7"),
        (cores(8, nodes=2), "1-3"),
        (cores(4, nodes=2), "0-1"),
        (cores(64, threads_each=2, nodes=2), "2-31"),
    ],
    ids=str,
)
def test_auto_pins_only_where_enough_cores_are_left(
    files: dict[str, str | None], chosen: str, tmp_path: Path
) -> None:
    root = machine(tmp_path, files)
    usable = parse_cores(str(files["/sys/devices/system/cpu/online"]).strip())
    assert cores_text(choose_cores("auto", root, usable)) == chosen


def test_off_pins_nothing_and_named_cores_must_be_usable(tmp_path: Path) -> None:
    assert choose_cores("off", tmp_path, {0, 1}) == ()
    assert choose_cores((1,), tmp_path, {0, 1}) == (1,)
    with pytest.raises(UserError, match="cannot pin trials to cores 1-3") as caught:
        choose_cores((1, 2, 3), tmp_path, {0, 1})
    assert caught.value.why == "This process may use 0-1, so not 2-3."


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0,,1", "99999", "0-8192", "0.5"])
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="core"):
        parse_cores(text)


def test_lists_of_cores_are_read_and_written_as_the_kernel_does() -> None:
    assert parse_cores("0-2,7\n") == (0, 1, 2, 7)
    assert cores_text((7, 0, 2, 1)) == "0-2,7"


TOY = Scenario("toy", ("python",), Path("/toy"), env={"MKL_NUM_THREADS": "7"})


def test_threads_are_set_when_asked_for_and_a_scenario_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    python = Environment("/bin/python", "3")
    as_it_is = variables_of(TOY, Path("/w"), python, 1, thread_variables(None))
    assert as_it_is["OMP_NUM_THREADS"] == "3"
    asked = variables_of(TOY, Path("/w"), python, 1, thread_variables(2))
    assert {name: asked[name] for name in THREAD_VARIABLES} == {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "7",
        "OPENBLAS_NUM_THREADS": "2",
        "NUMEXPR_NUM_THREADS": "2",
    }


def test_both_arms_get_environments_of_equal_size() -> None:
    what = Scenario("toy", ("python",), Path("/toy"), env={"DATA": "{checkout}/data"})
    sizes = set()
    for arm in ("base", "head"):
        python = Environment(f"/cache/{arm}/bin/python", "3", Path(f"/cache/{arm}"))
        env = variables_of(what, Path(f"/work/{arm}"), python, 123456, thread_variables(4))
        sizes.add(sum(len(os.fsencode(f"{name}={value}")) + 1 for name, value in env.items()))
    assert len(sizes) == 1
