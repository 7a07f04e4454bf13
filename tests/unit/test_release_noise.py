"""What releases say of the noise: which records count, how far a scale moves, and the command."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from repositories import commit, git, new_repository
from sample_calibrations import CERTIFIED

from ailab_bot.cli import main
from ailab_bot.flows.history import BRANCH, write_history
from ailab_bot.flows.release_noise import (
    LEAST_RELEASES,
    NOTE,
    Learned,
    new_scale,
    noise_of,
    told,
    with_releases,
)
from ailab_bot.ledger.git_branch import Ledger
from ailab_bot.ledger.records import Kind, Origin, Record
from ailab_bot.model.calibration import Calibration
from ailab_bot.policyfile import policy_text, read_policy, write_policy
from ailab_bot.stats.compare import robust_deviation
from ailab_bot.stats.noise import SMALLEST_SCALE, unbiased_deviation

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=365)
TRAIN = ("train", "ttfb_s")
SCALE = 0.049


def night(
    number: int,
    noise: object = 0.1,
    *,
    origin: Origin = Origin.RELEASE,
    attempt: int = 1,
    scenario: str = "train",
    metric: str = "ttfb_s",
    now: datetime = NOW,
    blocks: int = 1000,
    fresh: int = 0,
) -> Record:
    """The verdict of the run that began so many nights ago; a day later it ended."""
    begun = now - timedelta(days=number, hours=1)
    row = {"metric": metric, "noise": noise, "blocks_used": blocks, "confirmation_blocks": fresh}
    return Record(
        f"{number:040x}", "f" * 40, scenario, 1000 + number, attempt, begun + timedelta(days=1),
        machine="a cpu", verdicts=(row,), origin=origin, begun=begun,
    )  # fmt: skip


def nights(noises: Iterable[float], now: datetime = NOW) -> list[Record]:
    return [night(number, noise, now=now) for number, noise in enumerate(noises)]


def learn(records: Sequence[Record], calibration: Calibration = CERTIFIED) -> Learned:
    return with_releases(calibration, records, NOW)


def scale_of(calibration: Calibration, scenario: str = "train", metric: str = "ttfb_s") -> float:
    return calibration.policy("here").limits(scenario, metric).scale


def test_noisier_nights_move_the_scale_and_nothing_else() -> None:
    learned = learn(nights([0.098] * 14))
    (moved,) = learned.moved
    assert (moved.scenario, moved.metric, moved.before, moved.releases) == (*TRAIN, SCALE, 14)
    after = learned.calibration
    assert SCALE * 1.3 < scale_of(after) == moved.after < 0.098
    assert after.notes[:-1] == CERTIFIED.notes
    assert after.notes[-1].startswith(NOTE)
    assert "train ttfb_s 4.90% -> " in after.notes[-1]
    assert "(14 releases)" in after.notes[-1]
    undone = replace(after.judged[0], limits=CERTIFIED.judged[0].limits)
    before = replace(
        after, when=CERTIFIED.when, notes=CERTIFIED.notes, judged=(undone, *after.judged[1:])
    )
    assert before == CERTIFIED


def test_pull_requests_queues_and_desks_have_no_say() -> None:
    for origin in set(Origin) - {Origin.RELEASE}:
        assert not learn([night(n, origin=origin) for n in range(14)]).weighed


def test_a_run_counts_once_by_its_latest_attempt_in_any_order() -> None:
    rows = [night(1, 0.5), night(1, 0.1, attempt=2)]
    for order in (rows, rows[::-1]):
        values = noise_of(order, LONG_AGO, NOW)
        assert values[TRAIN] == pytest.approx([0.1], rel=0.01)
    unusable = [night(1), night(1, None, attempt=2)]
    assert noise_of(unusable, LONG_AGO, NOW) == {}


def test_only_the_last_two_weeks_count() -> None:
    assert learn([night(n) for n in range(14)]).most == 14
    assert learn([night(n) for n in range(14, 40)]).most == 0
    assert learn([night(n) for n in range(-10, 0)]).most == 0, "a clock that is ahead"


def test_no_run_counts_twice() -> None:
    once = learn(nights([0.098] * 14))
    again = learn(nights([0.098] * 14), once.calibration)
    assert again.calibration == once.calibration
    assert not again.weighed
    assert "Too few releases to learn from since 2026-03-15" in told(again, Path("p"))


def test_the_next_note_takes_the_place_of_the_last() -> None:
    once = learn(nights([0.098] * 14)).calibration
    later = NOW + timedelta(days=14)
    twice = with_releases(once, nights([0.098] * 13, later), later).calibration
    assert scale_of(once) < scale_of(twice) < 0.099
    assert [note.startswith(NOTE) for note in twice.notes] == [False, True]


def test_too_few_releases_change_nothing() -> None:
    learned = learn(nights([0.098] * (LEAST_RELEASES - 1)))
    assert learned.calibration is CERTIFIED
    assert "4 with a usable noise, 5 are needed" in told(learned, Path("p"))
    assert learn(nights([0.098] * LEAST_RELEASES)).moved


def test_a_metric_that_the_policy_has_no_row_for_is_not_added() -> None:
    records = [night(n, metric="cpu_s") for n in range(14)]
    records += [night(n, scenario="unheard-of") for n in range(14)]
    assert not learn(records).weighed


@pytest.mark.parametrize("noise", [None, True, "0.1", -0.1, 11.0, float("nan"), float("inf")])
def test_what_is_no_noise_is_passed_over(noise: object) -> None:
    assert noise_of([night(1, noise)], LONG_AGO, NOW) == {}


def test_few_blocks_are_corrected_and_very_few_passed_over() -> None:
    assert noise_of([night(1, blocks=4)], LONG_AGO, NOW) == {}
    assert noise_of([night(1, blocks=40, fresh=4)], LONG_AGO, NOW) == {}
    (value,) = noise_of([night(1, 0.1, blocks=40, fresh=12)], LONG_AGO, NOW)[TRAIN]
    assert value == pytest.approx(0.1 * 12 / 11.2)
    (value,) = noise_of([night(1, 0.1, blocks=6)], LONG_AGO, NOW)[TRAIN]
    assert value == pytest.approx(0.12)


def test_a_scale_moves_by_a_factor_of_two_at_most() -> None:
    assert new_scale(0.05, [5.0] * 14) == 0.1
    assert new_scale(0.05, [0.0] * 1000) == 0.025
    assert new_scale(SMALLEST_SCALE, [0.0] * 14) == SMALLEST_SCALE
    assert new_scale(9.0, [10.0] * 10_000) <= 10.0


def test_one_wild_night_does_not_decide() -> None:
    assert new_scale(0.05, [0.05] * 13 + [9.0]) == 0.05


def scales(factor: float, releases: int, blocks: int, draws: int = 600) -> np.ndarray:
    """New over old scale, release by release measured as a verdict measures it."""
    rng = np.random.default_rng(20_26)
    found = []
    for _ in range(draws):
        ratios = rng.normal(0, factor * SCALE, (releases, blocks))
        own = [unbiased_deviation(robust_deviation(each), blocks) for each in ratios]
        found.append(new_scale(SCALE, own) / SCALE)
    return np.array(found)


@pytest.mark.parametrize(("releases", "blocks"), [(5, 12), (14, 12), (14, 40)])
def test_a_scale_that_is_right_stays(releases: int, blocks: int) -> None:
    found = scales(1.0, releases, blocks)
    assert (np.abs(found - 1) <= 0.15).mean() >= 0.95
    assert abs(found.mean() - 1) < 0.03


def test_a_scale_that_is_far_too_small_rises() -> None:
    found = scales(1.8, 14, 12)
    assert (found > 1.3).mean() >= 0.85
    assert found.mean() > 1.4
    assert (scales(1.8, 14, 40) > 1.3).mean() >= 0.99


# --- the command -------------------------------------------------------------------------------


def in_clone(tmp_path: Path, records: Sequence[Record]) -> Path:
    origin = new_repository(tmp_path / "origin")
    commit(origin, {"a.txt": "a\n"})
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", origin.as_uri(), str(folder))
    write_policy(replace(CERTIFIED, when=LONG_AGO), folder / ".ailab" / "policy.yml")
    if records:
        write_history(Ledger(folder), records, sleep=lambda _: None, rng=random.Random(1))
        git(folder, "fetch", "--quiet", "origin", f"{BRANCH}:refs/remotes/origin/{BRANCH}")
    return folder


def real(count: int) -> list[Record]:
    now = datetime.now(UTC).replace(microsecond=0)
    found = [night(n, 0.098, now=now) for n in range(count)]
    found += [night(20 + n, 0.9, now=now, origin=Origin.PULL_REQUEST) for n in range(9)]
    whole = replace(found[0], scenario="", verdicts=({"conclusion": "success"},))
    return [*found, whole, replace(whole, kind=Kind.PLAN, verdicts=(), body={"a": 1})]


def test_the_command_reads_the_ledger_and_writes_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = in_clone(tmp_path, real(12))
    place = clone / ".ailab" / "policy.yml"
    assert main(["calibrate", "--releases", "--repo", str(clone), "--json", "-"]) == 0
    heard = capsys.readouterr()
    document = json.loads(heard.out)
    assert document["written"] is True
    assert document["scales"][0]["releases"] == 12
    assert "train ttfb_s 4.90% -> " in heard.err
    after = read_policy(place)
    assert scale_of(after) == document["scales"][0]["after"] > SCALE * 1.3
    assert after.certificate == CERTIFIED.certificate
    assert after.noise == CERTIFIED.noise
    text = place.read_text()
    assert main(["calibrate", "--releases", "--repo", str(clone)]) == 0
    assert place.read_text() == text, "no run counts twice"


def test_another_file_is_written_and_the_policy_kept(tmp_path: Path) -> None:
    clone = in_clone(tmp_path, real(12))
    out = tmp_path / "new.yml"
    place = clone / ".ailab" / "policy.yml"
    text = place.read_text()
    assert main(["calibrate", "--releases", "--repo", str(clone), "--out", str(out)]) == 0
    assert scale_of(read_policy(out)) > SCALE * 1.3
    assert place.read_text() == text


def test_too_few_releases_leave_the_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = in_clone(tmp_path, real(4))
    assert main(["calibrate", "--releases", "--repo", str(clone)]) == 0
    assert "Too few releases" in capsys.readouterr().err
    place = clone / ".ailab" / "policy.yml"
    assert place.read_text() == policy_text(replace(CERTIFIED, when=LONG_AGO))


def test_without_a_policy_file_the_advice_is_to_calibrate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = in_clone(tmp_path, real(12))
    (clone / ".ailab" / "policy.yml").unlink()
    assert main(["calibrate", "--releases", "--repo", str(clone)]) == 2
    assert "Run `ailab calibrate` first" in capsys.readouterr().err
    assert not (clone / ".ailab" / "policy.yml").exists()


def test_without_a_ledger_the_advice_is_to_fetch_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = in_clone(tmp_path, [])
    assert main(["calibrate", "--releases", "--repo", str(clone)]) == 2
    assert f"git fetch origin {BRANCH}" in capsys.readouterr().err


def test_what_is_for_a_measurement_does_not_go_with_releases(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["calibrate", "--releases", "aa.jsonl", "--blocks", "9"]) == 2
    assert "takes no files of trials, --blocks" in capsys.readouterr().err
