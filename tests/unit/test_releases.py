"""Release measurements out of the ledger's records, and the series of levels that they make."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from ailab_bot.flows.baseline import ANCHOR, Baseline, baseline_of
from ailab_bot.flows.creep import (
    LEAST_SD,
    creep_of,
    creeps,
    narrowed,
    sd_of,
    sentence_of,
    series_of,
)
from ailab_bot.flows.releases import (
    MOST_RELEASES,
    Release,
    Result,
    along,
    build_releases,
    releases_from_view,
    releases_to_view,
    with_records,
)
from ailab_bot.ledger.places import DamagedViewError
from ailab_bot.ledger.records import Kind, Origin, Record
from ailab_bot.measure.git import Repository
from ailab_bot.model.verdict import Conclusion, Interval, VerdictKind

FIRST = datetime(2026, 1, 1, 3, tzinfo=UTC)
TTFB = ("train", "ttfb_s")


def sha(number: int) -> str:
    return f"{number:040x}"


def result(
    effect: float | None,
    kind: VerdictKind = VerdictKind.NO_CHANGE,
    *,
    sd: float = 0.005,
    confirmed: bool = False,
    name: str = "train",
) -> Result:
    if effect is None:
        return Result(name, "ttfb_s", VerdictKind.INCONCLUSIVE, confirmed=False)
    level, reach = math.log1p(effect), 2.5758 * sd
    interval = Interval(math.expm1(level - reach), math.expm1(level + reach))
    return Result(name, "ttfb_s", kind, confirmed, effect, interval)


def release(
    number: int,
    base: int,
    *results: Result,
    conclusion: Conclusion | None = Conclusion.SUCCESS,
    nights: float | None = None,
) -> Release:
    """The measurement of commit `number`, so many nights after the first."""
    when = FIRST + timedelta(days=number if nights is None else nights)
    return Release(sha(number), sha(base), when, 1000 + number, 1, conclusion, tuple(results))


def creeping(
    many: int, steps: dict[int, float], base: int = 0, noise: float = 0.005, seed: int = 1
) -> tuple[Release, ...]:
    """Nights against one baseline; the level moves at the nights of `steps`."""
    rng = random.Random(seed)
    found, level = [], 0.0
    for night in range(1, many + 1):
        level += steps.get(night, 0.0)
        effect = math.expm1(level + rng.gauss(0, noise))
        found.append(release(night, base, result(effect, sd=noise)))
    return tuple(found)


# --- records -----------------------------------------------------------------------------------


def records(release_: Release, origin: Origin = Origin.RELEASE) -> list[Record]:
    """What a release's report job hands over."""

    def record(scenario: str, *verdicts: dict[str, object]) -> Record:
        return Record(
            sha=release_.sha,
            base=release_.base,
            scenario=scenario,
            run=release_.run,
            attempt=release_.attempt,
            begun=release_.when,
            when=release_.when + timedelta(hours=release_.attempt),
            verdicts=verdicts,
            origin=origin,
        )

    said = release_.conclusion.value if release_.conclusion else "nonsense"
    rows = [record("", {"conclusion": said})]
    for each in release_.results:
        interval = each.interval and [each.interval.low, each.interval.high]
        verdict: dict[str, object] = {
            "scenario": each.scenario,
            "metric": each.metric,
            "verdict": each.kind.value,
            "confirmed": each.confirmed,
            "effect": each.effect,
            "interval": interval,
            "level": each.level,
            "reason": "whatever else a verdict says",
        }
        rows.append(record(each.scenario, verdict))
    return rows


def all_records(releases: Iterable[Release]) -> list[Record]:
    return [record for each in releases for record in records(each)]


NIGHTS = (
    release(1, 0, result(0.01), result(None, name="other")),
    release(2, 0, result(0.3, VerdictKind.REGRESSION, confirmed=True), conclusion=None),
    release(3, 1, result(-0.2, VerdictKind.IMPROVEMENT, confirmed=True)),
)


def test_records_become_the_measurements_that_they_are_of() -> None:
    made = with_records((), all_records(NIGHTS))
    assert [each.sha for each in made] == [sha(1), sha(2), sha(3)]
    assert made == tuple(replace(each, results=_sorted(each.results)) for each in NIGHTS)
    assert [each.improved for each in made] == [False, False, True]


