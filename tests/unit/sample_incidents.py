"""Incidents as they go from detection to a measured fix, for the tests of what people see."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ailab_bot.model.incident import Blame, Incident, Moved, Proof, Step, What
from ailab_bot.model.verdict import Interval
from ailab_bot.report.incident import (
    Surface,
    render_issue,
    render_pull_comment,
    render_release_summary,
    render_remark,
)

ID = "5f0e1d2c3b4a"
NUMBER = 12
GOOD, BAD, CULPRIT = "4f0c1d2e" * 5, "9ab37e10" * 5, "1a2b3c4d" * 5
FIX, LATER, MERGE = "c0ffee12" * 5, "5e11f00d" * 5, "77aa88bb" * 5
START = datetime(2026, 3, 2, 1, 12, tzinfo=UTC)
SURFACE = Surface(
    server_url="https://github.com",
    repository="acme/train",
    run_url="https://github.com/acme/train/actions/runs/7001",
    revert_branch=f"ailab/revert-{CULPRIT[:12]}",
    assigned=True,
    now=START + timedelta(days=3),
)


def moved(
    scenario: str = "tabular-mlp",
    effect: float = 0.182,
    metric: str = "ttfb_s",
    base: float = 1.134,
) -> Moved:
    interval = Interval(effect - 0.031, effect + 0.032)
    return Moved(scenario, metric, effect, interval, base, base * (1 + effect), 16, 0.05)


THREE = (moved(), moved("vision-cnn", 0.094, base=2.41), moved("recsys", 0.061, base=0.84))
BLAME = Blame(
    sha=CULPRIT,
    subject="Report metrics as data frames",
    author="Dana Doe",
    login="dana",
    pull=41,
    probability=0.996,
    inside=MERGE,
    proofs=(
        Proof("against its parent", True, 0.18, Interval(0.152, 0.209), 16),
        Proof("BAD without it", True, -0.151, Interval(-0.174, -0.128), 14),
        Proof("vision-cnn: against its parent", True, 0.092, Interval(0.061, 0.124), 18),
        Proof("recsys: against its parent", True, 0.06, Interval(0.041, 0.081), 20),
    ),
    why=(
        "tabular-mlp now imports pandas at trainkit/report.py:3: 197\u00a0ms of it",
        "tabular-mlp now imports logging.handlers at trainkit/tracking.py:5: 4.0\u00a0ms of it",
    ),
    trials=184,
    runner_seconds=2140.0,
    reproduce="ailab bisect 4f0c1d2e4f0c 9ab37e109ab3 --scenario tabular-mlp --seed 1687238535",
)


def step(what: What, hours: float, **more: object) -> Step:
    run = 7001 + round(hours)
    at = START + timedelta(hours=hours)
    return Step(ID, what, at, **{"run": run, **more})  # type: ignore[arg-type]


DETECTED = step(
    What.DETECTED, 0, sha=BAD, branch="release/1.4", baseline=GOOD, good=GOOD, moved=THREE
)
FILED = step(What.FILED, 0.01, issue=NUMBER)
SEARCHING = step(What.SEARCHING, 0.02)
ATTRIBUTED = step(What.ATTRIBUTED, 1.4, sha=CULPRIT, blame=BLAME, moved=THREE)
UNATTRIBUTED = step(
    What.UNATTRIBUTED,
    1.4,
    text="After 60 blocks: the culprit is one of 3 commits, between which nothing tells.",
)
ACKNOWLEDGED = step(What.ACKNOWLEDGED, 8, by="dana")
PREPARED = step(What.REVERT_PREPARED, 8.5, by="sam", sha=FIX, branch="release/1.4")
PROPOSED = step(What.FIX_PROPOSED, 10, pull=57, by="dana")
DROPPED = step(What.FIX_DROPPED, 20, pull=57)
STILL = step(
    What.SEEN, 25, sha=LATER, branch="release/1.4", baseline=GOOD,
    moved=(moved(effect=0.111), moved("vision-cnn", 0.091, base=2.41)),
)  # fmt: skip
FIXED = step(
    What.FIX_MEASURED, 49, sha=FIX, branch="release/1.4", baseline=GOOD, pull=57,
    moved=(moved(effect=0.003), moved("vision-cnn", -0.002, base=2.41)),
)  # fmt: skip
CLOSED = step(What.CLOSED, 49.01)
ACCEPTED = step(What.ACCEPTED, 9, by="sam", text="The issue was closed as not planned.")
JOINED = step(What.JOINED, 1.4, sha=CULPRIT, other="00ff00ff00ff")


def incident(*steps: Step) -> Incident:
    return Incident(ID, (DETECTED, FILED, SEARCHING, *steps))


INCIDENTS = {
    "detected": incident(),
    "unattributed": incident(UNATTRIBUTED),
    "attributed": incident(ATTRIBUTED),
    "acknowledged": incident(ATTRIBUTED, ACKNOWLEDGED, PREPARED),
    "fix-proposed": incident(ATTRIBUTED, ACKNOWLEDGED, PROPOSED),
    "fix-dropped": incident(ATTRIBUTED, PROPOSED, DROPPED),
    "still-slow": incident(ATTRIBUTED, ACKNOWLEDGED, PROPOSED, STILL),
    "closed": incident(ATTRIBUTED, ACKNOWLEDGED, PROPOSED, STILL, FIXED, CLOSED),
    "accepted": incident(ATTRIBUTED, ACCEPTED, CLOSED),
    "joined": incident(JOINED, CLOSED),
}
REMARKS = (ATTRIBUTED, PREPARED, PROPOSED, STILL, FIXED)
WHOLE = incident(ATTRIBUTED, ACKNOWLEDGED, PREPARED, PROPOSED, STILL, FIXED)
#: A commit of somebody whom GitHub does not know, pushed without a pull request.
STRANGER = incident(
    replace(ATTRIBUTED, blame=replace(BLAME, login="", pull=0, inside="", also=(MERGE,))),
)
_OTHER_ID = "0a1b2c3d4e5f"
_MEMORY = moved("tokenize", 0.06, "peak_rss_bytes", 3e8)
OTHER = Incident(
    _OTHER_ID,
    (
        replace(DETECTED, incident=_OTHER_ID, moved=(_MEMORY,)),
        replace(FILED, incident=_OTHER_ID, issue=15),
    ),
)
FASTER = (moved("train", -0.12), moved("tokenize", -0.084, "peak_rss_bytes", 3e8))
CREEP = (
    "tabular-mlp is 6.1\u00a0% slower than 8 releases ago, and no single release was to blame.",
)

PAGES = {
    **{f"incident-{name}": render_issue(each, SURFACE) for name, each in INCIDENTS.items()},
    "incident-stranger": render_issue(STRANGER, replace(SURFACE, assigned=False)),
    "incident-pull": render_pull_comment(INCIDENTS["attributed"], SURFACE),
    "incident-pull-closed": render_pull_comment(INCIDENTS["closed"], SURFACE),
    "incident-remarks": "\n---\n\n".join(render_remark(WHOLE, e, SURFACE) for e in REMARKS),
    "release-no-go": render_release_summary(
        go=False, baseline="v1.3", incidents=(INCIDENTS["fix-proposed"], OTHER), improved=(),
        creep=CREEP, surface=SURFACE,
    ),
    "release-go": render_release_summary(
        go=True, baseline="v1.3", incidents=(), improved=FASTER, creep=(), surface=SURFACE
    ),
}  # fmt: skip
