"""Blocks beside GOOD on a machine with other work. No processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ailab_bot.flows import stand
from ailab_bot.flows.measurement import TrialLog
from ailab_bot.flows.stand import Stand


class Told:
    """A progress that remembers its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_machine_that_never_gets_quiet_is_measured_once_from_some_block_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, tries, hurried = Told(), list[int](), list[bool]()
    monkeypatch.setattr(stand, "run_block", lambda *given: bool(tries.append(given[3])))
    gate = SimpleNamespace(hurry=lambda: hurried.append(True), disturbance=None)
    bench, log = SimpleNamespace(gate=gate), TrialLog(tmp_path / "x.jsonl")
    own = Stand(None, tmp_path, told)  # type: ignore[arg-type]

    for block in range(6):
        own._run(bench, log, block)  # type: ignore[arg-type]

    assert [tries.count(block) for block in range(6)] == [6, 6, 6, 1, 1, 1]
    assert len(hurried) == 6
    assert len(told.notes) == 1
    assert "measured once" in told.notes[0]


def test_a_block_that_other_work_left_alone_starts_the_count_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet: list[bool] = []
    monkeypatch.setattr(stand, "run_block", lambda *given: given[3] == 2)
    gate = SimpleNamespace(hurry=lambda: quiet.append(False), disturbance=None)
    told = Told()
    own = Stand(None, tmp_path, told)  # type: ignore[arg-type]

    for block in range(5):
        own._run(SimpleNamespace(gate=gate), TrialLog(tmp_path / "x"), block)  # type: ignore[arg-type]

    assert told.notes == []
