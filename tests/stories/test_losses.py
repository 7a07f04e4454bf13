"""Stories of scenarios without a result: what the status and the comment say of each kind."""

from __future__ import annotations

import pytest
from hub.state import Pull
from office import Office, zip_of, zipped
from shard_results import result_of

from ailab_bot.model.shard import Loss, LossKind

PIP = "setup of `train` failed with status 1: no matching distribution found for torch==9"


def lost(office: Office, kind: LossKind, reason: str = PIP) -> Pull:
    """The runner says itself that it could not measure the only scenario."""
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    result = result_of(office, shard, lost={"train": Loss(kind, reason)})
    office.github.finish_run(run, artifacts={"ailab-trials-1-0": zipped([], result)})
    office.deliver()
    return pull


def ends_twice(office: Office, artifact: bytes) -> Pull:
    """Both attempts leave the same."""
    pull = office.open_pull()
    run = office.begin(pull)
    office.plan(run)
    for attempt in (1, 2):
        name = f"ailab-trials-{attempt}-0"
        office.github.finish_run(run, "failure", artifacts={name: artifact})
        office.deliver()
        if run.status == "queued":
            office.github.begin(run)
            office.deliver()
    return pull


def test_a_set_up_that_fails_on_head_only_is_heads_failure(office: Office) -> None:
    pull = lost(office, LossKind.SETUP_HEAD)
    assert office.gate(pull).state == "failure"
    assert office.gate(pull).description == "train cannot be set up on head, not on base"
    assert "no matching distribution found" in office.comment_of(pull)
    (run,) = office.github.runs.values()
    assert run.attempt == 1, "that is no accident of a machine's"


def test_a_set_up_that_fails_on_base_is_not_the_changes_fault(office: Office) -> None:
    pull = lost(office, LossKind.SETUP)
    assert office.gate(pull).state == "error"
    assert "the set-up fails, on base too" in office.comment_of(pull)
    assert "no matching distribution found" in office.comment_of(pull)
    assert "machines failed" not in office.comment_of(pull).lower()


def test_a_process_that_died_has_forged_nothing(office: Office) -> None:
    """Out of memory: trials.jsonl is there, and shard.json was not written any more."""
    pull = ends_twice(office, zip_of({"trials.jsonl": ""}))
    assert office.gate(pull).state == "error"
    assert "every machine or job failed" in office.comment_of(pull)
    assert "cannot be trusted" not in office.comment_of(pull)


def test_what_contradicts_the_plan_is_not_to_be_trusted(office: Office) -> None:
    pull = ends_twice(office, zip_of({"trials.jsonl": "", "shard.json": "{}"}))
    assert office.gate(pull).state == "error"
    assert "the results cannot be trusted" in office.comment_of(pull)


def test_a_definition_that_changed_on_base_is_neither(office: Office) -> None:
    pull = office.open_pull()
    run = office.begin(pull)
    (shard,) = office.plan(run)
    parcel = office.parcel(shard, {})
    office.merge_to_main(
        {".ailab/scenarios/train.yml": "id: train\ncommand: [python, train.py, --new]\n"}
    )
    office.github.finish_run(run, artifacts={"ailab-trials-1-0": parcel})
    office.deliver()
    assert office.gate(pull).state == "error"
    assert "the base branch has changed meanwhile" in office.comment_of(pull)
    assert run.attempt == 1


@pytest.mark.parametrize("kind", [LossKind.NO_RESULT, LossKind.CHANGED, LossKind.REFUSED])
def test_a_job_does_not_say_of_itself_what_only_its_reader_can_tell(
    kind: LossKind, office: Office
) -> None:
    pull = lost(office, kind)
    assert office.gate(pull).state == "error"
    assert "the results cannot be trusted" in office.comment_of(pull)
