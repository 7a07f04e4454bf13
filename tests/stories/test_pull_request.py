"""Stories of a pull request, from opening to closing, over real HTTP and real git."""

from __future__ import annotations

import pytest
from office import Office, assert_golden, zip_of
from repositories import git
from standin import running

from ailab_bot.model.verdict import ImportChange

TWO = ("train", "serve")


def test_a_change_without_effect_passes(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    assert office.gate(pull).state == "pending"
    assert office.gate(pull).description == "Measuring 1 scenario on 1 runner, about 3 min"
    assert not office.github.bot_comments(pull)
    office.finish(run)
    assert office.gate(pull).state == "success"
    assert office.statuses == [0, 0]
    assert_golden("clean", office.comment_of(pull))


def test_a_regression_fails_says_where_and_marks_the_line(office: Office) -> None:
    pull = office.open_pull({"train.py": "import os\nimport torch\n"})
    cause = ImportChange("torch", 0.2, 900, "train.py:2")
    office.measure(pull, slower={"train": 0.2}, imports={"train": cause})
    assert office.gate(pull).state == "failure"
    assert office.gate(pull).description.startswith("train +")
    assert_golden("regression", office.comment_of(pull))
    (check,) = office.github.checks
    (remark,) = check.annotations
    assert (remark["path"], remark["start_line"]) == ("train.py", 2)
    assert check.conclusion == "neutral"


def test_a_line_that_the_change_did_not_add_is_not_marked(office: Office) -> None:
    pull = office.open_pull({"train.py": "import os\nimport torch\n"})
    old = ImportChange("os", 0.2, 0, "train.py:1")
    office.measure(pull, slower={"train": 0.2}, imports={"train": old})
    assert office.gate(pull).state == "failure"
    assert office.github.checks == []


def test_a_push_is_measured_anew_in_the_same_comment(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    first = pull.head_sha
    office.push(pull, {"train.py": "import os  # mended\n"})
    run = office.begin(pull)
    assert office.gate(pull).state == "pending"
    assert_golden("stale", office.comment_of(pull))
    office.finish(run)
    assert office.gate(pull).state == "success"
    assert office.gate(first).state == "failure"
    assert "Measuring" not in office.comment_of(pull)
    assert office.comment_of(pull).count("<!-- ailab:comment -->") == 1


def test_a_fork_is_measured_and_answered_like_a_branch(office: Office) -> None:
    pull = office.open_pull(author="stranger", fork=True)
    office.measure(pull)
    assert office.gate(pull).state == "success"
    assert "No change" in office.comment_of(pull)


def test_a_deleted_fork_is_found_by_its_commit(office: Office) -> None:
    """Test 3 of the nineteen: no head repository is never the same repository."""
    pull = office.open_pull(author="stranger", fork=True)
    run = office.begin(pull)
    office.github.finds_commits_of_forks = True
    office.github.delete_fork(pull)
    office.finish(run)
    assert office.gate(pull).state == "success"


def test_a_commit_that_nobody_knows_any_more_ends_as_an_error(office: Office) -> None:
    pull = office.open_pull(author="stranger", fork=True)
    run = office.begin(pull)
    office.github.close(pull)
    office.github.delete_fork(pull)  # and GitHub does not find commits of forks
    office.finish(run)
    assert office.gate(pull).state == "error"
    assert "no pull request" in office.gate(pull).description


def test_the_number_in_an_artifact_is_ignored(office: Office) -> None:
    """Test 1 of the nineteen: nothing in an artifact says which pull request it is of."""
    other = office.open_pull(head="other")
    pull = office.open_pull(head="feature")
    run = office.begin(pull)
    (shard,) = office.plan(run)
    forged = zip_of({"pr.txt": str(other.number), "trials.jsonl": "", "shard.json": "{}"})
    office.github.finish_run(run, artifacts={f"ailab-trials-1-{shard.index}": forged})
    office.deliver()
    assert office.github.status(other.head_sha, "ailab/gate") is None
    assert not office.github.bot_comments(other)
    assert office.gate(pull).state != "success"


def test_a_head_that_moved_gets_nothing_of_the_old_result(office: Office) -> None:
    """Test 2 of the nineteen."""
    pull = office.open_pull()
    run = office.begin(pull)
    old = pull.head_sha
    new = office.push(pull, {"train.py": "import os  # more\n"})
    office.finish(run, "cancelled")
    assert office.gate(old).state == "error"
    assert office.gate(old).description.startswith(f"Superseded by {new[:11]}")
    assert office.github.status(new, "ailab/gate") is None
    assert_golden("superseded", office.comment_of(pull))


def test_a_force_push_is_a_push(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.3})
    office.push(pull, {"train.py": "import os  # again\n"}, force=True)
    office.measure(pull)
    assert office.gate(pull).state == "success"
    assert "No change" in office.comment_of(pull)


def test_a_pull_request_that_was_merged_meanwhile_is_judged_all_the_same(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.merge(pull)
    office.finish(run)
    assert office.gate(pull).state == "success"


def test_a_pull_request_that_was_closed_meanwhile_ends_and_is_measured_when_it_comes_back(
    office: Office,
) -> None:
    """GitHub finds no pull request of a commit that was neither merged nor is open."""
    pull = office.open_pull()
    run = office.begin(pull)
    office.github.close(pull)
    office.finish(run)
    assert office.gate(pull).state == "error"
    assert "no pull request of this commit" in office.gate(pull).description
    office.github.reopen(pull)
    office.measure(pull)
    assert office.gate(pull).state == "success"


def test_a_retargeted_pull_request_is_compared_with_its_new_base(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    git(office.origin, "branch", "release", "main")
    release = office.commit("release", {"other.py": "x = 1\n"})
    office.github.retarget(pull, "release", release)
    office.measure(pull)
    assert office.gate(pull).state == "success"
    assert "`release`" in office.comment_of(pull)


def test_an_edited_title_measures_nothing_and_leaves_the_verdict(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull, slower={"train": 0.2})
    office.github.edit(pull, "A better title")
    run = office.begin(pull)  # GitHub starts the workflow, and its jobs are skipped
    office.github.finish_run(run, "skipped")
    office.deliver()
    assert office.gate(pull).state == "failure"


def test_base_definitions_judge_a_change_that_edits_them(office: Office) -> None:
    """Test 6 of the nineteen: neither threshold nor scenario can be edited away."""
    pull = office.open_pull(
        {
            "train.py": "import os, json\n",
            ".ailab/config.yml": "threshold: 0.9\ngithub: {mode: 'off'}\n",
            ".ailab/scenarios/train.yml": "id: train\ncommand: ['true']\n",
        }
    )
    office.measure(pull, slower={"train": 0.2})
    assert office.gate(pull).state == "failure"
    assert ".ailab/config.yml" in office.comment_of(pull)
    assert "judged by the base's version" in office.comment_of(pull)


def test_a_change_that_deletes_a_scenario_is_measured_with_it(office: Office) -> None:
    """Test 6 of the nineteen."""
    sha = office.commit("feature", {"train.py": "import os, json\n"})
    git(office.origin, "checkout", "--quiet", "feature")
    git(office.origin, "rm", "--quiet", ".ailab/scenarios/train.yml")
    git(office.origin, "commit", "--quiet", "--message", "No more measuring")
    sha = git(office.origin, "rev-parse", "HEAD")
    git(office.origin, "checkout", "--quiet", "main")
    pull = office.github.open_pull("alice", head="feature", sha=sha)
    office.measure(pull, slower={"train": 0.2})
    assert office.gate(pull).state == "failure"


def test_a_definition_that_changed_on_base_meanwhile_is_measured_again(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    stale = office.parcel(shard, {})
    office.merge_to_main(
        {".ailab/scenarios/train.yml": "id: train\ncommand: [python, train.py, --fast]\n"}
    )
    office.github.finish_run(run, artifacts={"ailab-trials-1-0": stale})
    office.deliver()
    assert office.gate(pull).state == "error"
    assert "changed on the base branch" in office.comment_of(pull)
    office.say(pull, "alice", "/ailab rerun")
    office.again(run)
    assert office.gate(pull).state == "success"


def test_a_base_that_moved_on_does_not_matter(office: Office) -> None:
    pull = office.open_pull()
    office.merge_to_main({"other.py": "x = 1\n"})
    office.measure(pull)
    assert office.gate(pull).state == "success"


def test_a_pull_request_that_brings_the_first_scenario_passes(tmp_path, monkeypatch) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=())
        first = "id: new\ncommand: [python, train.py]\n"
        pull = office.open_pull({".ailab/scenarios/new.yml": first})
        office.measure(pull)
        assert office.gate(pull).state == "success"
        assert office.gate(pull).description == "The base has no scenario yet: nothing to measure"
        assert not github.bot_comments(pull)


@pytest.mark.parametrize(
    ("mode", "slower", "state", "says"),
    [
        ("enforce", 0.2, "failure", "train +"),
        ("advisory", 0.2, "success", "Advisory: train +"),
        ("advisory", 0.0, "success", "No regression"),
        ("'off'", 0.2, "success", "Off: nothing is measured"),
    ],
)
def test_the_mode_decides_what_a_regression_does(
    mode: str, slower: float, state: str, says: str, tmp_path
) -> None:
    with running() as github:
        office = Office(tmp_path, github, config=f"github: {{mode: {mode}}}\n")
        pull = office.open_pull()
        office.measure(pull, slower={"train": slower})
        assert office.gate(pull).state == state
        assert office.gate(pull).description.startswith(says)


def test_missing_data_is_an_error_also_where_nothing_blocks(tmp_path) -> None:
    with running() as github:
        office = Office(tmp_path, github, scenarios=TWO, config="github: {mode: advisory}\n")
        pull = office.open_pull()
        run = office.begin(pull)
        office.finish(run, lose=[0])
        office.again(run, slower={"train": 0.3, "serve": 0.3}, lose=[0])
        assert office.gate(pull).state == "error"


def test_a_public_repository_with_runners_of_its_own_is_refused(tmp_path) -> None:
    config = "github: {runners: {cpu: {labels: [self-hosted, cpu], count: 2}}}\n"
    with running() as github:
        office = Office(tmp_path, github, config=config)
        pull = office.open_pull()
        office.measure(pull)
        assert office.gate(pull).state == "error"
        assert office.gate(pull).description.startswith("Refused: A public repository must not")
        assert "control repository" in office.comment_of(pull)
    with running(private=True) as github:
        office = Office(tmp_path / "private", github, config=config)
        pull = office.open_pull()
        office.measure(pull)
        assert office.gate(pull).state == "success"


def test_in_a_merge_queue_the_pull_requests_own_measurement_counts(office: Office) -> None:
    pull = office.open_pull()
    office.measure(pull)
    group = office.github.queue_merge(pull, pull.head_sha)
    office.measure(group)
    assert office.gate(group.head_sha).state == "success"
    assert office.gate(group.head_sha).description == "Measured on #1 before the queue"


def test_a_merge_queue_lets_nothing_through_that_was_not_measured(office: Office) -> None:
    pull = office.open_pull()
    sha = office.commit("queued", {"train.py": "import os, sys\n"})
    group = office.github.queue_merge(pull, sha)
    office.measure(group)
    assert office.gate(sha).state == "error"
    assert "no success of its own" in office.gate(sha).description


def test_a_merge_queue_can_be_measured_itself(tmp_path) -> None:
    with running() as github:
        office = Office(tmp_path, github, config="github: {merge_queue: measure}\n")
        pull = office.open_pull()
        office.measure(pull)
        sha = office.commit("queued", {"train.py": "import os, sys\n"})
        group = github.queue_merge(pull, sha)
        office.measure(group, slower={"train": 0.2})
        assert office.gate(sha).state == "failure"
        assert office.gate(pull).state == "success"
        assert len(github.bot_comments(pull)) == 1


def test_a_strangers_first_run_waits_for_approval_and_is_measured_after_it(office: Office) -> None:
    pull = office.open_pull(author="stranger", fork=True)
    run = office.github.start_run(pull)
    office.github.finish_run(run, "action_required")
    office.handled = len(office.github.events) - 1
    office.deliver()
    assert office.gate(pull).state == "error"
    assert "approve" in office.gate(pull).description
    office.github.begin(run)
    office.deliver()
    assert office.gate(pull).state == "pending"
    office.finish(run)
    assert office.gate(pull).state == "success"
