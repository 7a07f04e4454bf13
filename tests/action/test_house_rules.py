"""Our own rules for workflows: what we ship keeps them, and each bad file breaks just its own."""

from __future__ import annotations

from pathlib import Path

import house_rules
import pytest
import shipped
import yaml
from shell_words import unquoted_variables

BAD = [*shipped.BAD_WORKFLOWS, *shipped.BAD_ACTIONS]


@pytest.mark.parametrize("path", [shipped.ACTION, *shipped.WORKFLOWS], ids=shipped.name_of)
def test_what_we_ship_keeps_every_rule(path: Path) -> None:
    assert house_rules.lint(house_rules.read(path)) == []


@pytest.mark.parametrize(
    "path", [*shipped.BAD_WORKFLOWS, *shipped.BAD_ACTIONS], ids=shipped.name_of
)
def test_a_bad_file_breaks_the_rules_that_it_names_and_no_other(path: Path) -> None:
    found = {finding.rule for finding in house_rules.lint(house_rules.read(path))}
    assert found == shipped.expected(path, "house")


def test_every_rule_has_a_bad_file() -> None:
    shown = set[str]().union(*(shipped.expected(path, "house") for path in BAD))
    assert shown == set(house_rules.RULES)


def test_the_examples_are_the_workflows_of_this_repository_byte_for_byte() -> None:
    assert {p.name: p.read_bytes() for p in shipped.OWN} == {
        p.name: p.read_bytes() for p in shipped.EXAMPLES
    }
    assert {path.stem for path in shipped.EXAMPLES} == {
        "ailab-measure",
        "ailab-merge-queue",
        "ailab-report",
        "ailab-command",
        "ailab-sweep",
        "ailab-release",
        "ailab-bisect",
    }


#: Where a rule must bite in what we ship: (file, text that is there, what it becomes, rule).
MUTATIONS = [
    (
        "ailab-measure",
        "  shard: ${{ toJSON",
        "  github-token: ${{ github.token }}\n          shard: ${{ toJSON",
        "token-beside-measured-code",
    ),
    (
        "ailab-measure",
        "      contents: read\n    steps",
        "      contents: write\n    steps",
        "write-in-t0",
    ),
    (
        "ailab-measure",
        "    timeout-minutes: ${{ matrix.shard.timeout_minutes }}\n",
        "",
        "no-timeout",
    ),
    (
        "ailab-merge-queue",
        "persist-credentials: false",
        "persist-credentials: true",
        "persisted-credentials",
    ),
    (
        "ailab-report",
        "  persist-credentials",
        "  ref: x\n          persist-credentials",
        "pull-request-ref-in-t1",
    ),
    ("ailab-report", "${{ github.run_id }}-", "", "shared-group"),
    ("ailab-sweep", "permissions: {}\n\n", "permissions: write-all\n\n", "permissions-on-top"),
    ("ailab-command", "@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),
    ("action", '"$AILAB_COMMAND" --github', "$AILAB_COMMAND --github", "unquoted-event-text"),
    ("action", '$AILAB_COMMAND" in', '${{ inputs.command }}" in', "expression-in-run"),
]


@pytest.mark.parametrize(("name", "there", "becomes", "rule"), MUTATIONS)
def test_one_careless_edit_of_what_we_ship_is_found(
    name: str, there: str, becomes: str, rule: str
) -> None:
    paths = {path.stem: path for path in [shipped.ACTION, *shipped.EXAMPLES]}
    text = paths[name].read_text(encoding="utf-8")
    assert there in text
    edited = text.replace(there, becomes)
    file = house_rules.File(f"{name}.yml", edited, yaml.load(edited, Loader=yaml.BaseLoader))
    assert rule in {finding.rule for finding in house_rules.lint(file)}


@pytest.mark.parametrize(
    ("script", "loose"),
    [
        ('echo "$A" "x ${B} y"', set()),
        ("echo $A", {"A"}),
        ("echo ${A%%/*}", {"A"}),
        ("echo '$A' # $B isn't used", set()),
        ("""echo "it's $A" $B""", {"B"}),
        ('x=$("$A" -c \'import "$B"\' $C)', {"C"}),
        ('echo "$(echo $A)" "$B"', {"A"}),
        (r'echo \"$A\"', {"A"}),
        ('echo "\\"$A\\""', set()),
        ('case "$A" in\n  x) echo $B ;;\nesac', {"B"}),
        ("echo $((1 + 2)) $A", {"A"}),
    ],
)  # fmt: skip
def test_a_variable_outside_double_quotes_is_seen(script: str, loose: set[str]) -> None:
    assert unquoted_variables(script) == loose


@pytest.mark.parametrize("text", ["[]", "name: x", ""])
def test_a_file_that_is_no_workflow_is_an_error_not_a_clean_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no workflow and no action"):
        house_rules.read(path)
