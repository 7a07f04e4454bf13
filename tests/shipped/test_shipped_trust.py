"""What a pull request's code can reach and change, when the shipped workflow files run it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

from conftest import Founded
from promised import PROMISED
from sources import CONFIG, SCENARIO, SHIPPED, script
from test_shipped_pull_request import FAILING, MEASURE, REPORT
from works import Works

#: Writes what a measured process can see: of itself, of everything above it up to the test, and of
#: whatever else belongs to the job.
SPY = """
import json, os

def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""

def parent(pid):
    return int(read(pid, "stat").rpartition(")")[2].split()[1])

seen, pid = [], os.getpid()
while pid not in (0, 1, STOP):
    seen.append(pid)
    pid = parent(pid)
mark = "RUNNER_TRACKING_ID=" + os.environ["RUNNER_TRACKING_ID"]
every = [(read(p, "cmdline"), read(p, "environ")) for p in os.listdir("/proc") if p.isdigit()]
found = {
    "own": dict(os.environ),
    "above": [[read(p, "cmdline"), read(p, "environ")] for p in seen],
    "job": [process for process in every if mark in process[1]],
}
with open(f"FOLDER/{os.getpid()}.json", "w") as file:
    json.dump(found, file)
"""


def hidden(token: str) -> tuple[bytes, bytes]:
    """A token as it is, and as git's settings hold it."""
    return token.encode(), base64.b64encode(f"x-access-token:{token}".encode())


def files_with(works: Works, folder: Path) -> Iterator[str]:
    """Files of a job that hold any job's token."""
    looked_at = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "site-packages" not in path.parts:
            looked_at += 1
            data = path.read_bytes()
            if any(form in data for token in works.tokens for form in hidden(token)):
                yield str(path)
    assert looked_at > 20, "the job's folder is elsewhere"


def test_a_forks_measured_code_finds_no_token_and_every_job_has_the_promised_rights(
    found: Founded, tmp_path: Path
) -> None:
    works = found("eager")
    seen = tmp_path / "seen"
    seen.mkdir()
    spy = SPY.replace("FOLDER", str(seen)).replace("STOP", str(os.getpid()))
    pull = works.open_pull({"eager.py": script(0.05, spy)}, fork=True)
    assert works.gates(pull.head_sha)[0] == "pending", works.log
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in seen.iterdir()]
    assert len(reports) >= 8, works.log  # of at least four blocks

    for report in reports:
        text = json.dumps(report)
        assert not [token for token in works.tokens if hidden(token)[0].decode() in text]
        assert not [token for token in works.tokens if hidden(token)[1].decode() in text]
        variables = {*report["own"]}
        for command, environment in (*report["above"], *report["job"]):
            variables |= {pair.partition("=")[0] for pair in environment.split("\0")}
            assert environment, f"a process that could not be read proves nothing: {command}"
        words = ("TOKEN", "SECRET", "PASSWORD", "PRIVATE", "ACTIONS_ID", "ACTIONS_RUNTIME")
        assert not [name for name in variables if any(word in name.upper() for word in words)]
        assert any("ailab_bot" in command for command, _ in report["above"]), "not high enough"
        assert len(report["job"]) >= 2

    (run,) = works.all_of(MEASURE)
    measure = run.job("measure/0")
    given = [text for step in measure.walk() for text in step.environment.values()]
    assert not [token for token in works.tokens if any(token in text for text in given)]
    jobs = tmp_path / "runs" / str(run.run_id) / "1"
    assert list(files_with(works, jobs / "measure" / "0")) == []
    # Planning runs none of the pull request's code and does hold one: so it can be seen.
    assert works.tokens[1] in run.job("plan").step("Run").environment.values()

    for (workflow, key), rights in PROMISED.items():
        if workflow in (MEASURE, REPORT):  # what no pull request runs is looked at elsewhere
            assert works.job(workflow, key).permissions == rights, (workflow, key)


#: What a pull request may write into its own copies of our files.
_PLAN = "      - name: Plan\n        id: plan\n"
_POST = """\
      - name: Say so myself
        continue-on-error: true
        shell: python
        env:
          TOKEN: ${{ github.token }}
        run: |
          import json, os, urllib.request
          place = os.environ["GITHUB_API_URL"] + "/repos/acme/models/statuses/" + HEAD
          body = json.dumps({"state": "success", "context": "ailab/gate"}).encode()
          headers = {
              "Authorization": "Bearer " + os.environ["TOKEN"],
              "Accept": "application/vnd.github+json",
              "Content-Type": "application/json",
          }
          urllib.request.urlopen(urllib.request.Request(place, body, headers))
"""


def shipped(name: str) -> str:
    return (SHIPPED / name).read_text(encoding="utf-8")


def test_a_change_of_rules_and_workflows_is_judged_by_those_of_the_base(found: Founded) -> None:
    works = found("eager")
    measure = shipped("ailab-measure.yml")
    bent = measure.replace(_PLAN, _POST + _PLAN).replace("statuses: read", "statuses: write")
    bent = bent.replace("HEAD", 'os.environ["GITHUB_SHA"]')
    assert bent.count("Say so myself") == bent.count("statuses: write") == 1
    pull = works.open_pull(
        {
            **FAILING,
            ".github/workflows/ailab-measure.yml": bent,
            ".github/workflows/ailab-report.yml": "name: AI Lab report\non: push\njobs:\n"
            "  nothing:\n    runs-on: ubuntu-latest\n    steps: [{run: exit 1}]\n",
            ".ailab/config.yml": CONFIG.replace("0.3", "0.9") + "github: {mode: 'off'}\n",
            ".ailab/scenarios/eager.yml": SCENARIO.format(id="eager").replace("eager.py", "x.py"),
        },
        fork=True,
    )
    (measured,) = works.all_of(MEASURE)
    plan = measured.job("plan")
    # Its own copy ran, and could do nothing with the right that it gave itself.
    assert plan.step("Say so myself").outcome == "failure", works.log
    assert "403" in plan.step("Say so myself").log
    assert plan.permissions["statuses"] == "read"
    works.refused = [
        f"{MEASURE} of {measured.run_id}: repos/create-commit-status needs statuses: write"
    ]
    assert measured.job("measure/0").conclusion == "success", works.log
    # The default branch's copies decided, with its scenarios and its threshold.
    assert [run.job("gate").conclusion for run in works.all_of(REPORT)] == ["success", "skipped"]
    assert works.gates(pull.head_sha) == ["pending", "failure"], works.log
    said = works.github.bot_comment(pull).body
    assert "`.ailab/config.yml`" in said
    assert "`.ailab/scenarios/eager.yml`" in said


def test_a_workflow_of_the_change_that_measures_nothing_is_no_success(found: Founded) -> None:
    works = found("eager")
    measure = shipped("ailab-measure.yml")
    planning, _, _ = measure.partition("  measure:\n")
    pull = works.open_pull({**FAILING, ".github/workflows/ailab-measure.yml": planning})
    runs = works.all_of(MEASURE)
    assert [(run.conclusion, run.attempt) for run in runs] == [("success", 1), ("success", 2)]
    assert works.gate(pull).state == "error", works.log
    assert "success" not in works.gates(pull.head_sha)
