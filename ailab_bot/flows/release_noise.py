"""`ailab calibrate --releases`: what nights and releases say of the noise, in the policy's scales.

verdicts of releases -> their noise, one value a run -> robust middle -> drawn toward the scale that
holds -> the policy file. Refuses to touch anything else in it: a scale sizes the bets and so the
blocks that a verdict takes, never how often nothing is called something (docs/statistics.md).
Threshold, margin, error and certificate belong to equal arms. Reads no pull request.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from ailab_bot.errors import UserError
from ailab_bot.flows.ledger import branch_store
from ailab_bot.ledger.records import Kind, Record, baseline_records
from ailab_bot.model import strictjson
from ailab_bot.model.calibration import Calibration, Judged
from ailab_bot.model.strictjson import BadJsonError, Json
from ailab_bot.policyfile import check_place, read_policy, rounded, write_policy
from ailab_bot.stats.noise import SMALLEST_SCALE, shrunk, unbiased_deviation
from ailab_bot.stats.roc import LARGEST_SCALE

#: Only so far back: what the machines and the scenarios were like before is not what they are.
WINDOW = timedelta(days=14)
#: The middle of fewer runs is decided by one busy night.
LEAST_RELEASES = 5
#: The robust deviation of fewer blocks is mostly chance; the rule itself times at least 6.
LEAST_BLOCKS = 5
#: One run of the command moves a scale by this factor at the most, either way: what is further off
#: deserves equal arms, and somebody who looks.
MOST_FACTOR = 2.0
#: How the note in the policy file begins. There is one: the next replaces it.
NOTE = "Scales from releases"
_MOST_BLOCKS = 1_000_000


@dataclass(frozen=True)
class Scaled:
    """The scale of one scenario's metric, before and after, from so many release runs."""

    scenario: str
    metric: str
    before: float
    after: float
    releases: int


@dataclass(frozen=True)
class Learned:
    """`weighed`: rows of the policy that enough releases speak of, moved or not. `most`: the
    releases behind the row that has most of them. `since`: older ones did not count."""

    calibration: Calibration
    weighed: tuple[Scaled, ...]
    most: int
    since: datetime

    @property
    def moved(self) -> tuple[Scaled, ...]:
        return tuple(each for each in self.weighed if each.after != each.before)


def learn_scales(
    repo: Path, policy: Path, out: Path, now: datetime
) -> tuple[Learned, Mapping[str, int]]:
    """From the ledger as the clone has fetched it; `out` is written where a scale moved.

    Returns what was learned, and what of the ledger could not be read, by reason. UserError where
    there is no policy file, or no ledger.
    """
    check_place(policy)
    if not policy.exists():
        raise UserError(
            f"there is no {policy}",
            why="Releases adjust the scales of a policy; they cannot make one, as head and base "
            "differ in them.",
            advice="Run `ailab calibrate` first: it measures equal arms.",
        )
    calibration = read_policy(policy)
    store = branch_store(repo, reading=True)
    skipped: Counter[str] = Counter()
    records = store.read(skipped, (Kind.VERDICT,), (now - WINDOW).astimezone(UTC).date())
    learned = with_releases(calibration, records, now)
    if learned.moved:
        write_policy(learned.calibration, out)
    return learned, dict(skipped)


def with_releases(calibration: Calibration, records: Iterable[Record], now: datetime) -> Learned:
    """The calibration with the scales that the releases of the last WINDOW ask for.

    Only runs that began after the policy was made count, and where a scale moves the policy is
    made `now`: no run counts twice, however often the command is given.
    """
    since = max(now - WINDOW, calibration.when)
    values = noise_of(records, since, now)
    weighed, judged = [], []
    for row in calibration.judged:
        own = values.get((row.scenario, row.metric), ())
        if len(own) < LEAST_RELEASES:
            judged.append(row)
            continue
        before = row.limits.scale
        after = new_scale(before, own)
        weighed.append(Scaled(row.scenario, row.metric, before, after, len(own)))
        judged.append(replace(row, limits=replace(row.limits, scale=after)))
    most = max((len(values.get((r.scenario, r.metric), ())) for r in calibration.judged), default=0)
    learned = Learned(calibration, tuple(weighed), most, since)
    if not learned.moved:
        return learned
    return replace(learned, calibration=_moved(calibration, judged, learned, now))


