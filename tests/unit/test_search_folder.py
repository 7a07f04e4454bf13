"""The folder of a search: who may go on with it, and that only one does at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ailab_bot.errors import UserError
from ailab_bot.flows.search_folder import STATE, begin, locked, take_up
from ailab_bot.flows.stand import Work
from ailab_bot.measure.environment import Environment
from ailab_bot.measure.git import Repository
from ailab_bot.model.noise import Noise
from ailab_bot.model.policy import Policy
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Evidence, Quest, Refusal, SeenBlock

GOOD, BAD = "0" * 40, "1" * 40
QUEST = Quest(GOOD, BAD, "launch", "ttfb_s")
SCENARIO = Scenario("launch", ("python", "train.py"), Path("/nowhere"))
WORK = Work(
    Repository(Path("/nowhere")), GOOD, SCENARIO, Environment("/usr/bin/python3", "3.11.9"),
    Policy(), Noise(), 0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AILAB_CACHE_DIR", str(tmp_path / "cache"))


def test_a_search_is_taken_up_with_its_seed_what_it_knew_and_whom_it_refused() -> None:
    known = Evidence((SeenBlock(BAD, 1.0, 1.2, "cpu"),), trials=2)
    folder = begin(WORK, QUEST, 7, known)
    refusal = Refusal(BAD, 20, {BAD: 4})
    folder.refused((refusal,))

    again = take_up(folder.path, WORK, QUEST, None)

    assert (again.path, again.seed) == (folder.path, 7)
    assert (again.earlier.blocks, again.earlier.refusals) == (known.blocks, (refusal,))
    assert again.earlier.trials == 42


@pytest.mark.parametrize(
    ("work", "quest", "seed", "said"),
    [
        (WORK, replace(QUEST, bad="2" * 40), None, "bad"),
        (WORK, replace(QUEST, metric="peak_rss_bytes"), None, "metric"),
        (WORK, QUEST, 8, "seed"),
        (replace(WORK, python=Environment("/opt/python3", "3.12.1")), QUEST, None, "python"),
        (replace(WORK, scenario=replace(SCENARIO, command=("true",))), QUEST, 7, "definition"),
    ],
)
def test_what_was_asked_otherwise_is_refused(
    work: Work, quest: Quest, seed: int | None, said: str
) -> None:
    folder = begin(WORK, QUEST, 7, Evidence())
    with pytest.raises(UserError, match="was another one") as refused:
        take_up(folder.path, work, quest, seed)
    assert f"Its {said} is" in refused.value.why


@pytest.mark.parametrize("damaged", ["[]", "{", '{"seed": "x"}', None])
def test_a_folder_without_a_search_is_refused(tmp_path: Path, damaged: str | None) -> None:
    if damaged is not None:
        (tmp_path / STATE).write_text(damaged)
    with pytest.raises(UserError, match="no search can be taken up"):
        take_up(tmp_path, WORK, QUEST, None)


def test_a_damaged_list_of_the_refused_is_told() -> None:
    folder = begin(WORK, QUEST, 7, Evidence())
    (folder.path / "refused.json").write_text(json.dumps({"refusals": 1}))
    with pytest.raises(UserError, match="no search can be taken up"):
        take_up(folder.path, WORK, QUEST, None)


def test_two_searches_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(UserError, match="another search is at work"),
        locked(tmp_path),
    ):
        raise AssertionError
    with locked(tmp_path):
        assert list(tmp_path.glob("*lock*")) == []