def _sorted(results: Iterable[Result]) -> tuple[Result, ...]:
    return tuple(sorted(results, key=lambda each: (each.scenario, each.metric)))


def test_the_order_of_records_does_not_matter() -> None:
    shuffled = all_records(NIGHTS)
    random.Random(3).shuffle(shuffled)
    assert with_records((), shuffled) == with_records((), all_records(NIGHTS))


def test_the_latest_attempt_counts() -> None:
    first = release(1, 0, result(0.3, VerdictKind.REGRESSION), conclusion=Conclusion.ERROR)
    again = replace(first, attempt=2, conclusion=Conclusion.SUCCESS, results=(result(0.01),))
    for order in ([first, again], [again, first]):
        assert with_records((), all_records(order)) == (again,)
    assert with_records((again,), records(first)) == (again,)


@pytest.mark.parametrize("origin", [Origin.PULL_REQUEST, Origin.MERGE_GROUP, Origin.LOCAL])
def test_a_pull_requests_numbers_are_none_of_a_release(origin: Origin) -> None:
    assert with_records((), records(NIGHTS[2], origin)) == ()


def test_other_kinds_of_records_and_unreadable_verdicts_are_passed_over() -> None:
    plan = replace(records(NIGHTS[0])[0], kind=Kind.PLAN, verdicts=(), body={"a": 1})
    odd = replace(records(NIGHTS[0])[1], verdicts=({"scenario": "train", "effect": "much"},))
    (made,) = with_records((), [plan, odd])
    assert made.results == ()
    assert made.conclusion is None


def test_the_view_holds_what_was_put_into_it() -> None:
    made = with_records((), all_records(NIGHTS))
    assert releases_from_view(releases_to_view(made)) == made
    half = build_releases(None, iter(all_records(NIGHTS[:2])))
    whole = build_releases(half, iter(all_records(NIGHTS[2:])))
    assert releases_from_view(whole) == made


def test_only_the_newest_are_kept() -> None:
    many = [release(number, 0, result(0.0)) for number in range(1, MOST_RELEASES + 6)]
    made = releases_from_view(build_releases(None, iter(all_records(many))))
    assert (len(made), made[0].sha) == (MOST_RELEASES, sha(6))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"schema":2,"releases":[]}', b'{"schema":1,"releases":[{"sha":"x"}]}']
)
def test_a_damaged_view_is_made_of_everything(data: bytes) -> None:
    with pytest.raises(DamagedViewError):
        build_releases(data, iter(()))


# --- series ------------------------------------------------------------------------------------


def test_levels_add_up_over_baselines() -> None:
    points = series_of(
        (release(1, 0, result(0.10)), release(2, 1, result(0.10)), release(3, 2, result(-0.05))),
        *TTFB,
    )
    levels = [math.expm1(each.level) for each in points]
    assert levels == pytest.approx([0.10, 0.21, 0.1495])
    assert {each.chain for each in points} == {0}


def test_a_baseline_that_was_not_measured_begins_anew() -> None:
    points = series_of(
        (release(1, 0, result(0.10)), release(3, 2, result(0.02)), release(4, 0, result(0.11))),
        *TTFB,
    )
    assert [each.chain for each in points] == [0, 1, 0]
    assert math.expm1(points[1].level) == pytest.approx(0.02)


def test_what_was_not_measured_is_no_point() -> None:
    open_end = Result("train", "ttfb_s", VerdictKind.INCONCLUSIVE, False, 0.1, Interval(-1.0, 0.2))
    assert series_of((release(1, 0, result(None)), release(2, 0, open_end)), *TTFB) == ()


def test_an_error_is_read_off_the_interval() -> None:
    interval = result(0.1, sd=0.02).interval
    assert interval is not None
    assert sd_of(interval.low, interval.high) == pytest.approx(0.02, rel=1e-3)
    assert sd_of(0.0, 0.0) == LEAST_SD
    assert sd_of(-1.0, 0.3) is None
    assert sd_of(0.1, math.inf) is None


