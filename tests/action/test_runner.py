"""The runner of workflows does what GitHub does: small workflows, each for a rule that people know.

What the stories built on it say is worth as much as these. Nothing here is about the bot, but for
the last tests, which take its own files.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import repositories
from action.runner import (
    Event,
    Fault,
    Grace,
    Language,
    Runner,
    RunResult,
    Settings,
    Site,
    UnsupportedError,
    WorkflowError,
    event_of,
    pip_settings,
)

ROOT = Path(__file__).parents[2]
SAMPLES = Path(__file__).parent / "runner" / "samples"

Start = Callable[..., RunResult | None]


@pytest.fixture(scope="module")
def language() -> Iterator[Language]:
    with Language() as one:
        yield one


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits on main; a branch from the first with one commit; its test merge, as a ref."""
    folder = repositories.new_repository(tmp_path_factory.mktemp("base"))
    repositories.commit(folder, {"a.txt": "1"})
    repositories.git(folder, "checkout", "-q", "-b", "topic")
    repositories.commit(folder, {"b.txt": "1"})
    repositories.git(folder, "update-ref", "refs/pull/5/head", "topic")
    repositories.git(folder, "checkout", "-q", "main")
    repositories.commit(folder, {"a.txt": "2"})
    repositories.commit(folder, {"a.txt": "3"})
    repositories.git(folder, "checkout", "-q", "--detach", "main")
    repositories.git(folder, "merge", "-q", "--no-ff", "-m", "Test merge", "topic")
    repositories.git(folder, "update-ref", "refs/pull/5/merge", "HEAD")
    repositories.git(folder, "checkout", "-q", "main")
    repositories.git(folder, "branch", "-q", "-D", "topic")
    return folder


@pytest.fixture
def site(base: Path) -> Site:
    return Site("acme/models", base, repository_id=9)


class Tokens:
    """The stand-in's part: a token for each set of rights that was asked for."""

    def __init__(self) -> None:
        self.rights: dict[str, Mapping[str, str]] = {}

    def __call__(self, permissions: Mapping[str, str]) -> str:
        token = f"token-{len(self.rights)}"
        self.rights[token] = permissions
        return token


@pytest.fixture
def settings(language: Language, site: Site, tmp_path: Path) -> Settings:
    return Settings(
        language,
        site,
        tmp_path / "runs",
        token_for=Tokens(),
        actions={"greet": SAMPLES / "greet", "outer": SAMPLES / "outer", "ailab-bot": ROOT},
        grace=Grace(5, 5),
        limit_s=60,
    )


def push(site: Site, **payload: Any) -> Event:
    sha = site.sha_of("main")
    return event_of("push", {"ref": "refs/heads/main", "after": sha, **payload}, site)


def pull(site: Site, action: str = "opened", *, base: str = "main", fork: bool = False) -> Event:
    head = {
        "ref": "topic",
        "sha": site.sha_of("refs/pull/5/head"),
        "repo": {"id": 10 if fork else 9},
    }
    request = {
        "head": head,
        "base": {"ref": base, "repo": {"id": 9}},
        "merge_commit_sha": site.sha_of("refs/pull/5/merge"),
    }
    payload = {"action": action, "number": 5, "pull_request": request}
    return event_of("pull_request", payload, site)


def started(settings: Settings, sample: str, event: Event, **more: Any) -> RunResult:
    run = Runner(settings).start(SAMPLES / sample, event, run_id=7, **more)
    assert run is not None
    return run


# --- whether a workflow starts -------------------------------------------------------------------


def test_the_types_and_the_base_branch_of_a_pull_request_decide_whether_it_starts(
    settings: Settings, site: Site
) -> None:
    def starts(event: Event) -> bool:
        return Runner(settings).start(SAMPLES / "filters.yml", event, run_id=1) is not None

    assert starts(pull(site))
    assert not starts(pull(site, "closed"))
    assert not starts(pull(site, base="develop"))