def _moved(
    calibration: Calibration, judged: Sequence[Judged], learned: Learned, now: datetime
) -> Calibration:
    rows = "; ".join(_row(each) for each in learned.moved)
    note = f"{NOTE} since {learned.since:%Y-%m-%d}: {rows}."
    kept = (each for each in calibration.notes if not each.startswith(NOTE))
    return replace(
        calibration,
        when=now.astimezone(UTC).replace(microsecond=0),
        judged=tuple(judged),
        notes=(*kept, note),
    )


def new_scale(present: float, noise: Sequence[float]) -> float:
    """The middle of the releases' noise, drawn toward the scale that holds.

    Each release counts as *one* of the blocks that `shrunk` weighs against PRIOR_BLOCKS, although
    it timed many: they share an hour and a machine, so together they are one look at what nights
    are like. At 11 releases the two weigh the same, and two weeks of nights count a little more
    than the calibration; the least, 5, count for two sevenths.
    """
    found = shrunk(median(noise), len(noise), present)
    bounded = min(max(found, present / MOST_FACTOR), present * MOST_FACTOR)
    return rounded(min(max(bounded, SMALLEST_SCALE), LARGEST_SCALE))


def noise_of(
    records: Iterable[Record], since: datetime, until: datetime
) -> Mapping[tuple[str, str], tuple[float, ...]]:
    """The noise of release verdicts by scenario and metric: one value for each run that began
    after `since`, from its latest attempt. A verdict that cannot be read is passed over."""
    latest: dict[tuple[int, str], Record] = {}
    for record in baseline_records(records):
        begun = record.begun or record.when
        if record.kind is not Kind.VERDICT or not record.scenario or not since < begun <= until:
            continue
        key = (record.run, record.scenario)
        if key not in latest or latest[key].attempt < record.attempt:
            latest[key] = record
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (_, scenario), record in sorted(latest.items()):
        own: dict[str, float] = {}
        for row in record.verdicts:
            found = _noise_in(row)
            if found is not None:
                metric, noise = found
                own[metric] = noise
        for metric, noise in own.items():
            values[scenario, metric].append(noise)
    return {key: tuple(noises) for key, noises in values.items()}


def _noise_in(row: Mapping[str, object]) -> tuple[str, float] | None:
    """Of a confirmed verdict the noise is that of the confirmation's blocks."""
    try:
        fresh = strictjson.whole(row.get("confirmation_blocks"), "blocks", most=_MOST_BLOCKS)
        used = strictjson.whole(row.get("blocks_used"), "blocks", most=_MOST_BLOCKS)
        noise = strictjson.number(row.get("noise"), "noise", least=0.0, most=LARGEST_SCALE)
        metric = strictjson.text(row.get("metric"), "metric")
    except BadJsonError:
        return None
    blocks = fresh or used
    return (metric, unbiased_deviation(noise, blocks)) if blocks >= LEAST_BLOCKS else None


# --- telling -----------------------------------------------------------------------------------


def told(learned: Learned, where: Path) -> str:
    """What became of the policy file, for a person."""
    since = f"since {learned.since:%Y-%m-%d %H:%M} UTC"
    if not learned.weighed:
        return (
            f"Too few releases to learn from {since}: {learned.most} with a usable noise, "
            f"{LEAST_RELEASES} are needed. The policy stays as it is."
        )
    if not learned.moved:
        return f"No scale moved by the releases {since}. The policy stays as it is."
    return "\n".join([*(_row(each) for each in learned.moved), f"Written: {where}"])


def _row(each: Scaled) -> str:
    return (
        f"{each.scenario} {each.metric} {each.before:.2%} -> {each.after:.2%} "
        f"({each.releases} releases)"
    )


def learned_to_row(learned: Learned, where: Path) -> Json:
    """The document of `--json`. `scales` holds those that were weighed, moved or not."""
    return {
        "schema": 1,
        "file": str(where),
        "written": bool(learned.moved),
        "since": learned.since.isoformat(timespec="seconds"),
        "most_releases": learned.most,
        "scales": [dict(vars(each)) for each in learned.weighed],
    }
