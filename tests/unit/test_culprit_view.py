"""What a search for a culprit found, as people and programs read it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from ailab_bot.model.culprit import Check, Culprit, Ending, Measured, RangeCommit
from ailab_bot.model.culpritwire import culprit_to_json
from ailab_bot.model.report import Commit
from ailab_bot.model.verdict import Interval
from ailab_bot.report.culprit import MOST_MARKS, InOwnWords, marks, print_culprit, step_line
from ailab_bot.report.progress import LineProgress, LiveProgress

A, B, C = (each * 40 for each in "abc")
COMMITS = tuple(
    RangeCommit(sha, (A,), "Ada", "ada@example.invalid", f"Change {sha[0]}") for sha in (A, B, C)
)
FOUND = Culprit(
    "launch", "ttfb_s", Commit("v1", "0" * 40), Commit("main", C), Ending.FOUND,
    "After 8 blocks: one commit explains what the bad end shows.", culprit=COMMITS[1],
    posterior={A: 0.004, B: 0.99, C: 0.003},
    tested=(Measured(B, (0.1, 0.12)), Measured(C, (0.11,))),
    effect=0.117, interval=Interval(0.1, 0.13), trials=6, runner_seconds=9.5,
    checks=(Check("against its parent", A, B, held=True),), reproduce="ailab bisect v1 main",
)  # fmt: skip


def shown(found: Culprit, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_culprit(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_culprit_its_author_and_the_evidence_are_told() -> None:
    text = shown(FOUND)

    for word in ("Culprit found", B[:12], "Change b", "Ada", "99.0", "+11.7", "against its parent"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_has_a_title_of_its_own(ending: Ending) -> None:
    nobody = replace(FOUND, culprit=None)
    titles = {shown(replace(nobody, ending=each)).strip().splitlines()[0] for each in Ending}

    assert len(titles) == len(Ending)
    assert shown(replace(nobody, ending=ending)).strip()


def test_a_search_that_names_nobody_has_no_culprit() -> None:
    with pytest.raises(ValueError, match="names nobody"):
        replace(FOUND, ending=Ending.UNCONFIRMED)
    found = FOUND.nobody(Ending.UNCONFIRMED, "Fresh blocks say nothing.")

    document = culprit_to_json(found)
    assert (document["culprit"], document["author"], document["suspects"]) == (None, None, [B])
    assert "Ada" not in shown(found)


def test_a_hostile_message_moves_no_cursor() -> None:
    evil = replace(COMMITS[1], subject="\x1b[2Jgone\u202e", author="\x1b]0;x\x07")

    text = shown(replace(FOUND, culprit=evil))

    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_range_is_one_line_of_marks_whatever_its_length() -> None:
    assert marks([]) == ""
    assert marks([0.0, 1.0, 0.5]) == " █▄"
    long = marks([0.0] * 500 + [0.9] + [0.0] * 499)
    assert len(long) == MOST_MARKS
    assert long.count("█") + long.count("▇") + long.count(" ") == MOST_MARKS
    assert long.strip()
    assert "failed" in step_line(3, B, None, [0.5, 0.5])
    assert "+10.5" in step_line(3, B, 0.1, [0.5, 0.5])


def test_the_document_keeps_the_contract() -> None:
    document = json.loads(json.dumps(culprit_to_json(FOUND)))

    assert (document["culprit"], document["trials"], document["runner_seconds"]) == (B, 6, 9.5)
    assert document["posterior"] == {A: 0.004, B: 0.99, C: 0.003}
    assert (document["effect"], document["interval"], document["skipped"]) == (
        0.117, [0.1, 0.13], [],
    )  # fmt: skip
    assert document["author"] == {"name": "Ada", "email": "ada@example.invalid"}
    nobody = culprit_to_json(replace(FOUND, culprit=None, interval=None, ending=Ending.NO_CULPRIT))
    assert (nobody["culprit"], nobody["interval"], nobody["author"]) == (None, None, None)


def test_of_more_commits_than_the_table_shows_their_number_is_told() -> None:
    many = {f"{number:040x}": 0.05 for number in range(12)}
    assert "4 more that may be it" in shown(replace(FOUND, posterior=many))
    assert "more that may be it" not in shown(FOUND)


def test_nothing_is_said_of_bad_before_it_was_measured() -> None:
    assert "BAD is +11.7" in shown(FOUND)
    assert "BAD was not measured" in shown(replace(FOUND, effect=None, interval=None))


def test_an_answer_is_told_from_a_search_that_is_incomplete() -> None:
    assert {each for each in Ending if not each.is_known} == {
        Ending.AMBIGUOUS, Ending.UNCONFIRMED, Ending.CAPACITY, Ending.INTERRUPTED, Ending.FAILED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("live", "lasting", "told"),
    [
        (False, False, []),
        (False, True, ["preparing abc"]),
        (True, False, ["preparing GOOD", "preparing abc", "warm-up GOOD", "warm-up abc"]),
    ],
)
def test_a_log_has_no_lines_about_what_a_block_needs(
    live: bool, lasting: bool, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LiveProgress if live else LineProgress
    said: list[str] = []
    monkeypatch.setattr(kind, "activity", lambda self, scenario, text: said.append(text))
    progress = InOwnWords(kind(Console(quiet=True)), "abc", lasting=lasting)
    for what in ("preparing", "warm-up"):
        for arm in ("base", "head"):
            progress.activity("launch", f"{what} {arm}")
    assert said == told