@pytest.mark.parametrize(
    ("ref", "starts"),
    [
        ("refs/heads/release/1", True),
        ("refs/heads/release/1/hot", False),
        ("refs/heads/main", False),
        ("refs/tags/v1.2", True),
        ("refs/tags/v12.0", True),
        ("refs/tags/version", False),
    ],
)
def test_a_single_star_stops_at_a_slash_in_the_names_of_pushed_refs(
    settings: Settings, site: Site, ref: str, starts: bool
) -> None:
    event = Event("push", {"ref": ref}, ref, site.sha_of("main"))
    run = Runner(settings).start(SAMPLES / "filters.yml", event, run_id=1)
    assert (run is not None) is starts


@pytest.mark.parametrize(
    ("branch", "starts"), [("release/1/hot", True), ("release/old", False), ("main", True)]
)
def test_two_stars_do_not_and_an_exclamation_mark_takes_out_again(
    settings: Settings, site: Site, branch: str, starts: bool
) -> None:
    run = Runner(settings).start(SAMPLES / "filters.yml", pull(site, base=branch), run_id=1)
    assert (run is not None) is starts


def test_a_pull_request_without_types_starts_when_opened_but_not_when_edited(
    settings: Settings, site: Site
) -> None:
    runner = Runner(settings)
    assert runner.start(SAMPLES / "pull.yml", pull(site, "reopened"), run_id=1) is not None
    assert runner.start(SAMPLES / "pull.yml", pull(site, "edited"), run_id=2) is None
    assert runner.start(SAMPLES / "pull.yml", push(site), run_id=3) is None


@pytest.mark.parametrize(
    ("name", "payload", "starts"),
    [
        ("issue_comment", {"action": "created"}, True),
        ("issue_comment", {"action": "edited"}, False),
        ("workflow_run", {"action": "completed", "workflow_run": {"name": "Measure"}}, True),
        ("workflow_run", {"action": "requested", "workflow_run": {"name": "Measure"}}, False),
        ("workflow_run", {"action": "completed", "workflow_run": {"name": "Other"}}, False),
        ("schedule", {"schedule": "7 3 * * *"}, True),
        ("schedule", {"schedule": "8 3 * * *"}, False),
        ("check_run", {"action": "created"}, False),
    ],
)
def test_other_events_start_by_type_name_of_the_workflow_or_time(
    settings: Settings, site: Site, name: str, payload: dict[str, Any], starts: bool
) -> None:
    if "workflow_run" in payload:
        payload["workflow_run"]["head_branch"] = "main"
    run = Runner(settings).start(SAMPLES / "filters.yml", event_of(name, payload, site), run_id=1)
    assert (run is not None) is starts


def test_each_event_has_the_ref_and_the_commit_that_github_gives_it(
    settings: Settings, site: Site
) -> None:
    main, merge = site.sha_of("main"), site.sha_of("refs/pull/5/merge")
    group = {"head_ref": "refs/heads/queue/1", "head_sha": merge, "base_ref": "refs/heads/main"}
    events = {
        f"pull_request refs/pull/5/merge {merge} main": pull(site),
        f"merge_group refs/heads/queue/1 {merge} ": event_of(
            "merge_group", {"action": "checks_requested", "merge_group": group}, site
        ),
        f"issue_comment refs/heads/main {main} ": event_of(
            "issue_comment", {"action": "created"}, site
        ),
    }
    for number, (seen, event) in enumerate(events.items()):
        run = Runner(settings).start(SAMPLES / "filters.yml", event, run_id=number)
        assert run is not None
        assert run.job("only").outputs["seen"] == seen


