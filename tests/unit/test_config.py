"""Configuration: read exactly, or refused with file, line, column and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ailab_bot.config import load_config, load_scenario, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.model.noise import Noise
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.yamlfile import LARGEST_FILE_BYTES

FULL = """\
id: tabular-mlp
description: Feature preprocessing and a small MLP, the launcher's most common path
command: [python, train.py, --config, conf/tabular.yml, --steps, 3]
env: {PYTHONPATH: "{checkout}/src", WORKERS: 2}
setup: [[python, -m, pip, install, -e, .]]
metrics: [ttfb_s, peak_rss_bytes]
first_batch: auto
runner: cpu
tiers: [pull_request, release]
timeout_s: 300
shrink: {rows: [1000, 2000]}
"""


def write(root: Path, text: str | bytes, name: str = "tabular-mlp") -> Path:
    path = root / ".ailab" / "scenarios" / name / "scenario.yml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(root: Path, text: str | bytes) -> UserError:
    with pytest.raises(UserError) as caught:
        load_scenario(write(root, text))
    assert caught.value.advice
    return caught.value


def test_a_scenario_file_of_the_contract_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    scenario = load_scenario(path)
    assert scenario.command[-2:] == ("--steps", "3")
    assert scenario.env == {"PYTHONPATH": "{checkout}/src", "WORKERS": "2"}
    assert scenario.setup == (("python", "-m", "pip", "install", "-e", "."),)
    assert scenario.metrics == ("ttfb_s", "peak_rss_bytes")
    assert scenario.directory == path.parent
    assert scenario.timeout_s == 300
    assert scenario.steps == 0
    assert scenario.shrink == {"rows": [1000, 2000]}


def test_the_shortest_scenario_has_sensible_defaults(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, "id: tabular-mlp\ncommand: [python, x.py]\n"))
    assert scenario.metrics == ("ttfb_s",)
    assert scenario.first_batch == FirstBatch(FirstBatchMode.AUTO)
    assert scenario.runner == "cpu"
    assert scenario.tiers == ("pull_request", "release")


def test_steps_are_measured_when_their_metric_is_asked_for(tmp_path: Path) -> None:
    text = "id: tabular-mlp\ncommand: [python]\nmetrics: [ttfb_s, step_time_s]\n"
    assert load_scenario(write(tmp_path / "a", text)).steps == 10
    assert load_scenario(write(tmp_path / "b", text + "steps: 3\n")).steps == 3


def test_a_marker_is_a_regular_expression(tmp_path: Path) -> None:
    text = 'id: tabular-mlp\ncommand: [x]\nfirst_batch: {marker: "^step 1"}\n'
    assert load_scenario(write(tmp_path, text)).first_batch.marker == "^step 1"


BASE = "id: tabular-mlp\ncommand: [python, x.py]\n"

BAD = {
    "unknown key": (
        BASE + "timeot_s: 3\n",
        ":3:1: unknown key `timeot_s`; did you mean `timeout_s`?",
    ),
    "missing key": ("id: tabular-mlp\n", "`command` is missing"),
    "twice": (BASE + "id: tabular-mlp\n", ":3:1: `id` stands there twice"),
    "other id": (
        "id: other\ncommand: [x]\n",
        ":1:5: the id must be the file's name, `tabular-mlp`",
    ),
    "bad id": ("id: ../x\ncommand: [x]\n", ":1:5: not an id"),
    "command as text": (
        "id: tabular-mlp\ncommand: python x.py\n",
        ":2:10: expected a list of words",
    ),
    "empty command": ("id: tabular-mlp\ncommand: []\n", "found an empty list"),
    "nested command": ("id: tabular-mlp\ncommand: [[x]]\n", ":2:11: expected a text, found a list"),
    "bool in env": (
        BASE + "env: {A: on}\n",
        ":3:10: expected a text, found true or false; quote it",
    ),
    "null in env": (BASE + "env: {A: }\n", "found nothing; quote it"),
    "env as list": (BASE + "env: [A]\n", "expected `NAME: value` lines"),
    "unknown metric": (BASE + "metrics: [ttfb]\n", ":3:11: unknown `ttfb`; did you mean `ttfb_s`?"),
    "same metric": (BASE + "metrics: [ttfb_s, ttfb_s]\n", "`ttfb_s` stands there twice"),
    "unknown tier": (BASE + "tiers: [nightly]\n", "known: pull_request, release"),
    "negative time": (BASE + "timeout_s: -1\n", "expected a number above 0"),
    "nan time": (BASE + "timeout_s: .nan\n", "expected a number above 0"),
    "bad marker": (BASE + 'first_batch: {marker: "("}\n', "not a regular expression"),
    "bad mode": (BASE + "first_batch: magic\n", "expected auto, api or {marker: REGEX}"),
    "steps alone": (BASE + "steps: 5\n", "`steps` has no effect"),
    "placeholder": (
        "id: tabular-mlp\ncommand: ['{checkuot}/x']\n",
        "unknown placeholder `{checkuot}`; did you mean `checkout`?",
    ),
    "alias": (BASE + "env: &a {A: b}\nshrink: *a\n", ":3:6: aliases and anchors are not allowed"),
    "tag": (BASE + "shrink: !!python/object:os.system {}\n", ":3:9: tags are not allowed"),
    "depth": (BASE + "shrink: " + "[" * 30 + "]" * 30 + "\n", "nested too deeply"),
    "syntax": (BASE + "env: {A: b\n", ":4:1:"),
    "tab": (BASE + "env:\n\tA: b\n", ":4:1:"),
    "empty": ("", "found nothing"),
    "a list": ("- a\n", "found a list"),
    "two documents": (BASE + "---\n" + BASE, "document"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_file_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    text, problem = BAD[name]
    error = refused(tmp_path, text)
    assert problem in error.why
    assert "tabular-mlp/scenario.yml is malformed" in error.what


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (LARGEST_FILE_BYTES + 1), b"a: \x00"])
def test_bytes_that_are_no_yaml_are_refused(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, data)


def test_all_problems_of_a_file_are_told_at_once_with_the_first_one_shown(tmp_path: Path) -> None:
    error = refused(tmp_path, "id: tabular-mlp\ncomand: [x]\nrunner: 3\n")
    assert error.why.count("scenario.yml:") == 3
    assert "    id: tabular-mlp\n    ^" in error.why
    assert "did you mean `command`" in error.why


@pytest.mark.parametrize("name", ["unicode-训练", "a.b_c-1", "Ñandú"])
def test_ids_may_use_the_letters_of_any_language(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"id: {name}\ncommand: [x]\n", name)
    assert load_scenario(path).id == name


def test_scenarios_are_found_in_folders_and_files(tmp_path: Path) -> None:
    write(tmp_path, BASE)
    (tmp_path / ".ailab" / "scenarios" / "flat.yml").write_text("id: flat\ncommand: [x]\n")
    found = load_scenarios(load_config(None, tmp_path))
    assert [scenario.id for scenario in found] == ["flat", "tabular-mlp"]


def test_two_files_may_not_define_the_same_scenario(tmp_path: Path) -> None:
    write(tmp_path, BASE)
    (tmp_path / ".ailab" / "scenarios" / "tabular-mlp.yml").write_text(BASE)
    with pytest.raises(UserError, match="a second scenario `tabular-mlp`"):
        load_scenarios(load_config(None, tmp_path))


def test_every_malformed_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "id: 1", "a")
    write(tmp_path, "id: 2", "b")
    with pytest.raises(UserError, match="2 scenario files are malformed") as caught:
        load_scenarios(load_config(None, tmp_path))
    assert "a/scenario.yml" in caught.value.why
    assert "b/scenario.yml" in caught.value.why


def test_without_scenario_the_error_shows_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scenario") as caught:
        load_scenarios(load_config(None, tmp_path))
    assert str(tmp_path / ".ailab" / "scenarios") in caught.value.why
    assert "command: [python, train.py]" in caught.value.advice


def test_the_configuration_is_optional_unless_it_was_named(tmp_path: Path) -> None:
    assert load_config(None, tmp_path).gate == ("ttfb_s",)
    with pytest.raises(UserError, match="cannot read"):
        load_config(tmp_path / "none.yml", tmp_path)


def test_the_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ailab.yml"
    path.write_text(
        "capacity_s: 600\npython: python3.12\ngate: [ttfb_s, peak_rss_bytes]\n"
        "threshold: 0.03\nmax_blocks: 60\n"
    )
    config = load_config(path, tmp_path / "elsewhere")
    assert config.capacity_s == 600
    assert config.python == "python3.12"
    assert config.gate == ("ttfb_s", "peak_rss_bytes")
    assert (config.threshold, config.max_blocks) == (0.03, 60)
    assert config.scenarios_dir == tmp_path / "scenarios"


def test_noise_control_is_generous_unless_it_is_configured(tmp_path: Path) -> None:
    assert load_config(None, tmp_path).noise == Noise(pin="off", threads=None)
    path = tmp_path / "ailab.yml"
    path.write_text('noise: {pin: "0-2,5", threads: 4, max_load: 0.5, max_steal: 1, wait_s: 0}\n')
    assert load_config(path, tmp_path).noise == Noise((0, 1, 2, 5), 4, 0.5, 1.0, 0.0)


@pytest.mark.parametrize(
    ("pin", "read"), [("auto", "auto"), ("off", "off"), ("3", (3,)), ("0-1", (0, 1))]
)
def test_cores_need_no_quotes(pin: str, read: object, tmp_path: Path) -> None:
    path = tmp_path / "ailab.yml"
    path.write_text(f"noise:\n  pin: {pin}\n  threads: null\n")
    assert load_config(path, tmp_path).noise == Noise(pin=read)  # type: ignore[arg-type]


NOISE = {
    "pin: all": ':1:14: expected auto, off or cores such as "0-3,6"',
    "pin: 3-1": ':1:14: expected auto, off or cores such as "0-3,6", found a text `3-1`',
    "pin: [0]": ":1:14: expected auto",
    "pin: 0-99999999": ":1:14: expected auto",
    "threads: 0": "expected a whole number from 1 to 1024",
    "threads: many": "expected a whole number",
    "max_load: 30": "expected a number above 0 and at most 1",
    "max_steal: 0": "expected a number above 0 and at most 1",
    "wait_s: -1": "expected a number of at least 0 and at most 3600",
    "wait_s: .nan": "expected a number of at least 0",
    "maxload: 0.1": ":1:9: unknown key `maxload`; did you mean `max_load`?",
    "pin: off, pin: off": "`pin` stands there twice",
}


@pytest.mark.parametrize("setting", NOISE)
def test_a_wrong_setting_of_noise_control_is_refused(setting: str, tmp_path: Path) -> None:
    (tmp_path / "ailab.yml").write_text(f"noise: {{{setting}}}\n")
    with pytest.raises(UserError, match="malformed") as caught:
        load_config(tmp_path / "ailab.yml", tmp_path)
    assert NOISE[setting] in caught.value.why


def test_noise_control_is_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "ailab.yml").write_text("noise: off\n")
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "ailab.yml", tmp_path)
    assert "expected a mapping such as {pin: auto}" in caught.value.why


@pytest.mark.parametrize("line", ["threshold: 5", "threshold: 0", "max_blocks: 3", "gates: [x]"])
def test_a_wrong_setting_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "ailab.yml").write_text(line + "\n")
    with pytest.raises(UserError, match=r"ailab\.yml is malformed"):
        load_config(tmp_path / "ailab.yml", tmp_path)


def test_the_false_positive_budget_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ailab.yml"
    path.write_text("false_positives_per_week: 0.5\nverdicts_per_week: 300\ngate_anyway: [a, 1]\n")
    config = load_config(path, tmp_path)
    assert (config.false_positives_per_week, config.verdicts_per_week) == (0.5, 300)
    assert config.gate_anyway == ("a", "1")
    assert config.folder == tmp_path
    path.write_text("false_positives_per_week: 0\nverdicts_per_week: .inf\ngate_anyway: a\n")
    with pytest.raises(UserError) as caught:
        load_config(path, tmp_path)
    assert caught.value.why.count("ailab.yml:") == 3
