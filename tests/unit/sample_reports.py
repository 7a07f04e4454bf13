"""Reports as runs produce them, for the tests of what people see."""

from __future__ import annotations

from dataclasses import replace

from ailab_bot.model.report import (
    Choice,
    Commit,
    GateMode,
    Machine,
    Plan,
    PullContext,
    Report,
    Why,
)
from ailab_bot.model.trial import Outcome
from ailab_bot.model.verdict import (
    Conclusion,
    Explanation,
    FailureSummary,
    ImportChange,
    Interval,
    Pattern,
    PhaseShift,
    Stopped,
    Verdict,
    VerdictKind,
)
from ailab_bot.report.comment import render_comment
from ailab_bot.report.replies import explain, help_text
from ailab_bot.report.states import (
    NotMeasured,
    mark_stale,
    render_not_measured,
    render_superseded,
)

#: Texts that try to leave their place in Markdown, HTML, a table or a terminal.
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![p](https://example.invalid/p.png)",
    "[link](https://example.invalid)",
    "https://example.invalid/auto",
    "@octocat @github/team",
    "#1 GH-1 octocat/hello#1",
    "a | b | c",
    "`code` ``double`` ```fence```",
    "````\n# heading\n````",
    "line\nbreak\r\nagain",
    "</details></summary>",
    "<!-- comment -->",
    "\x1b[31mred\x1b[0m\x1b]8;;https://example.invalid\x07x\x1b]8;;\x07",
    "\u202etxt.exe\u202c",
    "zero\u200bwidth\u2060\ufeff",
    "\x00\x08\x7f controls",
    "{{ 7*7 }} {% raw %}",
    "long" * 200,
)