def test_a_dispatched_workflow_gets_its_inputs_with_their_defaults(
    settings: Settings, site: Site
) -> None:
    event = event_of("workflow_dispatch", {"inputs": {"loud": "true"}}, site)
    assert started(settings, "filters.yml", event).job("only").outputs["inputs"] == "3 true"
    wrong = event_of("workflow_dispatch", {"inputs": {"lowd": "true"}}, site)
    with pytest.raises(WorkflowError, match="lowd"):
        Runner(settings).start(SAMPLES / "filters.yml", wrong, run_id=8)


# --- jobs ----------------------------------------------------------------------------------------


def test_jobs_pass_outputs_on_and_nothing_that_is_empty_or_holds_the_token(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "chain.yml", push(site, fails="no"))
    assert run.conclusion == "success"
    assert run.job("first").outputs == {"word": "hello"}
    assert "may contain secret" in run.job("first").annotations[0].message
    assert run.job("second").log == "step of job hello\n"
    assert run.job("always").log == "second was success\n"
    assert run.job("after-always").conclusion == "success"
    assert run.job("alarm").conclusion == run.job("apart").conclusion == "skipped"


def test_what_runs_on_what_and_for_how_long_is_evaluated_and_kept(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "chain.yml", push(site, fails="no"))
    assert run.job("second").runs_on == ("self-hosted", "gpu")
    assert run.job("first").runs_on == ("ubuntu-latest",)
    assert run.job("first").timeout_minutes == 7
    assert run.job("second").timeout_minutes == 360


def test_after_a_failure_a_job_is_skipped_and_so_is_one_that_needs_it_through_an_always(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "chain.yml", push(site, fails="yes", apart=True))
    assert run.conclusion == run.job("first").conclusion == "failure"
    assert run.job("first").outputs == {"word": "hello"}
    assert run.job("second").conclusion == "skipped"
    assert run.job("always").log == "second was skipped\n"
    # success() asks about all ancestors, not only about what is named in `needs`.
    assert run.job("after-always").conclusion == "skipped"
    assert run.job("alarm").conclusion == run.job("apart").conclusion == "success"


def shard(index: int, *, status: int = 0, labels: Any = "ubuntu-latest") -> dict[str, Any]:
    return {"index": index, "labels": labels, "minutes": 30 + index, "status": status}


def test_a_matrix_comes_from_the_json_that_an_earlier_job_put_out(
    settings: Settings, site: Site
) -> None:
    shards = [shard(0), shard(1, labels=["self-hosted", "gpu"])]
    run = started(settings, "matrix.yml", push(site, shards=shards))
    first, second = run.of("measure")
    assert (run.group, run.cancel_in_progress) == ("matrix-refs/heads/main", True)
    assert [job.key for job in run.jobs] == ["plan", "measure/0", "measure/1", "join"]
    assert first.name == "measure (0, ubuntu-latest, 30, 0)"
    assert (first.group, second.group) == ("one-0", "one-1")
    assert second.runs_on == ("self-hosted", "gpu")
    assert second.timeout_minutes == 31
    assert second.matrix == {"shard": shards[1]}
    place, text = second.log.split(": ", 1)
    assert place == "1 of 2"
    assert json.loads(text) == shards[1]
    assert run.job("join").log == "joined after 1 of 2\n"


@pytest.mark.parametrize(
    ("shards", "said"),
    [
        ([], "does not contain any values"),
        ("no list", "is no sequence"),
        ([shard(0)] * 257, "257 jobs"),
    ],
)
def test_an_empty_or_oversized_matrix_fails_its_job(
    settings: Settings, site: Site, shards: Any, said: str
) -> None:
    run = started(settings, "matrix.yml", push(site, shards=shards))
    assert run.conclusion == run.job("measure").conclusion == "failure"
    assert said in run.job("measure").error
    assert run.job("join").conclusion == "skipped"


