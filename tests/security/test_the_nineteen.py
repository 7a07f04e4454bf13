"""Where each of the nineteen tests is that security rests on; none is named that is not there.

The list is the specification's: what an attacker or a fault does, and what must come of it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

#: What is tested, and which tests do it.
NINETEEN: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "an artifact's pull request number is ignored",
        ("stories/test_pull_request.py::test_the_number_in_an_artifact_is_ignored",),
    ),
    2: (
        "the head moved before publishing: the new one gets nothing",
        ("stories/test_pull_request.py::test_a_head_that_moved_gets_nothing_of_the_old_result",),
    ),
    3: (
        "a deleted fork is untrusted",
        (
            "stories/test_pull_request.py::test_a_deleted_fork_is_found_by_its_commit",
            "github/test_events.py::test_a_deleted_fork_is_never_the_same_repository",
            "github/test_client.py::test_a_deleted_fork_is_no_repository_of_ours",
        ),
    ),
    4: (
        "a member who may only read is refused",
        (
            "stories/test_commands.py::test_a_member_who_may_only_read_is_refused",
            "stories/test_commands.py::test_rights_that_github_does_not_tell_are_none",
        ),
    ),
    5: (
        "accept without a commit is refused",
        ("stories/test_commands.py::test_a_refusal_says_why_and_what_to_write",),
    ),
    6: (
        "a pull request that edits thresholds or deletes a scenario is judged by base",
        (
            "stories/test_pull_request.py::test_base_definitions_judge_a_change_that_edits_them",
            "stories/test_pull_request.py::test_a_change_that_deletes_a_scenario_is_measured_with_it",
        ),
    ),
    7: (
        "forged results are invalid",
        (
            "stories/test_faults.py::test_a_forged_result_is_no_result",
            "stories/test_faults.py::test_an_honest_result_of_the_same_making_is_one",
        ),
    ),
    8: (
        "patched clocks: the supervisor's time is used, a gap is invalid",
        (
            "security/test_patched_clocks.py::test_a_pth_file_that_changes_clocks_makes_the_trial_invalid",
            "security/test_patched_clocks.py::test_a_sitecustomize_of_the_checkout_comes_too_late_to_change_any_stamp",
        ),
    ),
    9: (
        "neither the child's environment nor its parent's holds a token",
        (
            "security/test_no_token.py::test_a_measured_child_finds_no_token_anywhere",
            "security/test_no_token.py::test_the_parent_would_give_tokens_away_if_it_did_not_start_anew",
        ),
    ),
    10: (
        "a hostile zip is rejected unextracted",
        (
            "security/test_hostile_zip.py::test_a_hostile_zip_is_refused_with_a_sentence",
            "security/test_hostile_zip.py::test_a_bomb_takes_no_more_memory_than_is_allowed",
        ),
    ),
    11: (
        "hostile JSON: one error type",
        (
            "security/test_hostile_json.py::test_hostile_json_is_refused_with_a_short_reason_and_soon",
            "security/test_hostile_json.py::test_a_value_of_another_kind_is_refused_and_named",
            "unit/test_wire.py::test_a_bad_line_is_refused_with_its_number_and_the_reason",
        ),
    ),
    12: (
        "hostile YAML: an error with its line",
        (
            "security/test_hostile_yaml.py::test_hostile_yaml_is_refused_with_line_and_column",
            "unit/test_config.py::test_a_malformed_file_is_refused_with_its_place",
        ),
    ),
    13: (
        "nineteen hostile strings render inert",
        (
            "security/test_hostile_text.py::test_there_are_nineteen",
            "security/test_hostile_text.py::test_hostile_text_leaves_the_page_as_it_was",
        ),
    ),
    14: (
        "502, 502, 200 gives one final state; all 502 a failed job and a swept status",
        (
            "stories/test_faults.py::test_two_bad_answers_then_one_final_state",
            "stories/test_faults.py::test_a_status_that_cannot_be_set_fails_the_job_and_the_sweeper_ends_it",
        ),
    ),
    15: (
        "a stale pending status is swept, a live one untouched",
        ("stories/test_faults.py::test_a_stale_pending_is_swept_and_a_live_one_is_not",),
    ),
    16: (
        "an escaped child is killed",
        ("measure/test_failures.py::test_no_process_outlives_a_trial_not_even_an_escaped_one",),
    ),
    17: (
        "sixteen concurrent writers of history keep sixteen records",
        ("security/test_history.py::test_sixteen_concurrent_writers_keep_sixteen_records",),
    ),
    18: (
        "a shallow clone is deepened, or it is an error",
        (
            "security/test_shallow_clone.py::test_a_clone_of_depth_one_gets_both_commits_and_their_merge_base",
            "security/test_shallow_clone.py::test_a_merge_base_that_only_the_cut_makes_is_not_believed",
            "security/test_shallow_clone.py::test_history_that_cannot_be_fetched_is_an_error_and_no_guess",
        ),
    ),
    19: (
        "the workflows pass zizmor and rules of our own, and bad ones fail them",
        (
            "action/test_linters.py::test_zizmor_as_an_auditor_reports_nothing",
            "action/test_linters.py::test_zizmor_fails_on_a_bad_file_with_the_rule_that_it_names",
            "action/test_house_rules.py::test_what_we_ship_keeps_every_rule",
            "action/test_house_rules.py::test_a_bad_file_breaks_the_rules_that_it_names_and_no_other",
        ),
    ),
}


def test_all_nineteen_have_tests() -> None:
    assert sorted(NINETEEN) == list(range(1, 20))
    assert all(tests for _, tests in NINETEEN.values())


@pytest.mark.parametrize("number", NINETEEN)
def test_each_named_test_is_there_and_runs(number: int) -> None:
    for node in NINETEEN[number][1]:
        path, _, name = node.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        (found,) = (each for each in tree.body if getattr(each, "name", "") == name)
        assert isinstance(found, ast.FunctionDef)
        marks = " ".join(ast.unparse(mark) for mark in found.decorator_list)
        assert "skip" not in marks, node
        assert "xfail" not in marks, node
