"""The rights that security rests on: workflow and job -> what its token may do, and nothing more.

Written down by hand on purpose: a right that a workflow file gains has to be gained here too.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Of any job that checks out.
READS = {"contents": "read", "metadata": "read"}
PROMISED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("AI Lab measure", "plan"): {**READS, "actions": "read", "statuses": "read"},
    ("AI Lab measure", "measure/0"): READS,
    ("AI Lab report", "gate"): {
        **READS,
        "actions": "read",
        "pull-requests": "write",
        "statuses": "write",
    },
    ("AI Lab report", "publish"): {
        **READS,
        "actions": "write",
        "checks": "write",
        "pull-requests": "write",
        "statuses": "write",
    },
    ("AI Lab report", "history"): {"metadata": "read", "actions": "read", "contents": "write"},
    ("AI Lab release", "report"): {
        **READS,
        "actions": "write",
        "issues": "write",
        "pull-requests": "write",
        "statuses": "write",
    },
    ("AI Lab release", "history"): {"metadata": "read", "actions": "read", "contents": "write"},
    ("AI Lab bisect", "plan"): {**READS, "actions": "read"},
    ("AI Lab bisect", "search/0"): READS,
    ("AI Lab bisect", "decide"): {
        **READS,
        "actions": "write",
        "issues": "write",
        "pull-requests": "write",
        "statuses": "write",
    },
    ("AI Lab bisect", "history"): {"metadata": "read", "actions": "read", "contents": "write"},
    ("AI Lab command", "command"): {
        **READS,
        "actions": "write",
        "issues": "write",
        "pull-requests": "write",
        "statuses": "write",
    },
    ("AI Lab command", "revert"): {
        "metadata": "read",
        "actions": "read",
        "contents": "write",
        "issues": "write",
        "pull-requests": "write",
    },
    ("AI Lab command", "history"): {"metadata": "read", "actions": "read", "contents": "write"},
}