def test_a_shard_that_fails_leaves_the_others_alone_unless_the_matrix_fails_fast(
    settings: Settings, site: Site
) -> None:
    shards = [shard(0), shard(1, status=1), shard(2)]
    patient = started(settings, "matrix.yml", push(site, shards=shards))
    assert [job.conclusion for job in patient.of("measure")] == ["success", "failure", "success"]
    assert patient.job("join").conclusion == "skipped"
    # Sequential: what is running when the failure is seen may be any later entry.
    fast = replace(settings, folder=settings.folder / "fast")
    many = [shard(0, status=1), *(shard(index) for index in range(1, 9))]
    hasty = started(fast, "matrix.yml", push(site, shards=many, fail_fast=True))
    conclusions = [job.conclusion for job in hasty.of("measure")]
    assert conclusions[0] == "failure"
    assert conclusions[-1] == "cancelled"
    assert hasty.conclusion == "failure"


def test_jobs_of_a_matrix_can_run_at_the_same_time(
    settings: Settings, site: Site, tmp_path: Path
) -> None:
    two = replace(settings, parallel=2)
    run = started(two, "together.yml", push(site, place=str(tmp_path)))
    assert run.conclusion == "success"


def test_a_rerun_of_failed_jobs_takes_the_others_over_and_has_the_next_attempt(
    settings: Settings, site: Site
) -> None:
    shards = [shard(0), shard(1, status=1)]
    event = push(site, shards=shards)
    first = started(settings, "matrix.yml", event)
    second = started(settings, "matrix.yml", event, attempt=2, previous=first)
    assert second.job("plan") is first.job("plan")
    assert second.job("measure/0") is first.job("measure/0")
    assert second.job("measure/1").steps[0].environment["GITHUB_RUN_ATTEMPT"] == "2"
    assert second.conclusion == second.job("join").conclusion == "success"


def test_include_extends_what_it_does_not_overwrite_and_adds_the_rest(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "combinations.yml", push(site))
    assert [job.log.strip() for job in run.jobs] == ["a1yes-a", "a2yes-a", "b2", "c9"]


# --- steps ---------------------------------------------------------------------------------------


def test_outputs_variables_paths_and_summaries_go_through_the_files(
    settings: Settings, site: Site
) -> None:
    job = started(settings, "steps.yml", push(site, word="héllo")).job("files")
    assert job.conclusion == "success"
    assert job.step("set").outputs == {"plain": "a=b", "block": "one\n\ntwo = <<"}
    sha = site.sha_of("main")
    assert job.step("use").log == (
        f"tool ran\none\n\ntwo = <<|from a file|{sha}|from a file|models\nevent: héllo\n"
    )
    assert job.steps[2].log == "tool\n"
    assert job.step("heredoc").log == "it's 'quoted'\n  indented {braces}\n"
    assert job.summary == "# Summary\n"


def test_lines_that_begin_with_colons_become_annotations(settings: Settings, site: Site) -> None:
    (note,) = started(settings, "steps.yml", push(site, word="x")).job("files").annotations
    assert (note.level, note.file, note.line, note.title) == ("warning", "a.py", "3", "A: title")
    assert note.message == "50%\ndone"


def test_a_failure_skips_what_follows_but_not_always_and_failure(
    settings: Settings, site: Site
) -> None:
    job = started(settings, "steps.yml", push(site)).job("failing")
    assert job.conclusion == "failure"
    soft = job.step("soft")
    assert (soft.outcome, soft.conclusion) == ("failure", "success")
    assert job.steps[1].log == "after soft\n"
    assert "not reached" not in job.log
    assert job.step("always").log == "failure failure success failure skipped\n"
    assert job.step("on-failure").outcome == "success"
    # A condition without a status function is success() && (condition).
    assert job.step("no-status-function").outcome == "skipped"


def test_what_makes_github_fail_a_step_fails_it_here(settings: Settings, site: Site) -> None:
    job = started(settings, "steps.yml", push(site)).job("bare")
    assert job.conclusion == "success"
    assert job.step("python").log == "python true\n"
    assert "Invalid format 'no equals sign'" in job.step("malformed").log
    assert "fromJson" in job.step("evaluation").log
    assert "timed out after 0.005 minutes" in job.step("slow").log
    assert job.step("summary").summary == ""
    assert "upload aborted" in job.annotations[-1].message


