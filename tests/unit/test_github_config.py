"""`github:` in the configuration: read exactly, or refused with line and column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ailab_bot.config import load_config
from ailab_bot.errors import UserError
from ailab_bot.model.github import ACTIONS_BOT_ID, MOST_SHARDS, GitHub, Pool, Profile, Queue
from ailab_bot.model.report import GateMode

FULL = """\
github:
  mode: advisory
  profile: control
  runners:
    cpu: {labels: [self-hosted, cpu], count: 3}
    gpu: [self-hosted, gpu]
  merge_queue: measure
  shard_minutes: 45
  bot_id: 1234567
  hosted: [big-ephemeral]
  history: false
  releases: ["v*", "release-*"]
"""


def load(folder: Path, text: str) -> GitHub:
    (folder / "ailab.yml").write_text(text, encoding="utf-8")
    return load_config(folder / "ailab.yml", folder).github


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) == GitHub(
        GateMode.ADVISORY,
        Profile.CONTROL,
        {"cpu": Pool(("self-hosted", "cpu"), 3), "gpu": Pool(("self-hosted", "gpu"), 1)},
        Queue.MEASURE,
        45,
        1234567,
        ("big-ephemeral",),
        history=False,
        releases=("v*", "release-*"),
    )


def test_nothing_has_to_be_said(tmp_path: Path) -> None:
    found = load(tmp_path, "capacity_s: 60\n")
    assert found == GitHub()
    assert found.mode is GateMode.ENFORCE
    assert found.profile is Profile.SIMPLE
    assert found.bot_id == ACTIONS_BOT_ID
    assert found.kept_pools() == []


def test_releases_are_named_by_patterns_or_by_none(tmp_path: Path) -> None:
    assert load(tmp_path, "github: {}\n").releases == ("v[0-9]*",)
    assert load(tmp_path, "github: {releases: []}\n").releases == ()
    for wrong, said in (
        ("[v*, v*]", "`v*` stands there twice"),
        ("v*", "patterns of tags such as"),
    ):
        with pytest.raises(UserError) as caught:
            load(tmp_path, f"github: {{releases: {wrong}}}\n")
        assert said in caught.value.why


@pytest.mark.parametrize("word", ["no", "off", "False"])
def test_history_is_kept_unless_somebody_says_no(word: str, tmp_path: Path) -> None:
    assert load(tmp_path, "github: {}\n").history
    assert not load(tmp_path, f"github: {{history: {word}}}\n").history
    for wrong in ('"false"', "0", "[]", "never"):
        with pytest.raises(UserError) as caught:
            load(tmp_path, f"github: {{history: {wrong}}}\n")
        assert "1:19: expected true or false" in caught.value.why


@pytest.mark.parametrize("mode", ["off", '"off"', "'off'"])
def test_off_needs_no_quotes(mode: str, tmp_path: Path) -> None:
    """To YAML a plain off is false; whoever writes it here means the mode."""
    assert load(tmp_path, f"github: {{mode: {mode}}}\n").mode is GateMode.OFF


@pytest.mark.parametrize("mode", GateMode)
def test_every_mode_can_be_written(mode: GateMode, tmp_path: Path) -> None:
    assert load(tmp_path, f"github:\n  mode: {mode}\n").mode is mode


#: Setting -> line:column and what is said. Every setting stands on line 2 from column 3 on.
BAD = {
    "mode: enforced": ("2:9", "expected one of enforce, advisory, off", "did you mean `enforce`?"),
    "mode: false": ("2:9", "expected one of enforce, advisory, off, found"),
    "mode: no": ("2:9", "expected one of enforce"),
    "mode: ON": ("2:9", "expected one of enforce"),
    "mode: [off]": ("2:9", "expected one of enforce, advisory, off, found a list"),
    "mode:": ("2:8", "expected one of enforce"),
    "mod: off": ("2:3", "unknown key `mod`; did you mean `mode`?"),
    "profile: P0": ("2:12", "expected one of simple, control"),
    "merge_queue: skip": ("2:16", "expected one of pass, measure"),
    "shard_minutes: 4": ("2:18", "expected a whole number from 5 to 360"),
    "shard_minutes: 361": ("2:18", "expected a whole number from 5 to 360"),
    "shard_minutes: 90.5": ("2:18", "expected a whole number"),
    "shard_minutes: ٩٠": ("2:18", "expected a whole number"),
    "bot_id: 0": ("2:11", "expected a whole number from 1"),
    "bot_id: -1": ("2:11", "expected a whole number from 1"),
    "bot_id: github-actions": ("2:11", "expected a whole number from 1"),
    "bot_id: 41898282000": ("2:11", "expected a whole number from 1"),
    "hosted: big": ("2:11", "expected", "found a text"),
    "hosted: [[big]]": ("2:12", "expected a text, found a list"),
    "runners: cpu": ("2:12", "expected a mapping such as {cpu: {labels: [ubuntu-latest],"),
    "runners: {}": ("2:12", "expected a mapping such as"),
    "runners: {cpu: ubuntu-latest}": ("2:18", "expected labels such as [self-hosted, gpu]"),
    "runners: {cpu: []}": ("2:18", "expected labels such as"),
    "runners: {cpu: [true]}": ("2:19", "expected a text"),
    "runners: {cpu: [a, b, a]}": ("2:25", "`a` stands there twice"),
    "runners: {cpu: {count: 2}}": ("2:18", "`labels` is missing"),
    "runners: {cpu: {labels: [a], count: 0}}": ("2:39", f"whole number from 1 to {MOST_SHARDS}"),
    "runners: {cpu: {labels: [a], count: 17}}": ("2:39", f"whole number from 1 to {MOST_SHARDS}"),
    "runners: {cpu: {labels: [a], cont: 2}}": ("2:32", "unknown key `cont`; did you mean `count`?"),
    "runners: {cpu: [a], cpu: [b]}": ("2:23", "`cpu` stands there twice"),
    "runners: {? [cpu] : [a]}": ("2:15", "expected a text, found a list"),
    "runners: {" + ", ".join(f"p{n}: [a]" for n in range(MOST_SHARDS + 1)) + "}": (
        "2:12",
        f"at most {MOST_SHARDS} kinds of runners",
    ),
}  # fmt: skip


@pytest.mark.parametrize("setting", BAD)
def test_a_wrong_setting_is_refused_where_it_stands(setting: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ailab\.yml is malformed") as caught:
        load(tmp_path, f"github:\n  {setting}\n")
    place, *texts = BAD[setting]
    first = caught.value.why.split("\n")[0]
    assert re.search(rf"ailab\.yml:{place}: ", first), first
    for text in texts:
        assert text in first
    assert caught.value.advice


@pytest.mark.parametrize("value", ["", " off", " [mode]", " 3"])
def test_it_is_a_mapping(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, f"github:{value}\n")
    assert "expected a mapping such as {mode: advisory}" in caught.value.why


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, "github:\n  mode: on\n  bot_id: x\n  runners: {gpu: x}\n")
    places = re.findall(r"ailab\.yml:(\d+:\d+): ", caught.value.why)
    assert places == ["2:9", "3:11", "4:18"]


def test_machines_that_outlive_a_job_are_told_from_those_thrown_away() -> None:
    assert Pool(("ubuntu-latest",)).hosted
    assert Pool(("macos-15", "windows-2025")).hosted
    for labels in (("self-hosted",), ("ubuntu-latest", "self-hosted"), ("my-ubuntu-",)):
        assert not Pool(labels).hosted
    runners = {"cpu": Pool(("ubuntu-latest",)), "big": Pool(("big",)), "gpu": Pool(("gpu",))}
    assert GitHub(runners=runners, hosted=("big",)).kept_pools() == ["gpu"]


@pytest.mark.parametrize(
    "label",
    [
        *("ubuntu-latest", "ubuntu-slim", "ubuntu-22.04", "ubuntu-24.04", "ubuntu-24.04-arm"),
        *("windows-latest", "windows-2022", "windows-2025", "windows-11-arm"),
        *("macos-latest", "macos-15", "macos-15-intel", "macos-latest-large", "macos-14-xlarge"),
    ],
)
def test_the_labels_of_githubs_own_machines_are_known(label: str) -> None:
    assert Pool((label,)).hosted


@pytest.mark.parametrize(
    "label",
    [
        *("ubuntu-", "ubuntu-bench-01", "ubuntu-latest-8-cores", "ubuntu-24.04-gpu", "ubuntu-24"),
        *("my-ubuntu-latest", "ubuntu-latest\n", "ubuntu-latest ", "Ubuntu-latest-2"),
        *("ubuntu-२४.०४", "ubuntu-24x04", "windows-", "windows-lab", "windows-2025-lab"),
        *("macos-", "macos-mini-3", "macos-15-lab", ""),
    ],
)
def test_a_machine_that_is_only_called_alike_is_not_taken_for_githubs(label: str) -> None:
    """A stranger's code would leave something behind on it."""
    assert not Pool((label,)).hosted
    assert GitHub(runners={"cpu": Pool((label,))}).kept_pools() == ["cpu"]