def test_creep_is_told_with_its_steps_though_none_was_announced() -> None:
    nights = creeping(60, {20: 0.02, 40: 0.02})
    creep = creep_of(nights, *TTFB)
    assert creep is not None
    assert [each.bad for each in creep.moves] == pytest.approx([sha(20), sha(40)])
    assert creep.total == pytest.approx(0.0408, abs=0.003)
    assert (creep.good, creep.bad, creep.since) == (sha(39), sha(40), sha(0))
    assert creeps(nights) == (creep,)
    said = sentence_of(creep).replace("\u00a0", " ")
    assert said.startswith("train has crept +4.")
    assert "over 60 nights in 2 steps, none of them announced: " in said
    assert f"{sha(19)[:12]}..{sha(20)[:12]} +" in said


def test_what_was_announced_is_said() -> None:
    nights = list(creeping(40, {20: 0.08}))
    for at in range(20, 40):
        own = nights[at].results[0]
        told = replace(own, kind=VerdictKind.REGRESSION, confirmed=True)
        nights[at] = replace(nights[at], results=(told,))
    creep = creep_of(nights, *TTFB)
    assert creep is not None
    assert creep.announced
    assert "in 1 step, which was announced: " in sentence_of(creep)


def test_what_became_faster_has_not_crept() -> None:
    assert creep_of(creeping(60, {30: -0.05}), *TTFB) is None
    assert creep_of(creeping(60, {20: -0.05, 40: 0.02}), *TTFB) is None, "it is still faster"
    assert creep_of(creeping(60, {}), *TTFB) is None
    assert creep_of((), *TTFB) is None
    assert creeps(()) == ()


def test_a_new_baseline_is_no_step() -> None:
    """Its own error, large here, moves all that follow alike."""
    wrong = release(31, 0, result(0.05, sd=0.05))
    after = [
        replace(each, sha=sha(100 + at), base=sha(31), when=each.when + timedelta(days=40))
        for at, each in enumerate(creeping(30, {}, seed=2))
    ]
    assert creep_of((*creeping(30, {}), wrong, *after), *TTFB) is None


def test_a_commit_that_is_measured_night_after_night_is_one_point() -> None:
    """A machine that is replaced meanwhile has not changed the code."""
    same = [
        replace(each, sha=sha(7), run=each.run + night)
        for night, each in enumerate(creeping(40, {20: 0.05}))
    ]
    assert creep_of(same, *TTFB) is None


# --- where to search ---------------------------------------------------------------------------


def test_a_search_begins_before_the_latest_step() -> None:
    nights = creeping(60, {20: 0.03, 40: 0.03})
    assert narrowed(nights, *TTFB, baseline=sha(0), head=sha(60)) == sha(39)


def test_a_search_for_tonights_jump_begins_at_last_night() -> None:
    nights = creeping(30, {30: 0.2})
    assert narrowed(nights, *TTFB, baseline=sha(0), head=sha(30)) == sha(29)


def test_a_jump_that_the_night_before_could_not_tell_is_searched_from_before_it() -> None:
    nights = list(creeping(30, {29: 0.2}))
    nights[28] = replace(nights[28], results=(result(0.1, sd=0.1),))
    assert narrowed(nights, *TTFB, baseline=sha(0), head=sha(30)) == sha(28)


@pytest.mark.parametrize("many", [1, 3, 30])
def test_without_anything_better_the_baseline_is_good(many: int) -> None:
    nights = creeping(many, {1: 0.2})
    assert narrowed(nights, *TTFB, baseline=sha(0), head=sha(many)) == sha(0)


def test_what_was_measured_against_another_baseline_or_not_at_all_narrows_nothing() -> None:
    nights = creeping(30, {30: 0.2})
    assert narrowed(nights, *TTFB, baseline=sha(99), head=sha(30)) == sha(99)
    assert narrowed(nights, *TTFB, baseline=sha(0), head=sha(31)) == sha(0)
    assert narrowed(nights, "other", "ttfb_s", baseline=sha(0), head=sha(30)) == sha(0)


# --- the baseline, in a real repository --------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Ten commits of main, a day apart; `side` forks at the fifth."""
    root = new_repository(tmp_path / "repository")
    for number in range(1, 11):
        for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            monkeypatch.setenv(name, (FIRST + timedelta(days=number)).isoformat())
        commit(root, {"a.txt": f"{number}\n"}, f"Commit {number}")
        if number == 5:
            git(root, "branch", "side")
    git(root, "checkout", "--quiet", "side")
    commit(root, {"b.txt": "side\n"}, "Side")
    git(root, "checkout", "--quiet", "main")
    return Repository(root)


