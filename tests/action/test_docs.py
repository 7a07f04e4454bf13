"""What the documents say of the action and the workflows is so."""

from __future__ import annotations

import re
from pathlib import Path

import house_rules
import pytest
import shipped
import yaml

from ailab_bot.config import load_config
from ailab_bot.errors import UserError
from ailab_bot.model.github import GitHub
from ailab_bot.report.pull import COMMANDS

GUIDE = (shipped.ROOT / "docs" / "github.md").read_text(encoding="utf-8")
README = (shipped.ROOT / "README.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load(shipped.ACTION.read_text(encoding="utf-8"))


def rows(title: str) -> set[str]:
    """The first column of the tables below a heading of the guide."""
    section = GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE))


def test_the_guide_lists_the_actions_inputs_and_outputs() -> None:
    assert rows("The action") == set(ACTION["inputs"]) | set(ACTION["outputs"])


def test_the_guide_lists_every_key_of_the_configuration(tmp_path: Path) -> None:
    documented = rows("Configuration")
    assert documented == set(GitHub.__dataclass_fields__)
    path = tmp_path / "config.yml"
    path.write_text("github:\n  nonsense: 1\n")
    with pytest.raises(UserError, match="malformed") as refused:
        load_config(path, tmp_path)
    assert "unknown key `nonsense`" in refused.value.why


def test_the_guide_lists_the_shipped_workflows() -> None:
    names = {path.name for path in (shipped.ROOT / "examples").glob("*.yml")}
    assert rows_of_workflows() == names


def rows_of_workflows() -> set[str]:
    return set(re.findall(r"^\| `(ailab-[\w-]+\.yml)` \|", GUIDE, re.MULTILINE))


def test_the_guide_lists_every_slash_command() -> None:
    for usage, _ in COMMANDS:
        assert f"`/ailab {usage.split()[0]}" in GUIDE


@pytest.mark.parametrize("document", ["README.md", "docs/github.md"])
def test_examples_in_the_documents_are_yaml_that_github_takes(
    document: str, tmp_path: Path
) -> None:
    text = (shipped.ROOT / document).read_text(encoding="utf-8")
    found = 0
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        if "jobs:" not in block:
            assert yaml.safe_load(block)
            continue
        found += 1
        path = tmp_path / "workflow.yml"
        path.write_text(f"name: From the documents\n{block}")
        assert house_rules.lint(house_rules.read(path)) == []
    assert found == (document == "README.md")