def test_without_a_shell_a_pipe_may_fail_on_its_left(settings: Settings, site: Site) -> None:
    assert started(settings, "no-pipefail.yml", push(site)).log.endswith("reached\n")


def test_an_environment_is_made_from_nothing(
    settings: Settings, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "of-the-caller")
    monkeypatch.setenv("PYTHONPATH", "/of/the/caller")
    run = started(settings, "rights.yml", push(site))
    seen = dict(line.split("=", 1) for line in run.job("nothing").log.splitlines() if "=" in line)
    made_by_the_shell = {"_", "SHLVL", "PWD", "OLDPWD"}
    assert seen.keys() - made_by_the_shell == run.job("nothing").steps[0].environment.keys()
    assert not {name for name in seen if "TOKEN" in name or name.startswith("PYTHON")}
    assert "of-the-caller" not in run.log
    assert (seen["CI"], seen["GITHUB_ACTIONS"], seen["RUNNER_OS"]) == ("true", "true", "Linux")
    assert seen["GITHUB_REPOSITORY"] == "acme/models"


def test_only_what_pip_needs_can_be_passed_on(settings: Settings, site: Site) -> None:
    with pytest.raises(UnsupportedError, match="SECRET"):
        replace(settings, passed_on={"SECRET": "x"})
    mine = pip_settings(
        {"PIP_INDEX_URL": "file:///x", "HOME": "/home/me", "GH_TOKEN": "x"}, Path("/")
    )
    assert mine == {"PIP_INDEX_URL": "file:///x"}
    run = started(replace(settings, passed_on=mine), "rights.yml", push(site))
    assert run.job("nothing").steps[0].environment["PIP_INDEX_URL"] == "file:///x"


# --- actions -------------------------------------------------------------------------------------


def test_an_action_has_its_own_inputs_ids_and_outputs_and_hands_variables_on(
    settings: Settings, site: Site
) -> None:
    job = started(settings, "composite.yml", push(site)).job("good")
    assert job.conclusion == "success"
    assert job.outputs == {"greeting": "hello acme", "nested": "hello inner"}
    assert [step.name for step in job.step("greet").steps] == [
        "Say it",
        "Fail",
        "Only after success",
        "Always",
    ]
    assert job.step("greet").steps[1].outcome == "skipped"
    assert job.step("outer").log.endswith("success success from outside\n")
    assert job.steps[2].log == "quiet! greet\n"
    assert job.summary == "said\nsaid\n"


def test_inside_an_action_success_asks_about_the_actions_own_steps(
    settings: Settings, site: Site
) -> None:
    job = started(settings, "composite.yml", push(site)).job("bad")
    assert job.conclusion == job.step("greet").outcome == "failure"
    assert job.step("greet").outputs == {"greeting": "hello acme"}
    first, again = job.steps
    assert [step.outcome for step in first.steps] == ["success", "failure", "skipped", "success"]
    assert first.steps[3].log == "failure success \n"
    # The job has failed by now; the second use of the action knows nothing of it.
    assert [step.outcome for step in again.steps] == ["success", "skipped", "success", "success"]
    assert again.steps[3].log == "success failure \n"


def lines_of(run: RunResult, job: str) -> list[str]:
    return run.job(job).steps[1].log.split("\n")


def test_a_checkout_is_the_test_merge_one_commit_deep_with_the_token_kept(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "checkout.yml", pull(site))
    sha, count, header, *_ = lines_of(run, "usual")
    assert (sha, count) == (site.sha_of("refs/pull/5/merge"), "1")
    assert header.startswith("http.https://github.com/.extraheader AUTHORIZATION: basic ")


