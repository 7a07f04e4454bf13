"""Stories of `ailab calibrate`: from recorded or measured equal arms to a policy, never a crash."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.config import load_config
from ailab_bot.errors import UserError
from ailab_bot.flows.calibrate import CalibrateRequest, _bound_text, calibrate
from ailab_bot.flows.feedback import record_opinion
from ailab_bot.flows.policy import policy_notes
from ailab_bot.model.calibration import Calibration, Mode, NoiseRow, Opinion
from ailab_bot.model.policy import Policy
from ailab_bot.model.trial import Arm, Failure, Outcome, Trial
from ailab_bot.model.wire import trial_to_json
from ailab_bot.policyfile import read_policy, write_policy
from ailab_bot.stats.roc import FEWEST_REPLAYS, LARGEST_SCALE

NOW = datetime(2026, 2, 1, tzinfo=UTC)
RECORDING = Path(__file__).parents[2] / "bench" / "data" / "aa-shared-2core.jsonl"
#: Enough for every step to happen; too few to certify anything.
FEW = 12


def equal_arms(
    count: int,
    sigma: float = 0.03,
    bias: float = 0.0,
    seed: int = 1,
    scenario: str = "a",
    machine: str = "",
) -> list[Trial]:
    source = random.Random(seed)
    return [
        Trial(
            scenario,
            block,
            order,
            arm,
            metrics={
                "ttfb_s": source.lognormvariate(bias * (arm is Arm.HEAD), sigma / 2**0.5),
                "peak_rss_bytes": 2e8,
            },
            machine=machine,
        )
        for block in range(count)
        for order, arm in enumerate(Arm)
    ]


def save(path: Path, trials: list[Trial]) -> Path:
    path.write_text("".join(trial_to_json(trial) + "\n" for trial in trials))
    return path


def run(folder: Path, *files: Path, replays: int = FEW, **options: object) -> Calibration:
    (folder / ".ailab").mkdir(exist_ok=True)
    request = CalibrateRequest(repo=folder, files=files, replays=replays, **options)  # type: ignore[arg-type]
    return calibrate(request, lambda _: None, NOW)


def of(folder: Path, *builds: list[Trial], **options: object) -> Calibration:
    files = [save(folder / f"aa-build-{n}.jsonl", trials) for n, trials in enumerate(builds)]
    return run(folder, *files, **options)


def test_the_recording_gives_a_sensible_scale_and_stays_in_shadow_mode(tmp_path: Path) -> None:
    found = run(tmp_path, RECORDING)
    (row,) = (row for row in found.noise if row.metric == "ttfb_s")
    assert 0.04 < row.scale < 0.06
    assert (row.blocks, row.builds, row.bias_sd) == (150, 1, 0.0)
    assert 0 < row.far_slow < 0.1
    assert found.mode is Mode.SHADOW
    assert "200 are needed" in found.why
    assert "more blocks like these" in found.why
    assert "same blocks" in found.data.split
    assert any(note.startswith("One build") for note in found.notes)
    assert found.point.error <= 3.8e-4
    (judged,) = (row for row in found.judged if row.metric == "ttfb_s")
    assert judged.mde is not None
    assert 0.02 < judged.mde < 0.1
    (fit,) = found.covariates.values()
    assert not fit.used
    assert run(tmp_path, RECORDING) == found, "the same files give the same policy"


def test_enough_quiet_blocks_are_certified_and_split_in_time(tmp_path: Path) -> None:
    builds = [equal_arms(180, sigma=0.02, seed=n) for n in range(3)]
    found = of(tmp_path, *builds, verdicts_per_week=50.0)
    assert found.mode is Mode.GATE
    assert found.certificate.reached
    assert found.certificate.false_positives == 0
    assert found.certificate.at_most_per_week <= 1
    assert "first half" in found.data.split
    assert found.data.independent_blocks > 400
    assert not found.too_noisy
    policy = found.policy("here")
    assert policy.gates("a", "ttfb_s")
    assert policy.limits("a", "ttfb_s").scale == pytest.approx(0.02, rel=0.2)


def test_a_bias_between_builds_widens_the_margin(tmp_path: Path) -> None:
    biases = (-0.05, -0.03, 0.0, 0.03, 0.05, 0.04)
    builds = [equal_arms(40, 0.02, bias, seed=n) for n, bias in enumerate(biases)]
    found = of(tmp_path, *builds)
    limits = found.policy("x").limits("a", "ttfb_s")
    assert limits.margin == pytest.approx(2 * 0.037, rel=0.3)
    assert limits.threshold >= limits.margin
    assert found.policy("x").limits("a", "peak_rss_bytes").bias == 0.02


def test_a_scenario_with_few_blocks_leans_on_its_class(tmp_path: Path) -> None:
    few = equal_arms(3, sigma=0.03, scenario="new", machine="big")
    found = of(tmp_path, equal_arms(200, 0.03, machine="big") + few)
    scales = {row.scenario: row.scale for row in found.noise if row.metric == "ttfb_s"}
    assert scales["new"] == pytest.approx(scales["a"], rel=0.3)
    assert any(note.startswith("new: 3 blocks are few") for note in found.notes)
    assert any(row.scenario == "new" and row.mde for row in found.judged)


def test_a_scenario_that_is_too_noisy_is_labelled_unless_the_user_says_otherwise(
    tmp_path: Path,
) -> None:
    found = of(tmp_path, equal_arms(60, 0.4, scenario="wild") + equal_arms(60, 0.02))
    assert found.too_noisy == {"wild"}
    policy = found.policy("x")
    assert policy.too_noisy == {"wild"}


def test_machines_of_two_classes_have_a_noise_each(tmp_path: Path) -> None:
    mixed = equal_arms(60, 0.02, machine="quiet")
    mixed += [replace(t, block=t.block + 60) for t in equal_arms(60, 0.1, seed=2, machine="noisy")]
    found = of(tmp_path, mixed)
    scales = {row.machine: row.scale for row in found.noise if row.metric == "ttfb_s"}
    assert scales["quiet"] < 0.03
    assert scales["noisy"] > 0.07
    assert found.policy("x").limits("a", "ttfb_s").scale == scales["noisy"], "the noisier sets it"
    assert found.data.machines == ("quiet", "noisy")


def test_failed_trials_and_missing_arms_leave_out_their_blocks(tmp_path: Path) -> None:
    trials = equal_arms(100)
    crash = {"outcome": Outcome.CRASH, "metrics": {}, "failure": Failure("exited")}
    trials[20] = replace(trials[20], **crash)  # type: ignore[arg-type]
    trials[77] = replace(trials[77], **crash)  # type: ignore[arg-type]
    del trials[150]
    found = of(tmp_path, trials)
    assert found.data.blocks == 97
    assert "2 of 199 trials failed; their blocks are left out whole." in found.notes


def test_blocks_may_come_in_any_order(tmp_path: Path) -> None:
    trials = equal_arms(40)
    random.Random(1).shuffle(trials)
    assert of(tmp_path, trials).data.blocks == 40


def test_equal_values_without_any_variance_are_fine(tmp_path: Path) -> None:
    still = [replace(t, metrics={"ttfb_s": 1.0}) for t in equal_arms(30)]
    found = of(tmp_path, still)
    (row,) = found.noise
    assert row.sigma == 0
    assert row.scale > 0
    (judged,) = found.judged
    assert judged.mde is not None
    write_policy(found, tmp_path / "p.yml")
    assert read_policy(tmp_path / "p.yml").judged == found.judged


def one_arm(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.arm is Arm.BASE]


@pytest.mark.parametrize(
    "trials",
    [[], equal_arms(1), one_arm(equal_arms(40)), equal_arms(9)],
    ids=["nothing", "one block", "one arm", "nine blocks"],
)
def test_too_little_is_refused(trials: list[Trial], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few blocks") as caught:
        of(tmp_path, trials)
    assert "10 are the least" in caught.value.why


def test_trials_without_a_gating_metric_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few blocks") as caught:
        of(tmp_path, [replace(t, metrics={"cpu_s": 1.0}) for t in equal_arms(30)])
    assert "ttfb_s" in caught.value.why


BAD: dict[str, Callable[[str], str]] = {
    "nan": lambda text: text.replace('"ttfb_s": 1', '"ttfb_s": NaN, "x": 1', 1),
    "infinity": lambda text: text.replace('"ttfb_s": ', '"ttfb_s": Infinity, "x": ', 1),
    "negative": lambda text: text.replace('"ttfb_s": ', '"ttfb_s": -', 1),
    "a second trial": lambda text: text + text.splitlines()[0] + "\n",
    "two machines": lambda text: text.replace('"outcome"', '"machine": "m", "outcome"', 1),
    "cut off": lambda text: text[:-20],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / "aa.jsonl", equal_arms(20, sigma=1e-6))
    path.write_text(BAD[name](path.read_text()))
    with pytest.raises(UserError, match=r"aa\.jsonl:\d+: not a trial"):
        run(tmp_path, path)


def test_the_same_build_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jsonl", equal_arms(20))
    copy = save(tmp_path / "b.jsonl", equal_arms(20))
    for other in (path, copy):
        with pytest.raises(UserError, match="the same trials"):
            run(tmp_path, path, other)
    with pytest.raises(UserError, match="cannot read"):
        run(tmp_path, tmp_path / "none.jsonl")


def test_false_alarms_that_people_reported_tighten_the_error(tmp_path: Path) -> None:
    before = of(tmp_path, equal_arms(40))
    config = load_config(None, tmp_path)
    for number in range(10):
        record_opinion(config, Opinion(NOW, f"a:ttfb_s@{number:04}", right=False))
    after = of(tmp_path, equal_arms(40))
    assert after.budget.observed_per_week == 2.5
    assert after.point.error == pytest.approx(before.point.error / 3, rel=1e-4)
    assert any(note.startswith("2.5 false alarms a week were reported") for note in after.notes)
    assert after.chosen == before.chosen


# --- the command -------------------------------------------------------------------------------

TRAIN = """
import sys, time
time.sleep(0.02)
sys.audit("ailab.first_batch")
time.sleep(60)
"""
SCENARIO = """
id: launch
command: [python, train.py]
first_batch: api
timeout_s: 20
"""
SETUP = "setup: [[python, -c, 'import venv']]\n"


def platform(folder: Path, train: str = TRAIN, setup: str = "") -> Path:
    new_repository(folder)
    scenario = {".ailab/scenarios/launch/scenario.yml": SCENARIO + setup}
    commit(folder, {"train.py": train, **scenario}, "The platform")
    return folder


def ailab(folder: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "ailab_bot", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result


def test_equal_arms_are_measured_build_by_build_and_the_policy_is_used(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", setup=SETUP)
    few = ("--blocks", "6", "--builds", "2", "--replays", str(FEW))
    result = ailab(folder, "calibrate", *few, "--json", "-")
    document = json.loads(result.stdout)
    assert document["mode"] == "shadow"
    assert document["data"]["files"] == ["aa-build-0.jsonl", "aa-build-1.jsonl"]
    assert document["data"]["commits"] == [git(folder, "rev-parse", "HEAD")]
    assert document["data"]["blocks"] == 12
    assert document["data"]["machines"][0].endswith(("core", "cores"))
    assert "Shadow mode: verdicts are advisory" in result.stderr
    runs = Path(os.environ["AILAB_CACHE_DIR"]) / "runs"
    files = [str(path) for path in sorted(runs.glob("*/aa-build-*"))]
    assert [Path(name).name for name in files] == document["data"]["files"]
    assert not list(runs.glob("*/build-*")), "environments are gone with their build"
    assert git(folder, "worktree", "list").count("\n") == 0
    policy = read_policy(folder / ".ailab" / "policy.yml")
    assert policy.mode is Mode.SHADOW
    # What `ab` and `judge` say now is advisory, and says so.
    slow = Path(files[0]).read_text().splitlines()
    rows = [json.loads(line) for _ in range(4) for line in slow]
    for place, row in enumerate(rows):
        row["block"] += 6 * (place // len(slow))
        row["metrics"] = {"ttfb_s": row["metrics"]["ttfb_s"] * (4 if row["arm"] == "head" else 1)}
    (folder / "slow.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = ailab(folder, "judge", "slow.jsonl")
    assert "slower" in judged.stdout
    assert "Shadow mode: advisory until calibrated" in judged.stdout
    shown = json.loads(ailab(folder, "judge", "slow.jsonl", "--json", "-").stdout)
    assert shown["shadow"] is True
    assert shown["conclusion"] == "success"
    assert shown["results"][0]["verdict"] == "REGRESSION"
    assert shown["results"][0]["gates"] is False
    # Recorded trials give the same numbers again, without a measurement.
    again = ailab(folder, "calibrate", *files, *few[4:], "--out", "again.yml")
    assert "aa-build" not in again.stderr
    repeated = read_policy(folder / "again.yml")
    assert repeated.noise == policy.noise
    assert repeated.roc == policy.roc


def test_a_slower_head_in_shadow_mode_is_shown_and_blocks_nothing(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p")
    commit(folder, {"train.py": TRAIN.replace("0.02", "0.3")}, "Slower")
    write_policy(of(tmp_path, equal_arms(40)), folder / ".ailab" / "policy.yml")
    words = ("ab", "HEAD~1", "HEAD", "--comment", "-")
    result = ailab(folder, *words)
    assert "Slower to first batch: `launch` +" in result.stdout
    assert "(advisory)" in result.stdout
    assert "Shadow mode: advisory until calibrated" in result.stdout
    assert "Shadow mode: advisory until calibrated" in result.stderr
    policy = folder / ".ailab" / "policy.yml"
    policy.write_text(policy.read_text().replace("mode:", "model:"))
    broken = ailab(folder, *words, status=2)
    assert "unknown key `model`; did you mean `mode`?" in broken.stderr


def test_an_interrupted_measurement_names_what_can_be_given_back(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p")
    words = [sys.executable, "-m", "ailab_bot", "calibrate", "--blocks", "500", "--replays", "12"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        runs = Path(os.environ["AILAB_CACHE_DIR"]) / "runs"
        deadline = time.monotonic() + 120
        while not any(
            path.read_text().count("\n") >= 24 for path in runs.glob("*/aa-build-*.jsonl")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (trials,) = runs.glob("*/aa-build-*.jsonl")
    assert f"go on with: ailab calibrate {trials}" in stderr
    assert not (folder / ".ailab" / "policy.yml").exists()
    assert not list(runs.glob("*/build-*")), "environments of the build are gone"
    assert git(folder, "worktree", "list").count("\n") == 0
    ailab(folder, "calibrate", str(trials), "--replays", "12")
    assert (folder / ".ailab" / "policy.yml").exists()


def test_a_scenario_that_always_fails_gets_a_clear_answer(tmp_path: Path) -> None:
    folder = platform(tmp_path / "p", "raise SystemExit('no such driver')\n")
    result = ailab(folder, "calibrate", "--blocks", "3", "--builds", "1", status=2)
    assert "too few blocks to calibrate" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["--blocks", "0"], ["--builds", "x"], ["--budget", "nan"], ["--verdicts", "-1"]],
    ids=" ".join,
)
def test_a_hostile_number_is_refused(words: list[str], tmp_path: Path) -> None:
    result = ailab(tmp_path, "calibrate", *words, status=2)
    assert "usage: ailab calibrate" in result.stderr


# --- what a certificate must not hide ----------------------------------------------------------


def row_of(found: Calibration, scenario: str) -> NoiseRow:
    return next(r for r in found.noise if (r.scenario, r.metric) == (scenario, "ttfb_s"))


def test_a_class_does_not_hide_the_bias_of_one_of_its_scenarios(tmp_path: Path) -> None:
    builds = []
    for n in range(3):
        build = equal_arms(40, 0.028, 0.077, seed=100 + n, scenario="biased")
        for calm in range(5):
            build += equal_arms(40, 0.01, seed=10 * n + calm, scenario=f"calm-{calm}")
        builds.append(build)
    found = of(tmp_path, *builds)
    assert row_of(found, "biased").bias_sd == pytest.approx(0.077, rel=0.2)
    assert row_of(found, "calm-0").bias_sd < 0.03
    assert found.policy("x").limits("biased", "ttfb_s").margin > 0.1


def test_a_bias_in_a_single_build_is_seen_and_chance_is_none(tmp_path: Path) -> None:
    found = of(tmp_path, equal_arms(450, 0.03, 0.0953))
    assert row_of(found, "a").bias_sd == pytest.approx(0.095, rel=0.1)
    assert row_of(of(tmp_path, equal_arms(450, 0.03)), "a").bias_sd == 0.0


def test_equal_arms_that_the_rule_announces_keep_the_policy_in_shadow_mode(tmp_path: Path) -> None:
    builds = [equal_arms(40, 0.02, 0.3 * (n == 0), seed=n) for n in range(12)]
    found = of(tmp_path, *builds, verdicts_per_week=2.0)
    assert found.certificate.reached
    assert found.mode is Mode.SHADOW
    assert "equal arms of a were announced as slower" in found.why


def test_the_order_of_the_lines_changes_nothing(tmp_path: Path) -> None:
    trials = equal_arms(100)
    before = of(tmp_path, trials)
    random.Random(1).shuffle(trials)
    assert of(tmp_path, trials) == before


def test_a_scenario_that_was_not_calibrated_is_advisory(tmp_path: Path) -> None:
    policy = of(tmp_path, equal_arms(40)).policy("x")
    policy = replace(policy, shadow=False)
    assert policy.gates("a", "ttfb_s")
    assert not policy.gates("new", "ttfb_s")
    assert replace(policy, gate_anyway=frozenset({"new"})).gates("new", "ttfb_s")
    assert policy_notes(policy, ["a", "new"]) == [
        "new is not in the policy's calibration: its verdicts are advisory. Run `ailab calibrate`."
    ]
    assert Policy().gates("new", "ttfb_s"), "nothing was calibrated"


def test_a_calm_machine_does_not_hide_the_noise_of_another(tmp_path: Path) -> None:
    wild = [replace(t, block=t.block + 60) for t in equal_arms(60, 0.4, seed=2, machine="wild")]
    found = of(tmp_path, equal_arms(60, 0.016, machine="calm") + wild)
    assert found.too_noisy == {"a"}
    assert found.certificate.independent_blocks <= 60


def test_a_scenario_that_is_too_noisy_has_no_say_in_the_certificate(tmp_path: Path) -> None:
    wild = equal_arms(60, 0.4, seed=3, scenario="wild")
    found = of(tmp_path, wild + equal_arms(60, 0.02))
    alone = of(tmp_path, equal_arms(60, 0.02))
    assert found.too_noisy == {"wild"}
    assert found.certificate.independent_blocks == alone.certificate.independent_blocks
    assert found.data.independent_blocks > alone.data.independent_blocks


def test_more_scenarios_than_replays_are_calibrated_all_the_same(tmp_path: Path) -> None:
    many = [trial for n in range(3) for trial in equal_arms(5, seed=n, scenario=f"s{n}")]
    found = of(
        tmp_path, [replace(t, metrics={"ttfb_s": t.metrics["ttfb_s"]}) for t in many], replays=1
    )
    assert {row.scenario for row in found.judged} == {f"s{n}" for n in range(3)}
    assert found.certificate.replays >= 3 * FEWEST_REPLAYS
    assert {row.replays for row in found.roc} == {3 * FEWEST_REPLAYS}


def test_a_copy_with_another_newline_or_order_is_no_second_build(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jsonl", equal_arms(20))
    copy = save(tmp_path / "b.jsonl", equal_arms(20)[::-1])
    copy.write_text(copy.read_text() + "\n")
    with pytest.raises(UserError, match="the same trials"):
        run(tmp_path, path, copy)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_files_are_read_once_and_within_bounds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a trial"):
        run(tmp_path, Path("/dev/zero"))
    path = save(tmp_path / "a.jsonl", equal_arms(20))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(f"cat {path} > {pipe}", shell=True):
        assert run(tmp_path, pipe).data.blocks == 20


def test_an_absurdly_noisy_metric_gives_a_policy_that_can_be_read(tmp_path: Path) -> None:
    source = random.Random(1)
    wild = [
        replace(t, metrics={**t.metrics, "cpu_s": 10 ** source.uniform(-8, 17)})
        for t in equal_arms(40)
    ]
    found = of(tmp_path, wild)
    write_policy(found, tmp_path / "p.yml")
    limits = read_policy(tmp_path / "p.yml").policy("x").limits("a", "cpu_s")
    assert limits.scale == LARGEST_SCALE


@pytest.mark.parametrize(
    ("at_most", "allowed", "shown"),
    [
        (1.004, 1, "1.1"),
        (0.631, 1, "0.64"),
        (0.7, 1, "0.7"),
        (0.9991, 1, "1"),
        (1.23456, 1.2346, "1.2346"),
    ],
)
def test_the_bound_that_is_shown_lies_on_its_side_of_the_budget(
    at_most: float, allowed: float, shown: str
) -> None:
    assert _bound_text(at_most, allowed) == shown


def test_files_of_trials_are_not_written_over(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jsonl", equal_arms(20))
    before = path.read_text()
    for option in ("--out", "--json"):
        result = ailab(tmp_path, "calibrate", str(path), option, "./a.jsonl", status=2)
        assert "is one of the files of trials" in result.stderr
    assert path.read_text() == before


@pytest.mark.parametrize(
    "words",
    [["--budget", "2e6"], ["--verdicts", "2e9"], ["--budget", "1e308", "--verdicts", "1e-300"]],
    ids=" ".join,
)
def test_a_number_that_no_policy_may_hold_is_refused(words: list[str], tmp_path: Path) -> None:
    result = ailab(tmp_path, "calibrate", *words, status=2)
    assert "is not a number from 1e-06 to" in " ".join(result.stderr.split())
