"""The sentence on top of every report, and the one that says what to do now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ailab_bot.model.scenario import METRICS
from ailab_bot.model.verdict import FailureSummary, Pattern, Verdict, VerdictKind
from ailab_bot.report.words import clean, label, percent


def headline(
    verdicts: Sequence[Verdict],
    failures: Sequence[FailureSummary],
    interrupted: bool,
    name: Callable[[str], str] = lambda scenario: clean(scenario, 40),
    *,
    incomplete: bool = False,
    not_measured: Sequence[str] = (),
) -> tuple[str, str]:
    """Title and advice. The worst news wins; an interruption is never hidden by good news.

    `incomplete`: something that was to be measured has no verdict, or not all of its blocks.
    `not_measured`: scenarios that a machine was to measure and did not.
    `name` makes a scenario's id harmless where the title is shown.
    """
    regressed = _of(verdicts, VerdictKind.REGRESSION, gates=True)
    blocking = [failure for failure in failures if failure.blocks_the_change]
    if regressed:
        regressed.sort(key=lambda verdict: verdict.metric != "ttfb_s")
        more = f" and {len(regressed) - 1} more" if len(regressed) > 1 else ""
        title = _grown(regressed[0], name)
        return (
            f"{title[:1].upper()}{title[1:]}{more}{_also_failing(blocking, name)}",
            "Look at why below; then mend it, or say in the pull request why it is worth the wait.",
        )
    if blocking:
        never = all(failure.failed == failure.trials for failure in blocking)
        how = "Head fails where base works" if never else "Head fails far more often than base"
        return (
            f"{how}: {_names([f.scenario for f in blocking], name)}",
            "The last lines of output are below; mend head, then measure again.",
        )
    if interrupted:
        return "Interrupted: partial results", "Run the same command again to measure the rest."
    judged = {verdict.scenario for verdict in verdicts}
    lost = [f.scenario for f in failures if f.scenario not in judged]
    if lost:
        return (
            f"Could not be measured: {_names(lost, name)}",
            "No verdict on speed for them: mend the scenario or the machine, then measure again.",
        )
    if not_measured:
        return (
            f"Not measured: {_names(not_measured, name)}",
            "The machine or its job failed, not the change; measure again.",
        )
    if not verdicts:
        return "Nothing was measured", "The notes and the list of scenarios below say why."
    if incomplete:
        return (
            "Incomplete: not everything was measured",
            "The notes and the list of scenarios below say why; then measure again.",
        )
    return _of_all_measured(verdicts, name)


def _of_all_measured(verdicts: Sequence[Verdict], name: Callable[[str], str]) -> tuple[str, str]:
    """Title and advice where everything was measured and nothing blocks."""
    side = _of(verdicts, VerdictKind.REGRESSION, gates=False)
    advisory = [verdict for verdict in side if verdict.metric == "ttfb_s"]
    improved = _leading(verdicts, VerdictKind.IMPROVEMENT)
    unknown = _leading(verdicts, VerdictKind.INCONCLUSIVE)
    if advisory:
        more = f" and {len(advisory) - 1} more" if len(advisory) > 1 else ""
        return (
            f"Slower to first batch: {_effect(advisory[0], name)}{more} (advisory)",
            "It does not block, and the notes below say why; look at it all the same.",
        )
    if side:
        return (
            f"Time to first batch is fine, but {_metric(side[0], name)} grew: "
            + _effect(side[0], name),
            "It does not block; look at it if it was not intended.",
        )
    in_some = [v for v in unknown if v.pattern is Pattern.SLOW_IN_SOME]
    if in_some:
        return (
            f"Slow in some trials: {_names([v.scenario for v in in_some], name)}",
            "Not enough blocks to be sure that it is head's doing; more would tell.",
        )
    if unknown:
        return (
            f"Not known yet: {_names([v.scenario for v in unknown], name)}",
            "The blocks were not enough to tell a change from noise; this is not a regression.",
        )
    if improved:
        better = "Faster to first batch" if improved[0].metric == "ttfb_s" else "Better"
        what = _effect(improved[0], name)
        if improved[0].metric != "ttfb_s":
            what = f"{_metric(improved[0], name)} of {what}"
        return f"{better}: {what}", "Nothing to do. Thank you."
    many = len({verdict.scenario for verdict in verdicts})
    noun = "scenario" if many == 1 else "scenarios"
    return f"No change in time to first batch ({many} {noun})", "Nothing to do."


def _grown(verdict: Verdict, name: Callable[[str], str]) -> str:
    if verdict.metric == "ttfb_s":
        return f"Slower to first batch: {_effect(verdict, name)}"
    return f"{_metric(verdict, name)} grew: {_effect(verdict, name)}"


def _also_failing(blocking: Sequence[FailureSummary], name: Callable[[str], str]) -> str:
    if not blocking:
        return ""
    one = len(blocking) == 1
    return f"; head fails in {name(blocking[0].scenario) if one else f'{len(blocking)} more'}"


def _of(verdicts: Sequence[Verdict], kind: VerdictKind, gates: bool) -> list[Verdict]:
    found = [verdict for verdict in verdicts if verdict.kind is kind and verdict.gates is gates]
    return sorted(found, key=lambda verdict: -abs(verdict.effect or 0.0))


def _leading(verdicts: Sequence[Verdict], kind: VerdictKind) -> list[Verdict]:
    """Those that gate, and times to first batch that only do not because they are advisory."""
    advisory = [v for v in _of(verdicts, kind, gates=False) if v.metric == "ttfb_s"]
    return _of(verdicts, kind, gates=True) + advisory


def _effect(verdict: Verdict, name: Callable[[str], str]) -> str:
    return f"{name(verdict.scenario)} {percent(verdict.effect)}"


def _metric(verdict: Verdict, name: Callable[[str], str]) -> str:
    return label(verdict.metric) if verdict.metric in METRICS else name(verdict.metric)


def _names(scenarios: Sequence[str], name: Callable[[str], str]) -> str:
    shown = ", ".join(name(scenario) for scenario in scenarios[:3])
    return shown + (f" and {len(scenarios) - 3} more" if len(scenarios) > 3 else "")
