"""Policy files: what was calibrated is what is judged by, and nothing else is accepted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from sample_calibrations import CERTIFIED, SHADOW

from ailab_bot.config import load_config
from ailab_bot.errors import UserError
from ailab_bot.flows.policy import policy_notes, policy_of
from ailab_bot.model.calibration import Calibration
from ailab_bot.model.policy import MARGIN, Policy
from ailab_bot.model.wire import calibration_to_json
from ailab_bot.policyfile import check_place, policy_text, read_policy, write_policy
from ailab_bot.report.calibration import print_calibration
from ailab_bot.stats.roc import LARGEST_SCALE


def written(folder: Path, calibration: Calibration = CERTIFIED, config: str = "") -> Path:
    path = folder / ".ailab" / "policy.yml"
    write_policy(calibration, path)
    (folder / ".ailab" / "config.yml").write_text(config or "capacity_s: 600\n")
    return path


@pytest.mark.parametrize("calibration", [CERTIFIED, SHADOW], ids=["gate", "shadow"])
def test_a_policy_file_is_read_as_it_was_written(calibration: Calibration, tmp_path: Path) -> None:
    path = written(tmp_path, calibration)
    assert read_policy(path) == calibration
    assert policy_text(read_policy(path)) == path.read_text()
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_the_policy_holds_what_was_calibrated() -> None:
    policy = CERTIFIED.policy("here")
    assert (policy.error, policy.max_blocks, policy.threshold) == (3.8e-4, 40, 0.05)
    assert policy.limits("train", "peak_rss_bytes").scale == 0.005
    assert policy.limits("unheard-of", "ttfb_s").margin == MARGIN
    assert policy.gates("train", "ttfb_s")
    assert not policy.gates("训练: off", "ttfb_s"), "too noisy to gate"
    assert not SHADOW.policy("here").gates("train", "ttfb_s")
    assert policy.covariates == {"a cpu, 2 cores": {"run_delay_s": 1.25}}


def test_a_policy_file_beside_the_configuration_is_used(tmp_path: Path) -> None:
    path = written(tmp_path)
    policy = policy_of(load_config(None, tmp_path))
    assert policy.error == 3.8e-4
    assert policy.origin == str(path)
    path.unlink()
    assert policy_of(load_config(None, tmp_path)) == Policy()


def test_what_the_configuration_says_wins_over_the_policy_file(tmp_path: Path) -> None:
    written(
        tmp_path,
        config="threshold: 0.2\nmax_blocks: 15\ngate: [ttfb_s, cpu_s]\n"
        'gate_anyway: ["训练: off"]\n',
    )
    policy = policy_of(load_config(None, tmp_path))
    assert policy.limits("train", "ttfb_s").threshold == policy.threshold == 0.2
    assert policy.limits("train", "ttfb_s").scale == 0.049
    assert policy.max_blocks == 15
    assert policy.gates("训练: off", "ttfb_s")
    assert policy.gates("train", "cpu_s")


def test_readers_are_told_what_does_not_block_and_why() -> None:
    shadow, noisy = policy_notes(SHADOW.policy("x"), ["train", "训练: off"])
    assert shadow.startswith("Shadow mode: advisory until calibrated. 150 blocks are worth 132")
    assert noisy == "训练: off is too noisy to gate: shown, and blocks nothing."
    assert policy_notes(Policy(), ["train"]) == []


TEXT = policy_text(CERTIFIED)
BROKEN = {
    "unknown key": (TEXT + "colour: red\n", "unknown key `colour`"),
    "inner key": (TEXT.replace("max_blocks: 40}", "max_block: 40}"), "did you mean `max_blocks`?"),
    "newer schema": (TEXT.replace("schema: 1", "schema: 2"), "this ailab reads schema 1"),
    "no schema": (TEXT.replace("schema: 1\n", ""), "`schema` is missing"),
    "nan": (TEXT.replace("error: 0.00038, max_blocks: 40}\n", "error: .nan, max_blocks: 40}\n"),
            "expected a number above 0 and at most 0.5"),
    "infinity": (TEXT.replace("scale: 0.049", "scale: .inf"), "expected a number above 0"),
    "negative": (TEXT.replace("scale: 0.049", "scale: -1"), "expected a number above 0"),
    "huge error": (TEXT.replace("error: 0.00038", "error: 0.9"), "at most 0.5"),
    "mode": (TEXT.replace("mode: gate", "mode: off"), "expected gate or shadow"),
    "time": (TEXT.replace("2026-01-31T12:00:00+00:00", "yesterday"), "expected a time such as"),
    "no rule": (TEXT.replace("rule: {", "rulebook: {"), "`rule` is missing"),
    "a list": (TEXT.replace("rule: {", "rule: [{").replace("40}\ncert", "40}]\ncert"),
               "expected `key: value` lines"),
    "margin": (TEXT.replace("margin: 0.07, scale", "margin: 0.7, scale"), "larger than"),
    "label": (TEXT.replace("label: ok", "label: too noisy to gate"), "does not fit the mde"),
    "flag": (TEXT.replace("reached: true", "reached: maybe"), "expected true or false"),
    "alias": (TEXT.replace("mode: gate", "mode: &a gate"), "aliases and anchors"),
    "cut off": (TEXT[: len(TEXT) // 2], "policy.yml:"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_policy_file_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    text, problem = BROKEN[name]
    assert text != TEXT
    path = written(tmp_path)
    path.write_text(text)
    with pytest.raises(UserError, match=r"policy\.yml is malformed") as caught:
        policy_of(load_config(None, tmp_path))
    assert problem in caught.value.why
    assert f"{path}:" in caught.value.why
    assert "docs/calibration.md" in caught.value.advice


def test_a_policy_file_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_policy(CERTIFIED, tmp_path / "file" / "policy.yml")


def test_the_json_document_holds_everything() -> None:
    document = json.loads(json.dumps(calibration_to_json(SHADOW)))
    assert document["schema"] == 1
    assert document["mode"] == "shadow"
    assert document["too_noisy"] == ["训练: off"]
    assert document["roc"][0]["point"]["error"] == 3.8e-4


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_calibration_fits_the_terminal(width: int) -> None:
    for calibration in (CERTIFIED, SHADOW, replace(CERTIFIED, noise=CERTIFIED.noise * 50)):
        file = io.StringIO()
        print_calibration(calibration, Path("p.yml"), Console(file=file, width=width))
        text = file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        flat = " ".join(text.split())
        shadow = calibration is SHADOW
        assert ("Shadow mode: verdicts are advisory" in flat) == shadow
        assert ("Certified: 0 false positives" in flat) != shadow
        assert "train" in text


def test_a_policy_that_could_not_be_read_again_replaces_none(tmp_path: Path) -> None:
    path = written(tmp_path)
    budget = replace(CERTIFIED.budget, false_positives_per_week=2e6)
    with pytest.raises(UserError, match="could not be read again") as caught:
        write_policy(replace(CERTIFIED, budget=budget), path)
    assert f"{path}:" in caught.value.why
    assert read_policy(path) == CERTIFIED
    assert {file.name for file in path.parent.iterdir()} == {"policy.yml", "config.yml"}


def test_the_largest_scale_that_calibration_gives_is_read(tmp_path: Path) -> None:
    widest = tuple(
        replace(row, limits=replace(row.limits, scale=LARGEST_SCALE)) for row in CERTIFIED.judged
    )
    path = written(tmp_path, replace(CERTIFIED, judged=widest))
    assert read_policy(path).judged == widest


def test_a_policy_that_is_a_link_to_nowhere_is_no_missing_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    check_place(path)
    path.symlink_to(tmp_path / "gone.yml")
    with pytest.raises(UserError, match="cannot read") as caught:
        check_place(path)
    assert "does not exist" in caught.value.why
