"""Number 12 of the nineteen: hostile YAML ends in one error with line and column, soon.

tests/unit/test_config.py has the mistakes that people make; here is what an attacker writes.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from ailab_bot.config import load_config, load_scenario
from ailab_bot.errors import UserError
from ailab_bot.yamlfile import LARGEST_FILE_BYTES

START = "id: s\ncommand: [python, x.py]\n"
LAUGHS = 'a: &a ["ha", "ha"]\n' + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

HOSTILE = {
    "a billion laughs": (LAUGHS, ":1:4: aliases and anchors are not allowed"),
    "an anchor alone": (START + "shrink: {a: &x 1}\n", ":3:13: aliases and anchors"),
    "an alias of nothing": (START + "shrink: *x\n", ":3:9: aliases and anchors|undefined alias"),
    "a merge": (START + "shrink: {<<: {a: 1}}\n", ":3:10: expected a text, found a merge"),
    "a Python object": (
        START + "shrink: !!python/object/apply:os.system [id]\n",
        ":3:9: tags are not allowed",
    ),
    "a tag of its own": (START + "shrink: {a: !x 1}\n", ":3:13: tags are not allowed"),
    "binary": (START + "shrink: {a: !!binary aGk=}\n", ":3:13: tags are not allowed"),
    "a directive for tags": (
        "%TAG !e! tag:example.invalid,2000:\n---\n" + START,
        ":1:1: tags are not allowed",
    ),
    "a key twice": (START + "command: [sh]\n", ":3:1: `command` stands there twice"),
    "a key twice, deep inside": (
        START + "shrink: {a: [{b: {c: 1, c: 2}}]}\n",
        ":3:25: `c` stands there twice",
    ),
    "a variable twice": (START + "env: {A: b, A: c}\n", ":3:13: `A` stands there twice"),
    "a mapping as key": (START + "? {a: b}\n: 1\n", ":3:3: unknown key"),
    "a list as key": (START + "shrink: {[a]: 1}\n", ":3:10: expected a text, found a list"),
    "depth in a line": (START + "shrink: " + "[" * 100_000, "nested too deeply"),
    "depth in blocks": (
        START + "shrink:\n" + "".join(" " * n + "a:\n" for n in range(1, 40)),
        "nested too deeply",
    ),
    "5,000 digits": (START + "shrink: {a: " + "9" * 5000 + "}\n", ":3:13: not a value"),
    "5,000 digits of seconds": (START + "timeout_s: " + "9" * 5000 + "\n", ":3:12: expected a"),
    "not a number": (START + "shrink: {a: .nan}\n", ":3:13: not a value"),
    "overflow": (START + "shrink: {a: 1.0e+999}\n", ":3:13: not a value"),
    "a day that is none": (START + "shrink: {a: 2026-99-99}\n", ":3:13: not a value"),
    "half a character": (START + 'description: "\\ud800"\n', ":3:14: half a character"),
    "no character": (START + 'description: "\\UFFFFFFFF"\n', ":3:"),
    "an expression too deep": (
        START + 'first_batch: {marker: "' + "(" * 5000 + ")" * 5000 + '"}\n',
        ":3:23: not a regular expression",
    ),
    "an expression too long": (
        START + 'first_batch: {marker: "a{99999999999999999999}"}\n',
        ":3:23: not a regular expression",
    ),
    "20,000 keys": (START + "".join(f"k{n}: 1\n" for n in range(20_000)), ":3:1: unknown key"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_with_line_and_column(name: str, tmp_path: Path) -> None:
    text, problem = HOSTILE[name]
    path = tmp_path / "s" / "scenario.yml"
    path.parent.mkdir()
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_scenario(path)
    assert time.process_time() - started < 20, "PyYAML reads about 100 KB/s; bounded by the size"
    assert any(word in caught.value.why for word in problem.split("|")), caught.value.why
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: ", caught.value.why)
    assert len(caught.value.why) < 10_000


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(b"a: [" + b"*x, " * LARGEST_FILE_BYTES)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_config(path, tmp_path)
    assert time.process_time() - started < 1
    assert "larger than 256 KiB" in caught.value.why


def test_sound_values_of_a_free_key_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text(START + "shrink: {rows: [1, 2.5], 3: {deep: [x, true, null]}}\n")
    expected = {"rows": [1, 2.5], "3": {"deep": ["x", True, None]}}
    assert load_scenario(path).shrink == expected