def at(clone: Repository, number: int) -> str:
    return clone.resolve(f"main~{10 - number}").sha


def measured(
    clone: Repository, number: int, base: int, *results: Result, **more: object
) -> Release:
    own = release(number, base, *results, **more)  # type: ignore[arg-type]
    return replace(own, sha=at(clone, number), base=at(clone, base))


NOW = FIRST + timedelta(days=11)


def found(clone: Repository, *releases: Release, begun: datetime = NOW) -> Baseline | None:
    return baseline_of(clone, at(clone, 10), releases, ("v[0-9]*",), begun)


def test_the_newest_release_before_head_is_the_baseline(clone: Repository) -> None:
    for name, number in (("v1.0", 2), ("v1.2", 7), ("v1.3", 10), ("nightly", 9)):
        git(clone.root, "tag", name, at(clone, number))
    git(clone.root, "tag", "v9.0", "side")
    good = found(clone)
    assert good is not None
    assert (good.sha, good.name) == (at(clone, 7), "v1.2")
    assert good.why == "v1.2 is the newest release before it whose measurement did not fail."


def test_of_a_tag_with_a_time_of_its_own_that_counts(clone: Repository) -> None:
    git(clone.root, "tag", "v1.0", at(clone, 2))
    git(clone.root, "tag", "--annotate", "--message=v1.1", "v1.1", at(clone, 4))  # made on day 10
    early = FIRST + timedelta(days=9, hours=12)
    assert getattr(found(clone, begun=early), "name", "") == "v1.0"
    assert getattr(found(clone), "name", "") == "v1.1"


def test_a_release_whose_latest_measurement_failed_is_passed_over(clone: Repository) -> None:
    git(clone.root, "tag", "v1.0", at(clone, 2))
    git(clone.root, "tag", "v1.1", at(clone, 4))
    bad = measured(clone, 4, 2, conclusion=Conclusion.FAILURE)
    assert getattr(found(clone, bad), "name", "") == "v1.0"
    again = replace(bad, run=bad.run + 1, conclusion=Conclusion.SUCCESS)
    assert getattr(found(clone, bad, again), "name", "") == "v1.1"


def test_an_improvement_after_the_release_is_the_baseline(clone: Repository) -> None:
    git(clone.root, "tag", "v1.0", at(clone, 4))
    better = result(-0.1, VerdictKind.IMPROVEMENT, confirmed=True)
    before, after = measured(clone, 3, 1, better), measured(clone, 6, 4, better)
    good = found(clone, before, after)
    assert good is not None
    assert (good.sha, good.name) == (at(clone, 6), at(clone, 6)[:12])
    assert good.why == "An improvement was measured there on 2026-01-07."
    assert getattr(found(clone, before), "name", "") == "v1.0"
    spoilt = replace(after, conclusion=Conclusion.FAILURE)
    assert getattr(found(clone, spoilt), "name", "") == "v1.0"


def test_without_a_release_the_oldest_baseline_stays(clone: Repository) -> None:
    one, two = measured(clone, 3, 2), measured(clone, 6, 5)
    good = found(clone, one, two)
    assert good is not None
    assert good.sha == at(clone, 2)
    assert "since 2026-01-04" in good.why
    long_after = one.when + ANCHOR + timedelta(hours=1)
    assert getattr(found(clone, one, two, begun=long_after), "sha", "") == at(clone, 5)


def test_another_branchs_measurements_name_no_baseline(clone: Repository) -> None:
    side = replace(measured(clone, 3, 2), base=clone.resolve("side").sha)
    lost = replace(measured(clone, 3, 2), base=sha(77))
    assert found(clone, side, lost) is None
    assert found(clone) is None


def test_only_heads_own_line_of_history_makes_a_series(clone: Repository) -> None:
    own = [measured(clone, number, 1) for number in (3, 6, 10)]
    others = [replace(own[0], sha=clone.resolve("side").sha), replace(own[0], sha=sha(77))]
    assert along(clone, at(clone, 10), [*own, *others]) == tuple(own)
    assert along(clone, at(clone, 6), own) == tuple(own[:2])
