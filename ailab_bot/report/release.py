"""Go or no-go, for the page of a release's run: what stands against it, and whom to thank."""

from __future__ import annotations

from collections.abc import Sequence

from ailab_bot.model.incident import Incident, Moved
from ailab_bot.model.scenario import METRICS
from ailab_bot.report import words
from ailab_bot.report.filters import environment
from ailab_bot.report.incidentwords import ends, label, lead, more_scenarios, span, tidy
from ailab_bot.report.links import Surface
from ailab_bot.report.markdown import code_span, mixed

_MOST_INCIDENTS = 30
_MOST_THANKED = 8
_MOST_NOTES = 20


def render_release_summary(
    *,
    go: bool,
    baseline: str,
    incidents: Sequence[Incident],
    improved: Sequence[Moved],
    creep: Sequence[str],
    surface: Surface,
    accepted: Sequence[Incident] = (),
) -> str:
    """Markdown. `incidents`: open ones; `accepted`: those that a maintainer let stay, by which
    something is slower; `creep`: sentences of ours."""
    thanked = sorted(improved, key=lambda each: each.effect)
    return tidy(
        environment()
        .get_template("release.md")
        .render(
            icon="✅" if go else "⛔",
            title=_title(go, baseline, incidents, accepted, surface),
            rows=[_row(each, surface) for each in incidents[:_MOST_INCIDENTS]],
            rows_left_out=max(0, len(incidents) - _MOST_INCIDENTS),
            thanks=[_thanks(each, baseline, go) for each in thanked[:_MOST_THANKED]],
            thanks_left_out=max(0, len(thanked) - _MOST_THANKED),
            creep=[mixed(each, 300) for each in creep[:_MOST_NOTES]],
            creep_left_out=max(0, len(creep) - _MOST_NOTES),
        )
    )


def _title(
    go: bool,
    baseline: str,
    incidents: Sequence[Incident],
    accepted: Sequence[Incident],
    surface: Surface,
) -> str:
    if go and accepted:
        listed = ", ".join(surface.issue(each.issue) for each in accepted[:5] if each.issue)
        what = f"what was accepted ({listed})" if listed else "what was accepted"
        return f"Go: slower than {code_span(baseline, 40)} only by {what}"
    if go:
        return f"Go: nothing is slower than {code_span(baseline, 40)}"
    if not incidents:
        return "No-go: what the report below says stands against it"
    noun = "incident" if len(incidents) == 1 else "incidents"
    return f"No-go: {len(incidents)} open {noun} against {code_span(baseline, 40)}"


def _row(incident: Incident, surface: Surface) -> dict[str, str]:
    worst = lead(incident)
    blame = incident.blame
    age = span(surface.now - incident.detected_at)
    return {
        "issue": surface.issue(incident.issue) if incident.issue else "not filed",
        "what": code_span(worst.scenario),
        "metric": label(worst.metric),
        "effect": f"{words.percent(worst.effect)}{more_scenarios(incident)}",
        "ends": ends(worst.interval),
        "culprit": surface.commit(blame.sha) if blame else "not known",
        "who": code_span(blame.login or blame.author, 40) if blame else "",
        "state": incident.state.value,
        "fix": surface.pull(incident.fix) if incident.fix else "",
        "age": age,
    }


def _thanks(moved: Moved, baseline: str, go: bool) -> str:
    """`train` reaches its first batch 12.0 % sooner than `v1.3`: it is the new baseline."""
    name, much = code_span(moved.scenario), words.percent(abs(moved.effect)).removeprefix("+")
    then = code_span(baseline, 40)
    known = METRICS.get(moved.metric)
    if moved.metric == "ttfb_s":
        what = f"{name} reaches its first batch {much} sooner than {then}"
    elif known is not None:
        what = f"{name} needs {much} less {known.label} than {then}"
    else:
        what = f"{name} has {much} less {label(moved.metric)} than {then}"
    return f"**Thank you:** {what}{': it is the new baseline' if go else ''}."