def verdict(
    scenario: str,
    kind: VerdictKind = VerdictKind.NO_CHANGE,
    effect: float = 0.004,
    metric: str = "ttfb_s",
    **changes: object,
) -> Verdict:
    moved = kind in {VerdictKind.REGRESSION, VerdictKind.IMPROVEMENT}
    base = 1.134 if metric == "ttfb_s" else 241e6
    way = "slower" if kind is VerdictKind.REGRESSION else "faster"
    reasons = {
        VerdictKind.NO_CHANGE: "after 12 blocks the interval lies inside the threshold ±5 %",
        VerdictKind.INCONCLUSIVE: "40 blocks show neither a significant effect nor that there is "
        "none of 5 % or more",
    }
    found = (
        f"8 blocks found head {way}, 8 fresh blocks confirmed it, and together they rule out that "
        "it is within the margin of 2 %"
    )
    made = Verdict(
        scenario,
        metric,
        kind,
        confirmed=moved,
        effect=effect,
        interval=Interval(effect - 0.031, effect + 0.032),
        level=0.86,
        threshold=0.05,
        blocks_used=16 if moved else 12,
        blocks_available=40,
        stopped=Stopped.DECIDED,
        reason=reasons.get(kind, found),
        confirmation_blocks=8 if moved else 0,
        base_median=base,
        head_median=base * (1 + effect),
        noise=0.041,
        p_value=0.00004 if moved else 0.41,
        gates=metric == "ttfb_s",
        margin=0.02,
        evidence=2400.0 if moved else 1.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def explanation(scenario: str, module: str = "pandas") -> Explanation:
    return Explanation(
        scenario,
        phases=(
            PhaseShift("interpreter", 0.021, 0.021),
            PhaseShift("import", 0.904, 1.101),
            PhaseShift("config", 0.011, 0.011),
            PhaseShift("data", 0.081, 0.080),
            PhaseShift("model", 0.032, 0.033),
            PhaseShift("first_batch", 0.085, 0.098),
        ),
        imports_added=(
            ImportChange(module, 0.231, 322, "trainkit/report.py:3"),
            ImportChange("logging.handlers", 0.004, 0, "trainkit/tracking.py:5"),
        ),
        imports_removed=(ImportChange("yaml", 0.012, 14, "trainkit/config.py:4"),),
    )


CRASH = FailureSummary(
    "vision-cnn",
    "head",
    Outcome.CRASH,
    failed=2,
    trials=2,
    reason="exited with status 1 before the first batch",
    advice="The last lines of its output say why; run its command by hand to see the rest.",
    output_tail=(
        "Traceback (most recent call last):",
        '  File "train.py", line 41, in <module>',
        "    model = SmallCNN(classes=job.classes)",
        "TypeError: SmallCNN.__init__() got an unexpected keyword argument 'classes'",
    ),
    other_ok=2,
)
TIMEOUT = FailureSummary(
    "ddp-gloo",
    "both",
    Outcome.TIMEOUT,
    failed=2,
    trials=2,
    reason="did not reach a first batch within 300 s; ended",
    advice="Raise `timeout_s` if the workflow is that slow, else see what it waits for.",
)


def report(
    *verdicts: Verdict, conclusion: Conclusion = Conclusion.SUCCESS, **changes: object
) -> Report:
    ids = dict.fromkeys(v.scenario for v in verdicts)
    choices = [Choice(name, True, "all CPU scenarios of this tier are relevant") for name in ids]
    choices.append(Choice("llm-h200", False, "needs a gpu runner; name it to run it here"))
    made = Report(
        base=Commit("main", "4f0c1d2e" * 5, "Train a ranking model from a job file"),
        head=Commit("record-run-metadata", "9ab37e10" * 5, "Record run metadata in the background"),
        plan=Plan(tuple(choices), seed=1687238535),
        verdicts=verdicts,
        failures=(),
        explanations=(),
        machine=Machine("AMD EPYC 7763", 4, 16 << 30, "Linux 6.8.0", "3.12.1"),
        conclusion=conclusion,
        runner_seconds=212.4,
        reproduce="ailab ab 4f0c1d2e4f0c 9ab37e109ab3 --seed 1687238535",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


REGRESSION = report(
    verdict("tabular-mlp", VerdictKind.REGRESSION, 0.182),
    verdict("tabular-mlp", VerdictKind.REGRESSION, 0.081, "peak_rss_bytes", gates=False),
    verdict("vision-cnn"),
    verdict("language-model", effect=-0.006),
    conclusion=Conclusion.FAILURE,
    explanations=(explanation("tabular-mlp"),),
)
CLEAN = report(verdict("tabular-mlp"), verdict("vision-cnn", effect=-0.011))
IMPROVEMENT = report(verdict("tabular-mlp", VerdictKind.IMPROVEMENT, -0.143), verdict("vision-cnn"))
INCONCLUSIVE = report(
    verdict("recsys", VerdictKind.INCONCLUSIVE, 0.046, blocks_used=40, stopped=Stopped.CAPACITY),
    verdict("vision-cnn"),
)
HEAD_FAILS = report(
    verdict("tabular-mlp"), conclusion=Conclusion.FAILURE, failures=(CRASH, TIMEOUT)
)
ALL_FAILED = report(
    conclusion=Conclusion.ERROR,
    failures=(TIMEOUT, replace(CRASH, arms="both", failed=4, trials=4)),
)
SLOW_IN_SOME = report(
    verdict(
        "recsys",
        VerdictKind.REGRESSION,
        0.164,
        interval=None,
        pattern=Pattern.SLOW_IN_SOME,
        reason="slow in some trials only: head was far slower than base in 13 of 34 blocks and far "
        "faster in 0; 28 fresh blocks confirmed it",
    ),
    verdict(
        "vision-cnn",
        VerdictKind.INCONCLUSIVE,
        0.004,
        pattern=Pattern.SLOW_IN_SOME,
        reason="head was far slower than base in 6 of 40 blocks and far faster in 0: too often to "
        "call it no change, too seldom to call it an effect",
        blocks_used=40,
    ),
    conclusion=Conclusion.FAILURE,
)
FLAKY_HEAD = report(
    verdict("tabular-mlp"),
    verdict("vision-cnn"),
    conclusion=Conclusion.FAILURE,
    failures=(replace(CRASH, failed=13, trials=34, other_ok=34, evidence=2100.0),),
)
INTERRUPTED = report(
    verdict("tabular-mlp"),
    conclusion=Conclusion.ERROR,
    interrupted=True,
    notes=("Interrupted: these results are partial.",),
)
INCOMPLETE = report(
    verdict("tabular-mlp"),
    conclusion=Conclusion.ERROR,
    notes=("vision-cnn: a process of the trial could not be killed: still there. Look for it.",),
)
NOTHING = report(notes=("No scenario applies to this change, so nothing was measured.",))
MIXED = report(
    *(
        verdict(f"scenario-{i:02}", kind, effect)
        for i, (kind, effect) in enumerate(
            [
                (VerdictKind.NO_CHANGE, 0.003),
                (VerdictKind.REGRESSION, 0.072),
                (VerdictKind.IMPROVEMENT, -0.11),
                (VerdictKind.INCONCLUSIVE, 0.039),
                (VerdictKind.REGRESSION, 0.31),
                *[(VerdictKind.NO_CHANGE, 0.001 * n) for n in range(-3, 4)],
            ]
        )
    ),
    conclusion=Conclusion.FAILURE,
    explanations=(explanation("scenario-04"), explanation("scenario-01", "tensorboard")),
    failures=(TIMEOUT,),
)
MANY = report(
    *(
        verdict(
            f"team-{i % 17:02}-workflow-with-a-rather-long-name-{i:03}",
            VerdictKind.REGRESSION if i % 29 == 3 else VerdictKind.NO_CHANGE,
            0.06 + i / 3000 if i % 29 == 3 else 0.001,
        )
        for i in range(300)
    ),
    conclusion=Conclusion.FAILURE,
)
UNFRIENDLY = report(
    *(verdict(name, VerdictKind.REGRESSION, 0.2) for name in HOSTILE),
    conclusion=Conclusion.FAILURE,
    base=Commit(HOSTILE[0], "4f0c1d2e" * 5, HOSTILE[8]),
    head=Commit(HOSTILE[5], "9ab37e10" * 5, HOSTILE[6]),
    failures=(replace(CRASH, scenario=HOSTILE[7], output_tail=HOSTILE, reason=HOSTILE[9]),),
    explanations=tuple(explanation(name, name) for name in HOSTILE[:4]),
    notes=HOSTILE[:3],
)

HEAD_SHA = "9ab37e10" * 5
RUN = "https://github.com/acme/train/actions/runs/7781203344"
PULL = PullContext(
    number=412,
    head_sha=HEAD_SHA,
    base_ref="main",
    run_url=RUN,
    attempt=1,
    mode=GateMode.ENFORCE,
    gate_state=Conclusion.SUCCESS,
    server_url="https://github.com",
    repository="acme/train",
)
BLOCKING = replace(PULL, gate_state=Conclusion.FAILURE)
MISSING = replace(PULL, gate_state=Conclusion.ERROR)
#: head/base - 1 of sixteen blocks, as a regression of 18 % and a busy machine make them.
SLOWER = (
    0.17,
    0.21,
    0.16,
    0.19,
    0.24,
    0.15,
    0.18,
    0.02,
    0.2,
    0.17,
    0.19,
    0.22,
    0.16,
    0.21,
    0.18,
    0.2,
)
RUNNER = Machine("AMD EPYC 7763", 4, 16 << 30, "Linux 6.8.0", "3.12.1")

PULL_REGRESSION = replace(
    REGRESSION, pull=replace(BLOCKING, attempt=2), blocks={"tabular-mlp": SLOWER}
)
PULL_CLEAN = replace(CLEAN, pull=PULL)
PULL_MIXED = replace(
    MIXED,
    pull=replace(BLOCKING, shards=3),
    machines=(RUNNER, RUNNER, replace(RUNNER, cpu="Intel Xeon Platinum 8370C")),
    blocks={
        "scenario-01": tuple(0.4 * effect for effect in SLOWER),
        "scenario-02": tuple(-0.6 * effect for effect in SLOWER),
        "scenario-04": tuple(1.7 * effect for effect in SLOWER),
    },
)
PULL_ALL_FAILED = replace(ALL_FAILED, pull=MISSING)
PULL_HEAD_FAILS = replace(HEAD_FAILS, pull=BLOCKING)
PULL_ACCEPTED = replace(
    PULL_REGRESSION,
    pull=replace(
        PULL,
        accepted_by="maria-ops",
        accepted_reason="metadata is needed for audits; saved again in the next quarter",
    ),
)
PULL_ADVISORY = replace(PULL_REGRESSION, pull=replace(PULL, mode=GateMode.ADVISORY))
PULL_INFRA = report(
    verdict("tabular-mlp"),
    verdict("vision-cnn"),
    conclusion=Conclusion.ERROR,
    pull=replace(
        MISSING,
        shards=2,
        infra=(
            ("recsys", "its runner was lost twice: no trials arrived"),
            ("ddp-gloo", "its runner was lost twice: no trials arrived"),
        ),
        pull_edits_definitions=(".ailab/scenarios/recsys/scenario.yml",),
    ),
)
PULL_INFRA = replace(
    PULL_INFRA,
    plan=replace(
        PULL_INFRA.plan,
        choices=PULL_INFRA.plan.choices
        + tuple(Choice(name, True, "named") for name, _ in (PULL_INFRA.pull or PULL).infra),
    ),
)
PULL_NOTHING = replace(NOTHING, pull=PULL, notes=())
PULL_MANY = replace(
    MANY,
    pull=replace(BLOCKING, shards=12),
    failures=tuple(
        replace(
            CRASH,
            scenario=f"team-{i % 17:02}-broken-workflow-{i:03}",
            arms="head" if i % 2 else "both",
            output_tail=CRASH.output_tail * 5,
        )
        for i in range(40)
    ),
)
PULL_UNFRIENDLY = replace(
    UNFRIENDLY,
    blocks=dict.fromkeys(HOSTILE, SLOWER),
    pull=replace(
        BLOCKING,
        base_ref=HOSTILE[3],
        accepted_by=HOSTILE[5],
        accepted_reason=HOSTILE[9],
        pull_edits_definitions=HOSTILE[:9],
        infra=tuple((text, text) for text in HOSTILE),
    ),
)

BASIS = (
    "Footprints of 46 scenarios are from 9ab37e109ab3; predictions are the built-in ones, as 41 of "
    "200 labelled changes are known."
)


def choice(scenario: str, taken: bool, why: Why, reason: str, *figures: float) -> Choice:
    """`figures`: probability, propensity, cost in seconds."""
    return Choice(scenario, taken, reason, why, *figures)


SELECTED = Plan(
    (
        choice("tabular-mlp", True, Why.SMOKE, "always runs", 0.31, 1.0, 62.0),
        choice(
            "recsys",
            True,
            Why.PREDICTED,
            "runs changed code: build_vocab in data/text.py (12 % of the traced time)",
            *(0.83, 1.0, 118.0),
        ),
        choice(
            "vision-cnn",
            True,
            Why.EXPLORED,
            "drawn by chance, 1 in 9, so that predictions can be checked",
            *(0.004, 0.111, 95.0),
        ),
        *(
            choice(
                f"nlp-{number:02}",
                False,
                Why.PROVED,
                "touches nothing it used: 412 files, 3 changed here",
                *(0.0, 0.0, 120.0),
            )
            for number in range(30)
        ),
        *(
            choice(
                f"ads-{number:02}",
                False,
                Why.CAPACITY,
                "left for capacity: 2 % likely at 200 s",
                *(0.02, 0.1, 200.0),
            )
            for number in range(14)
        ),
        choice("llm-h200", False, Why.TIER, "needs a gpu runner; name it to run it here"),
    ),
    seed=1687238535,
    capacity_s=300.0,
    basis=BASIS,
)
UNTOUCHED = Plan(
    tuple(
        choice(
            name,
            False,
            Why.PROVED,
            f"touches nothing it used: {files} files, 2 changed here",
            *(0.0, 0.0, 90.0),
        )
        for name, files in (("tabular-mlp", 212), ("recsys", 412))
    ),
    seed=1687238535,
    basis=BASIS,
)
PULL_SELECTED = replace(
    PULL_REGRESSION,
    plan=SELECTED,
    verdicts=(
        verdict("recsys", VerdictKind.REGRESSION, 0.182),
        verdict("tabular-mlp"),
        verdict("vision-cnn"),
    ),
    explanations=(explanation("recsys"),),
)
PULL_UNTOUCHED = replace(PULL_NOTHING, plan=UNTOUCHED, notes=())
PULL_HOSTILE_PLAN = replace(
    PULL_SELECTED,
    plan=Plan(
        tuple(
            choice(text, bool(n % 2), Why.PREDICTED if n % 2 else Why.PROVED, text, 0.5, 1.0, 9.0)
            for n, text in enumerate(HOSTILE)
        ),
        seed=1,
        basis=HOSTILE[3],
    ),
)

SAMPLES = {
    "regression": REGRESSION,
    "clean": CLEAN,
    "improvement": IMPROVEMENT,
    "inconclusive": INCONCLUSIVE,
    "head-fails": HEAD_FAILS,
    "all-failed": ALL_FAILED,
    "slow-in-some": SLOW_IN_SOME,
    "flaky-head": FLAKY_HEAD,
    "interrupted": INTERRUPTED,
    "incomplete": INCOMPLETE,
    "nothing": NOTHING,
    "mixed": MIXED,
    "many": MANY,
    "unfriendly": UNFRIENDLY,
    "pull-regression": PULL_REGRESSION,
    "pull-clean": PULL_CLEAN,
    "pull-mixed": PULL_MIXED,
    "pull-all-failed": PULL_ALL_FAILED,
    "pull-head-fails": PULL_HEAD_FAILS,
    "pull-accepted": PULL_ACCEPTED,
    "pull-advisory": PULL_ADVISORY,
    "pull-infra": PULL_INFRA,
    "pull-nothing": PULL_NOTHING,
    "pull-many": PULL_MANY,
    "pull-unfriendly": PULL_UNFRIENDLY,
    "pull-selected": PULL_SELECTED,
    "pull-untouched": PULL_UNTOUCHED,
    "pull-hostile-plan": PULL_HOSTILE_PLAN,
}

#: Comments that are no report.
STATES = {
    "state-superseded": render_superseded(PULL, HEAD_SHA, "5e11f00d" * 5),
    "state-machines": render_not_measured(
        PULL,
        HEAD_SHA,
        NotMeasured.MACHINES,
        ("shard 0: its runner was lost twice", "shard 1: the job ran into its time limit"),
    ),
    "state-forged": render_not_measured(
        PULL, HEAD_SHA, NotMeasured.FORGED, ("trials.jsonl:3: metrics: 1e999 is no number",)
    ),
    "state-cancelled": render_not_measured(PULL, HEAD_SHA, NotMeasured.CANCELLED),
    "state-stale": mark_stale(
        render_comment(PULL_REGRESSION), PULL, now="5e11f00d" * 5, minutes=12
    ),
    "state-explain": explain(PULL_REGRESSION, ("tabular-mlp",)),
    "state-help": help_text(),
}