def test_a_careful_checkout_is_head_with_all_history_and_no_token(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "checkout.yml", pull(site))
    head, first = site.sha_of("refs/pull/5/head"), site.sha_of("main~2")
    assert lines_of(run, "careful")[:5] == [
        head,
        "2",
        site.sha_of("main"),
        "no credentials",
        first,
    ]
    assert run.job("careful").step("checkout").outputs["commit"] == head


def test_without_a_right_to_contents_a_private_repository_is_not_found(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "checkout.yml", push(site))
    assert run.job("no-rights").conclusion == "success"
    private = replace(
        settings,
        site=Site("acme/models", site.git, private=True),
        folder=settings.folder / "private",
    )
    run = started(private, "checkout.yml", push(site))
    assert run.job("usual").conclusion == "success"
    assert "not found" in run.job("no-rights").log


def test_a_forks_code_is_not_checked_out_where_the_token_can_write(
    settings: Settings, site: Site
) -> None:
    head = site.sha_of("refs/pull/5/head")
    about = {"name": "x", "head_sha": head, "head_branch": "topic", "repository": {"id": 9}}
    for fork, conclusion in (({"id": 10}, "failure"), ({"id": 9}, "success"), (None, "failure")):
        payload = {"action": "completed", "workflow_run": {**about, "head_repository": fork}}
        event = event_of("workflow_run", payload, site)
        there = replace(settings, folder=settings.folder / str(fork))
        assert started(there, "checkout.yml", event).job("forbidden").conclusion == conclusion


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_uploaded_folder_is_a_real_zip_of_what_is_not_hidden(
    settings: Settings, site: Site
) -> None:
    kept: dict[str, bytes] = {}
    run = started(replace(settings, save_artifact=kept.__setitem__), "upload.yml", push(site))
    assert kept == run.artifacts
    assert unzipped(kept["folder-1"]) == {"below/two.txt": b"two\n", "one.txt": b"one\n"}
    assert unzipped(kept["file"]) == {"one.txt": b"one\n"}


def test_an_upload_warns_fails_or_refuses_as_the_real_one_does(
    settings: Settings, site: Site
) -> None:
    job = started(settings, "upload.yml", push(site)).job("keep")
    nothing, twice, insists = (job.step(name) for name in ("nothing", "twice", "insists"))
    assert (nothing.outcome, nothing.annotations[0].level) == ("success", "warning")
    assert twice.outcome == "failure"
    assert "409" in twice.log
    assert insists.outcome == job.conclusion == "failure"


def test_a_lost_artifact_was_uploaded_and_is_not_there(settings: Settings, site: Site) -> None:
    losing = replace(settings, lost_artifacts=frozenset({"file"}))
    run = started(losing, "upload.yml", push(site))
    assert set(run.artifacts) == {"folder-1"}


# --- rights and hostile text ---------------------------------------------------------------------


def test_a_jobs_permissions_replace_the_workflows_and_its_token_has_exactly_them(
    settings: Settings, site: Site
) -> None:
    tokens = settings.token_for
    assert isinstance(tokens, Tokens)
    run = started(settings, "rights.yml", push(site))
    expected = {
        "of-workflow": {"contents": "read", "statuses": "write", "metadata": "read"},
        "of-job": {"actions": "write", "metadata": "read"},
        "nothing": {"metadata": "read"},
    }
    assert {job.key: job.permissions for job in run.jobs} == expected
    assert tokens.rights[run.job("of-job").log.strip()] == expected["of-job"]
    usual = started(settings, "combinations.yml", push(site))
    assert usual.jobs[0].permissions["contents"] == "read"


