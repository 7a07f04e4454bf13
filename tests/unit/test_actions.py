"""The runner's side of GitHub Actions: no value breaks out of an output, a line or a name."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.errors import UserError
from ailab_bot.gh.actions import (
    LARGEST_SUMMARY_BYTES,
    Surroundings,
    artifact_name,
    parse_artifact_name,
    read_surroundings,
    say,
)

NEEDED = (
    "GITHUB_EVENT_NAME",
    "GITHUB_EVENT_PATH",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_WORKSPACE",
    "RUNNER_TEMP",
)


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "acme/models",
        "GITHUB_RUN_ID": "77",
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_WORKSPACE": str(folder / "work"),
        "RUNNER_TEMP": str(folder / "temp"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **more,
    }


def around(folder: Path, **more: str) -> Surroundings:
    return read_surroundings(environ(folder, **more))


def as_the_runner_reads(text: str) -> dict[str, str]:
    """Outputs by GitHub's rule: a name, `<<` and a delimiter, whose own line ends the value."""
    found, lines = {}, iter(text.split("\n")[:-1])
    for line in lines:
        name, _, fence = line.partition("<<")
        assert fence, f"`{line}` begins no output"
        value = []
        for inner in lines:
            if inner == fence:
                break
            value.append(inner)
        else:
            raise AssertionError("an output without an end")
        found[name] = "\n".join(value)
    return found


# Outputs


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain",
        "two\nlines\n",
        "conclusion=success",
        "conclusion<<EOF\nsuccess\nEOF",
        "EOF\nconclusion<<EOF\nsuccess",
        "ailab-0000000000000000",
        "::set-output name=conclusion::success",
        '[{"index": 0, "labels": ["训练", "a\\nb"]}]',
    ],
)
def test_a_hostile_value_stays_one_output(value: str, tmp_path: Path) -> None:
    here = around(tmp_path)
    here.set_output("first", value)
    here.set_output("second", "2")
    text = (tmp_path / "output").read_text(encoding="utf-8")
    assert as_the_runner_reads(text) == {"first": value, "second": "2"}


def test_a_delimiter_of_before_does_not_end_the_next_value(tmp_path: Path) -> None:
    """A value that has seen the file so far still cannot guess what ends it."""
    here = around(tmp_path)
    here.set_output("first", "1")
    seen = (tmp_path / "output").read_text(encoding="utf-8").split("\n")[-2]
    here.set_output("second", f"2\n{seen}\nconclusion<<{seen}\nsuccess")
    text = (tmp_path / "output").read_text(encoding="utf-8")
    assert set(as_the_runner_reads(text)) == {"first", "second"}


def test_without_a_file_for_them_outputs_and_summary_are_dropped(tmp_path: Path) -> None:
    here = around(tmp_path, GITHUB_OUTPUT="", GITHUB_STEP_SUMMARY="")
    here.set_output("name", "value")
    here.add_summary("# Title\n")
    assert list(tmp_path.iterdir()) == []


# The summary


def test_a_summary_that_fits_is_added_and_one_that_does_not_is_left_out_whole(
    tmp_path: Path,
) -> None:
    here, path = around(tmp_path), tmp_path / "summary.md"
    half = "é" * (LARGEST_SUMMARY_BYTES // 4)  # two bytes each
    here.add_summary(half)
    here.add_summary(half + "x")
    assert path.stat().st_size == LARGEST_SUMMARY_BYTES // 2
    here.add_summary(half)
    assert path.stat().st_size == LARGEST_SUMMARY_BYTES
    here.add_summary("x")
    assert path.read_text(encoding="utf-8") == half + half


# Lines of the log


@pytest.mark.parametrize(
    "text",
    [
        "a\n::error::forged",
        "a\r::add-mask::x",
        "a\r\n::stop-commands::token",
        "100% sure",
        "%0A::error::forged",
    ],
)
def test_what_is_said_is_one_command_of_ours(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say("notice", text, "A title, with: signs\n::error::forged")
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert re.findall("[\r\n]", said[:-1]) == []
    match = re.fullmatch(r"::notice title=([^,:]*)::(.*)\n", said)
    assert match
    unescaped = match[2].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    assert unescaped == text
    assert "%0A%3A%3Aerror%3A%3Aforged" in match[1]


def test_a_line_without_a_title_has_no_properties(capsys: pytest.CaptureFixture[str]) -> None:
    say("warning", "Look: here, and there")
    assert capsys.readouterr().out == "::warning::Look: here, and there\n"


@given(st.text(), st.text())
def test_nothing_that_is_said_begins_a_second_line(text: str, title: str) -> None:
    said = io.StringIO(newline="")
    with contextlib.redirect_stdout(said):
        say("error", text, title)
    assert len(re.split("\r\n|\r|\n", said.getvalue())) == 2


# Names of artifacts


@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_an_artifacts_name_is_read_as_it_was_written(attempt: int, index: int) -> None:
    assert parse_artifact_name(artifact_name(attempt, index)) == (attempt, index)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ailab-trials",
        "ailab-trials-",
        "ailab-trials-1",
        "ailab-trials-1-",
        "ailab-trials--1",
        "ailab-trials-1--1",
        "ailab-trials-1-0-0",
        "ailab-trials-1-0 ",
        " ailab-trials-1-0",
        "ailab-trials-1-0\n",
        "xailab-trials-1-0",
        "AILAB-trials-1-0",
        "ailab-trials-+1-0",
        "ailab-trials-1-0x1",
        "ailab-trials-1-1e3",
        "ailab-trials-1-1_0",
        "ailab-trials-1-٣",
        "ailab-trials-1-²",
        "ailab-trials-1-1234567",
        "ailab-trials-ailab-trials-1-0",
        "ailab-report",
    ],
)
def test_a_look_alike_is_no_shards_artifact(name: str) -> None:
    assert parse_artifact_name(name) is None


# Surroundings


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(name: str, value: str | None, tmp_path: Path) -> None:
    have = environ(tmp_path)
    if value is None:
        del have[name]
    else:
        have[name] = value
    with pytest.raises(UserError, match=f"{name} is not set") as caught:
        read_surroundings(have)
    assert caught.value.advice


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "٣", " 1", "0x1"])
def test_a_run_is_a_number(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GITHUB_RUN_ID is no number"):
        around(tmp_path, GITHUB_RUN_ID=value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("  ", None), ("30", 1800.0), (" 0.5 ", 30.0)]
)
def test_capacity_is_given_in_minutes_and_kept_in_seconds(
    text: str, seconds: float | None, tmp_path: Path
) -> None:
    assert around(tmp_path, AILAB_CAPACITY_MINUTES=text).capacity_s == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "many", "1,5"])
def test_no_number_of_minutes_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no number of minutes"):
        around(tmp_path, AILAB_CAPACITY_MINUTES=text)


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    here = around(tmp_path, AILAB_CONFIG="")
    assert here.config == ".ailab/config.yml"
    assert here.server_url == "https://github.com"
    assert here.shard == ""
    assert here.out() == tmp_path / "temp" / "ailab-out"
    assert here.out().is_dir()
