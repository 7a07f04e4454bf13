"""Only a set-up that installs packages lets a proof stand."""

from __future__ import annotations

import pytest

from ailab_bot.plan.setups import is_plain_setup


@pytest.mark.parametrize(
    "setup",
    [
        [],
        [["python", "-m", "pip", "install", "-e", "."]],
        [["python", "-m", "pip", "install", "-r", "requirements.txt", "-c", "constraints.txt"]],
        [
            ["pip", "install", "--no-deps", "torch==2.4", "yarl"],
            ["pip", "install", "--editable", "{checkout}"],
        ],
        [["python", "-m", "pip", "install", "trainer[cpu]>=1.0"]],
    ],
)
def test_installing_packages_and_links_is_plain(setup: list[list[str]]) -> None:
    assert is_plain_setup(setup)


@pytest.mark.parametrize(
    "command",
    [
        ["python", "tools/make.py"],
        ["bash", "setup.sh"],
        ["python", "-m", "pip", "install", "."],
        ["python", "-m", "pip", "install", "{checkout}"],
        ["python", "-m", "pip", "install", "./vendor/wheel.whl"],
        ["python", "-m", "pip", "download", "torch"],
        ["pip", "install", "-r"],
        ["make", "install"],
    ],
)
def test_whatever_else_may_read_the_repository(command: list[str]) -> None:
    assert not is_plain_setup([["pip", "install", "torch"], command])