def test_a_pull_request_from_a_fork_only_reads_whatever_the_file_says(
    settings: Settings, site: Site
) -> None:
    mine, forks = (
        Runner(settings).start(SAMPLES / "rights.yml", pull(site, fork=fork), run_id=number)
        for number, fork in enumerate((False, True))
    )
    assert mine is not None
    assert forks is not None
    assert mine.job("of-job").permissions == {"actions": "write", "metadata": "read"}
    assert forks.job("of-job").permissions == {"actions": "read", "metadata": "read"}
    assert forks.job("of-workflow").permissions["statuses"] == "read"


@pytest.mark.parametrize(
    "text",
    [
        "' || true || '",
        "${{ github.token }}",
        "$(touch hacked); `touch hacked` \" '",
        "::error::not one\u2028line\x0b::warning::x",
        "a\nEND\nforged=1\n\n",
    ],
)
def test_untrusted_text_in_env_stays_data(settings: Settings, site: Site, text: str) -> None:
    job = started(settings, "hostile.yml", push(site, text=text)).job("only")
    assert job.conclusion == "success"
    assert job.outputs == {"text": text}
    assert f"same: false {str(text.startswith(chr(39))).lower()}" in job.log
    workspace = settings.folder / "7" / "1" / "only" / "work" / "models" / "models"
    assert [path.name for path in workspace.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("sample", "error", "said"),
    [
        ("hash-files.yml", UnsupportedError, "hashFiles"),
        ("unknown-action.yml", UnsupportedError, "someone/unknown"),
        ("unknown-input.yml", WorkflowError, "whom"),
        ("unknown-context.yml", WorkflowError, "neds"),
        ("services.yml", UnsupportedError, "continue-on-error"),
    ],
)
def test_what_cannot_be_run_truly_stops_the_test(
    settings: Settings, site: Site, sample: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        started(settings, sample, push(site))


@pytest.mark.parametrize("context", ["secrets.GITHUB_TOKEN", "needs.first.result", "vars.X"])
def test_an_action_sees_neither_secrets_nor_needs_nor_variables(
    settings: Settings, site: Site, tmp_path: Path, context: str
) -> None:
    text = (SAMPLES / "greet" / "action.yml").read_text(encoding="utf-8")
    action = tmp_path / "action.yml"
    action.write_text(text.replace("${{ inputs.who }}", f"${{{{ {context} }}}}"), encoding="utf-8")
    curious = replace(settings, actions={"greet": tmp_path, "outer": tmp_path})
    with pytest.raises(WorkflowError, match=context.split(".", maxsplit=1)[0]):
        started(curious, "composite.yml", push(site))


# --- how jobs end --------------------------------------------------------------------------------


def still_runs(settings: Settings, attempt: int = 1) -> bool:
    workspace = settings.folder / "7" / str(attempt) / "work" / "work" / "models" / "models"
    orphan = (workspace / "orphan").read_text(encoding="utf-8").strip()
    try:
        state = (
            Path("/proc", orphan, "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        )
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_job_that_ends_leaves_no_process_behind(settings: Settings, site: Site) -> None:
    run = started(settings, "ends.yml", push(site, seconds="0"))
    assert run.conclusion == "success"
    assert run.job("work").step("last").log == "success\n"
    assert run.job("work").step("only-cancelled").outcome == "skipped"
    assert not still_runs(settings)


def test_a_cancelled_job_is_interrupted_and_then_runs_its_always_steps(
    settings: Settings, site: Site
) -> None:
    fault = Fault("cancel", "work", "long", after_s=1)
    run = started(settings, "ends.yml", push(site, seconds="60"), faults=[fault])
    job = run.job("work")
    assert run.conclusion == job.conclusion == "cancelled"
    assert job.step("long").outcome == "cancelled"
    assert "interrupted, writing what there is" in job.step("long").log
    assert job.step("after").outcome == "skipped"
    assert job.step("last").log == "cancelled\n"
    assert job.step("only-cancelled").outcome == "success"
    assert run.job("beside").log == "cancelled\n"
    assert not still_runs(settings)


def test_a_job_over_its_time_is_cancelled(settings: Settings, site: Site) -> None:
    run = started(settings, "ends.yml", push(site, seconds="60", minutes="0.03"))
    assert run.job("work").conclusion == "cancelled"
    assert run.job("work").timeout_minutes == 0.03
    assert run.job("work").step("long").outcome == "cancelled"
    assert "interrupted" in run.job("work").step("long").log
    assert any("maximum execution time" in note.message for note in run.job("work").annotations)
    assert not still_runs(settings)


@pytest.mark.parametrize(("step", "after_s"), [("after", None), ("long", 0.5)])
def test_a_lost_runner_runs_nothing_more_and_keeps_nothing(
    settings: Settings, site: Site, step: str, after_s: float | None
) -> None:
    fault = Fault("crash", "work", step, after_s)
    seconds = "0" if after_s is None else "60"
    run = started(settings, "ends.yml", push(site, seconds=seconds), faults=[fault])
    job = run.job("work")
    assert run.conclusion == job.conclusion == "failure"
    assert "lost communication" in job.error
    assert "last" not in [one.id for one in job.steps]
    assert "interrupted" not in job.log
    assert "started" in job.log
    assert run.job("beside").log == "failure\n"
    assert not still_runs(settings)


def test_a_runner_lost_inside_an_action_shows_what_ran_before(
    settings: Settings, site: Site
) -> None:
    run = started(settings, "composite.yml", push(site), faults=[Fault("crash", "bad", "Fail")])
    assert [step.name for step in run.job("bad").step("greet").steps] == ["Say it", "Fail"]
    assert run.job("good").conclusion == "success"


# --- the bot's own files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("*.yml")), ids=lambda path: path.stem
)
def test_githubs_parser_takes_every_workflow_that_is_shipped(
    language: Language, path: Path
) -> None:
    assert language.workflow(path)["jobs"]


def test_a_prepared_environment_is_put_into_each_job_and_comes_to_no_harm(
    settings: Settings, site: Site, tmp_path: Path
) -> None:
    prepared = tmp_path / "prepared"
    for name, text in {
        "bin/tool": "#!/bin/sh",
        "site/module.py": "x = 1",
        "site/own.pth": "here",
    }.items():
        (prepared / name).parent.mkdir(parents=True, exist_ok=True)
        (prepared / name).write_text(text, encoding="utf-8")
    (prepared / "bin" / "tool").chmod(0o755)
    (prepared / "bin" / "python").symlink_to("/usr/bin/env")
    ready = replace(settings, prepared=prepared)
    run = started(ready, "prepared.yml", push(site))
    assert run.conclusion == "success", run.log
    assert (prepared / "site" / "module.py").read_text(encoding="utf-8") == "x = 1"
    assert (prepared / "site" / "own.pth").read_text(encoding="utf-8") == "here"
    assert (prepared / "bin" / "tool").exists()


def test_the_action_installs_what_it_needs_once_and_finds_it_again(
    settings: Settings, site: Site
) -> None:
    bare = replace(settings, passed_on=pip_settings(os.environ), limit_s=400)
    first = started(bare, "install.yml", push(site)).job("plan")
    assert first.step("Install").outcome == "success", first.log
    assert first.steps[1].outcome == "success", first.log
    # The installation never holds the token that the step after it asks GitHub with.
    (token,) = settings.token_for.rights  # type: ignore[attr-defined]
    holders = [step.name for step in first.walk() if token in step.environment.values()]
    assert holders == ["Run"]
    made = settings.folder / "7" / "1" / "plan" / "work" / "_temp" / "ailab"
    # The same with the environment at hand: were anything installed again, pip could not find it.
    ready = replace(
        bare,
        prepared=made,
        passed_on={"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        folder=settings.folder / "again",
    )
    second = started(ready, "install.yml", push(site)).job("plan")
    assert second.step("Install").outcome == "success", second.log
    assert second.steps[1].outcome == "success", second.log
