"""`ailab calibrate`: how noisy each scenario is, and the rule that keeps the false-positive budget.

measure equal arms (or read them) -> noise -> try settings on replays -> certify -> policy file.
Nothing gates before a certificate says that it may: until then the policy is in shadow mode.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path

from ailab_bot.config import Config, load_scenarios
from ailab_bot.errors import UserError
from ailab_bot.flows.ab import new_run_folder
from ailab_bot.flows.feedback import NAME as FEEDBACK
from ailab_bot.flows.feedback import config_of, read_opinions
from ailab_bot.flows.measurement import Bench, TrialLog, measure_scenario
from ailab_bot.judge import pair_blocks, summarise_failures
from ailab_bot.measure.cores import choose_cores
from ailab_bot.measure.environment import (
    Environment,
    Source,
    compile_probe,
    interpreter,
    prepare,
    which_python,
)
from ailab_bot.measure.git import Repository, open_repository
from ailab_bot.measure.machine import machine_class
from ailab_bot.measure.quiet import QuietGate, read_activity
from ailab_bot.measure.worktree import Workplace, open_workplace
from ailab_bot.model.calibration import (
    LEAST_BLOCKS,
    Budget,
    Calibration,
    Certificate,
    Data,
    Judged,
    Mode,
    NoiseRow,
    OperatingPoint,
    RocPoint,
    false_alarms_per_week,
)
from ailab_bot.model.policy import Limits, Policy
from ailab_bot.model.report import Choice, Plan
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.wire import LONGEST_LINE, parse_trials
from ailab_bot.plan.select import select
from ailab_bot.policyfile import DIGITS, rounded
from ailab_bot.policyfile import NAME as POLICY_FILE
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import unrest_notes
from ailab_bot.stats import roc
from ailab_bot.stats.history import (
    LEAST_OWN_BLOCKS,
    Build,
    Series,
    announced,
    fit_covariates,
    noise_rows,
    pools_of,
    replayed,
    series_of,
)
from ailab_bot.stats.replay import Pool

#: Replays of equal arms per setting; with a quarter as many per effect, a detection is known to
#: about 2 in a hundred.
REPLAYS = 600
#: The certificate takes so many times as many: for a bound of one a week at 1,800 verdicts a week
#: that a single false positive does not break, 8,540 are needed.
CERTIFICATE_FACTOR = 15
#: Fewer blocks than this are no history.
FEWEST_BLOCKS = 10
BLOCKS, BUILDS = 40, 3


@dataclass(frozen=True)
class CalibrateRequest:
    """`files`: one per build; empty: measure `blocks` blocks in each of `builds` builds.

    None: as the configuration says; `seed` None: a fresh one for the measurement.
    """

    repo: Path
    files: tuple[Path, ...] = ()
    scenarios: tuple[str, ...] = ()
    blocks: int = BLOCKS
    builds: int = BUILDS
    config: Path | None = None
    python: str | None = None
    seed: int | None = None
    replays: int = REPLAYS
    false_positives_per_week: float | None = None
    verdicts_per_week: float | None = None
    out: Path | None = None
    commits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def policy_path(request: CalibrateRequest) -> Path:
    """Where the policy file goes."""
    return (
        request.out
        or config_of(request.config, request.repo, alone=bool(request.files)).folder / POLICY_FILE
    )


# --- measuring ---------------------------------------------------------------------------------


def measure_equal_arms(
    request: CalibrateRequest, progress: Progress
) -> tuple[CalibrateRequest, bool]:
    """Measure HEAD against itself, build by build, every trial on disk at once.

    A build has worktrees and environments of its own, both arms prepared separately: what differs
    between them is the bias that a real base and head have as well. Returns the request with the
    builds' files, and whether the user stopped it: then some builds are missing or incomplete.
    """
    repository = open_repository(request.repo)
    config = config_of(request.config, repository.root)
    scenarios = load_scenarios(config)
    commit = repository.resolve("HEAD")
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    choices = select(scenarios, only=request.scenarios)
    taken = [s for s, choice in zip(scenarios, choices, strict=True) if choice.taken]
    if not taken:
        raise UserError(
            "no scenario to calibrate",
            why="None runs on this kind of machine in pull requests.",
            advice="Name one with --scenario.",
        )
    python = interpreter(which_python(request.python, config.python))
    folder = new_run_folder()
    progress.start(_plan(taken, request.builds, seed))
    progress.note(
        f"Equal arms of {commit.sha[:12]}: {request.builds} builds, {request.blocks} blocks each"
    )
    logs: list[TrialLog] = []
    notes: list[str] = []
    interrupted = False
    try:
        for number in range(request.builds):
            logs.append(TrialLog(folder / f"aa-build-{number}.jsonl"))
            home = folder / f"build-{number}"
            build = _Build(repository, commit.sha, home, config, request.blocks, seed + number)
            build.measure(taken, python, logs[-1], progress, notes)
    except KeyboardInterrupt:
        interrupted = True
    files = tuple(log.path for log in logs if log.trials)
    notes += [
        f"{failure.scenario}: {failure.failed} of {failure.trials} trials failed ({failure.reason})"
        for failure in summarise_failures([t for log in logs for t in log.trials])
    ]
    measured = replace(request, files=files, commits=(commit.sha,), notes=tuple(notes))
    return measured, interrupted


def _plan(taken: Sequence[Scenario], builds: int, seed: int) -> Plan:
    each = [Choice(scenario.id, True, "equal arms") for scenario in taken]
    return Plan(tuple(each * builds), seed)


@dataclass(frozen=True)
class _Build:
    repository: Repository
    sha: str
    home: Path
    config: Config
    blocks: int
    seed: int

    def measure(
        self,
        taken: Sequence[Scenario],
        python: Environment,
        log: TrialLog,
        progress: Progress,
        notes: list[str],
    ) -> None:
        shas = dict.fromkeys(Arm, self.sha)
        cores = choose_cores(self.config.noise.pin)
        try:
            with open_workplace(self.repository, shas) as place:
                prepared = self._prepare(place, taken, python, progress)
                for scenario in taken:
                    gate = QuietGate(
                        self.config.noise, self.blocks, read=lambda: read_activity(cores)
                    )
                    bench = Bench(
                        scenario,
                        prepared[scenario.id],
                        place,
                        self.seed,
                        Policy(gate=self.config.gate, max_blocks=self.blocks),
                        family=1,
                        cores=cores,
                        threads=self.config.noise.threads,
                        gate=gate,
                        machine=machine_class(),
                        until_known=False,
                    )
                    measure_scenario(bench, log, progress)
                    notes += unrest_notes(scenario.id, gate.unrest, self.config.noise)
                    progress.finish(scenario.id, (), summarise_failures(log.of(scenario.id)))
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def _prepare(
        self,
        place: Workplace,
        taken: Sequence[Scenario],
        python: Environment,
        progress: Progress,
    ) -> Mapping[str, dict[Arm, Environment]]:
        prepared: dict[str, dict[Arm, Environment]] = {}
        for scenario in taken:
            for arm in Arm:
                if scenario.setup:
                    progress.activity(scenario.id, f"preparing {arm.value} of a new build")
                source = Source(place.repository, self.sha, place.checkout(arm))
                environment = prepare(scenario, source, python, self.home / arm.value)
                compile_probe(place.probe, environment.python)
                prepared.setdefault(scenario.id, {})[arm] = environment
        return prepared


# --- calibrating -------------------------------------------------------------------------------


def calibrate(request: CalibrateRequest, tell: roc.Tell, now: datetime) -> Calibration:
    """From recorded trials of equal arms to a policy. The same files give the same numbers.

    `now` must have a time zone. Raises UserError for files that cannot be read or say too little.
    """
    config = config_of(request.config, request.repo, alone=True)
    budget = Budget(
        request.false_positives_per_week or config.false_positives_per_week,
        request.verdicts_per_week or config.verdicts_per_week,
        false_alarms_per_week(read_opinions(config.folder / FEEDBACK), now),
    )
    tell("reading trials")
    everything = [_read(path) for path in request.files]
    _distinct(request.files, everything)
    read = [_only(trials, request.scenarios) for trials in everything]
    builds = [_blocks_of(trials) for trials in read]
    series = series_of(builds)
    _check(series, config.gate, request)
    rows = noise_rows(series)
    pools = pools_of(series, rows, config.gate)
    counted = _counted(series, rows, pools)
    split = _independent(counted, config.gate) >= 2 * LEAST_BLOCKS
    tuning, reporting = _split(pools) if split else (pools, pools)
    cap = roc.largest_error(budget.false_positives_per_week, budget.verdicts_per_week)
    errors = sorted({*roc.ERRORS, cap}, reverse=True)

    def choose(gating: _Pools) -> tuple[list[RocPoint], OperatingPoint, OperatingPoint]:
        tried = roc.sweep([tuning[key] for key in gating], errors, request.replays, _SEED, tell)
        best = roc.choose(tried, budget.false_positives_per_week, budget.verdicts_per_week).point
        return tried, best, replace(best, error=rounded(best.error / budget.tightened_by))

    points, best, point = choose(reporting)
    judged = _judged(series, rows, reporting, point, request.replays, tell)
    gating = _gating(reporting, judged, config.gate_anyway)
    if len(gating) < len(reporting):  # what blocks nothing has no say in the rule
        points, best, point = choose(gating)
        judged = _judged(series, rows, reporting, point, request.replays, tell)
        gating = _gating(reporting, judged, config.gate_anyway)
    rest = _counted(series, rows, gating)
    independent = _independent(rest, config.gate)
    certificate = _certify(gating, point, budget, request.replays, independent, tell)
    wrong = announced(series, gating, point.threshold, point.error)
    mode, why = _mode(certificate, budget, _blocks_in(rest, config.gate), wrong)
    if mode is Mode.GATE:
        why = certificate.text
    return Calibration(
        when=now.astimezone(UTC).replace(microsecond=0),
        mode=mode,
        why=why,
        data=Data(
            files=tuple(path.name for path in request.files),
            blocks=_blocks(series, config.gate),
            independent_blocks=int(_independent(rows, config.gate)),
            machines=tuple(dict.fromkeys(row.machine for row in rows)),
            commits=request.commits,
            split=_split_text(split),
        ),
        budget=budget,
        point=point,
        certificate=certificate,
        judged=judged,
        noise=tuple(_rounded_row(row) for row in rows),
        covariates=fit_covariates(builds, _SEED),
        roc=tuple(points),
        notes=(*request.notes, *_notes(read, builds, pools, rows, budget, best, point)),
    )


def _gating(pools: _Pools, judged: Sequence[Judged], anyway: Sequence[str]) -> _Pools:
    """Without those too noisy to gate; all where none would be left."""
    noisy = {row.scenario for row in judged if row.too_noisy} - set(anyway)
    return {key: pool for key, pool in pools.items() if key[0] not in noisy} or pools


def _counted(series: Sequence[Series], rows: Sequence[NoiseRow], pools: _Pools) -> list[NoiseRow]:
    """Rows of the blocks that are replayed: a calm machine's say nothing about a noisy one."""
    taken = {id(s) for key in pools for s in replayed(series, rows, *key)}
    return [row for s, row in zip(series, rows, strict=True) if id(s) in taken]


#: Replays are simulations: the same data must give the same policy.
_SEED = 20_26


def _distinct(files: Sequence[Path], builds: Sequence[Sequence[Trial]]) -> None:
    """Each file is one build; the same one twice would make noise look like no noise.

    What was measured is compared: blank lines and the order of lines make no other build.
    """
    seen: dict[str, Path] = {}
    for path, trials in zip(files, builds, strict=True):
        measured = sorted(
            (trial.scenario, trial.block, trial.arm.value, sorted(trial.metrics.items()))
            for trial in trials
            if trial.outcome is Outcome.OK
        )
        if not measured:
            continue
        digest = hashlib.sha256(repr(measured).encode()).hexdigest()
        if digest in seen:
            raise UserError(
                f"{path} holds the same trials as {seen[digest]}",
                why="Each file counts as a build of its own.",
                advice="Name each build's file once.",
            )
        seen[digest] = path


def _read(path: Path) -> list[Trial]:
    """Once, and line by line: it may be a pipe, or have no end."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = iter(lambda: file.readline(LONGEST_LINE + 1), "")
            return parse_trials(lines, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}", why=str(error), advice="Name files of trials (JSON Lines)."
        ) from error


def _only(trials: Sequence[Trial], scenarios: Sequence[str]) -> list[Trial]:
    return [trial for trial in trials if not scenarios or trial.scenario in scenarios]


def _blocks_of(trials: Sequence[Trial]) -> Build:
    by_scenario: dict[str, list[Trial]] = {}
    for trial in trials:
        by_scenario.setdefault(trial.scenario, []).append(trial)
    # By index, as they ran: lines may come in any order, and neighbours tell the dependence.
    return {
        scenario: sorted(pair_blocks(own), key=lambda block: block.index)
        for scenario, own in by_scenario.items()
    }


def _check(series: Sequence[Series], gate: Sequence[str], request: CalibrateRequest) -> None:
    count = _blocks(series, gate)
    if count >= FEWEST_BLOCKS:
        return
    names = " or ".join(gate)
    why = f"The files hold {count} complete blocks with {names}; {FEWEST_BLOCKS} are the least."
    if request.scenarios:
        why += f" Only {', '.join(request.scenarios)} was looked at."
    raise UserError(
        "too few blocks to calibrate",
        why=why,
        advice="A block needs a base and a head trial that both succeeded. Without files, "
        "`ailab calibrate` measures equal arms itself.",
    )


def _blocks(series: Sequence[Series], gate: Sequence[str]) -> int:
    return int(_counted_once([(s.scenario, s.metric, s.blocks) for s in series], gate))


def _independent(rows: Sequence[NoiseRow], gate: Sequence[str]) -> float:
    return _counted_once([(r.scenario, r.metric, r.independent_blocks) for r in rows], gate)


def _blocks_in(rows: Sequence[NoiseRow], gate: Sequence[str]) -> int:
    return int(_counted_once([(r.scenario, r.metric, r.blocks) for r in rows], gate))


def _counted_once(counts: Sequence[tuple[str, str, float]], gate: Sequence[str]) -> float:
    """Sum of (scenario, metric, count); a block with two gating metrics counts once."""
    by_scenario: dict[str, dict[str, float]] = {}
    for scenario, metric, count in counts:
        if metric in gate:
            own = by_scenario.setdefault(scenario, {})
            own[metric] = own.get(metric, 0.0) + count
    return sum(max(own.values()) for own in by_scenario.values())


_Pools = dict[tuple[str, str], Pool]


def _split(pools: _Pools) -> tuple[_Pools, _Pools]:
    halves = {key: pool.split() for key, pool in pools.items()}
    return (
        {key: first for key, (first, _) in halves.items()},
        {key: later for key, (_, later) in halves.items()},
    )


def _split_text(split: bool) -> str:
    if split:
        return "tuned on the first half of the blocks; certificate and mde are of the later half"
    return (
        "tuned and reported on the same blocks: the halves would hold fewer than "
        f"{LEAST_BLOCKS} independent ones"
    )


def _certify(
    pools: _Pools,
    point: OperatingPoint,
    budget: Budget,
    replays: int,
    independent: float,
    tell: roc.Tell,
) -> Certificate:
    a_week, allowed = budget.verdicts_per_week, budget.false_positives_per_week
    many = roc.enough(CERTIFICATE_FACTOR * replays, len(pools))
    wrong = roc.count_false_positives(list(pools.values()), point, many, _SEED, tell)
    at_most = _rounded_up(roc.upper_bound(wrong, many) * a_week, DIGITS)
    noun = "false positive" if wrong == 1 else "false positives"
    return Certificate(
        false_positives=wrong,
        replays=many,
        at_most_per_week=at_most,
        independent_blocks=int(independent),
        reached=at_most <= allowed and independent >= LEAST_BLOCKS,
        text=f"{wrong} {noun} in {many:,} replays: at most {_bound_text(at_most, allowed)} a week "
        f"of {a_week:g} verdicts, with {roc.CONFIDENCE:.0%} confidence",
    )


def _bound_text(at_most: float, allowed: float) -> str:
    """Rounded up, with as many digits as it takes to lie on its own side of what is allowed."""
    for digits in range(2, DIGITS):
        shown = _rounded_up(at_most, digits)
        if (shown <= allowed) == (at_most <= allowed):
            return f"{shown:.{digits}g}"
    return f"{at_most:.{DIGITS}g}"


def _rounded_up(value: float, digits: int) -> float:
    return float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(Decimal(str(value))))


def _mode(
    certificate: Certificate, budget: Budget, blocks: int, wrong: Sequence[str]
) -> tuple[Mode, str]:
    """`blocks`: that were replayed; `wrong`: what was announced on the recorded equal arms."""
    if certificate.reached and not wrong:
        return Mode.GATE, ""
    reasons = list(wrong)
    if certificate.independent_blocks < LEAST_BLOCKS:
        have = max(certificate.independent_blocks, 1)
        missing = math.ceil((LEAST_BLOCKS - certificate.independent_blocks) * blocks / have)
        reasons.append(
            f"{blocks} blocks are worth {certificate.independent_blocks} independent ones; "
            f"{LEAST_BLOCKS} are needed, about {missing} more blocks like these"
        )
    if certificate.at_most_per_week > budget.false_positives_per_week:
        seen = certificate.false_positives / certificate.replays * budget.verdicts_per_week
        more = "; more --replays may narrow it" if seen < budget.false_positives_per_week else ""
        reasons.append(
            f"{certificate.text}, above the budget of {budget.false_positives_per_week:g}{more}"
        )
    return Mode.SHADOW, "; ".join(reasons)


def _judged(
    series: Sequence[Series],
    rows: Sequence[NoiseRow],
    pools: _Pools,
    point: OperatingPoint,
    replays: int,
    tell: roc.Tell,
) -> tuple[Judged, ...]:
    judged = []
    keys = list(dict.fromkeys((row.scenario, row.metric) for row in rows))
    everything = pools_of(series, rows, {metric for _, metric in keys})
    for number, key in enumerate(keys, start=1):
        pool = pools.get(key)
        limits = _rounded_limits(roc.limits_of(everything[key], point.threshold))
        mde = None
        if pool is not None:
            tell(f"smallest effect found: {number} of {len(keys)}")
            found = roc.smallest_found(pool, point, max(replays // 4, 50), _SEED)
            mde = None if found is None else round(found, 4)
        judged.append(Judged(*key, limits, mde, gates=pool is not None))
    return tuple(judged)


def _rounded_limits(limits: Limits) -> Limits:
    return Limits(*(rounded(value) for value in vars(limits).values()))


def _rounded_row(row: NoiseRow) -> NoiseRow:
    values = {name: rounded(value) for name, value in vars(row).items() if isinstance(value, float)}
    return replace(row, **values)  # type: ignore[arg-type]


def _notes(
    read: Sequence[Sequence[Trial]],
    builds: Sequence[Build],
    pools: _Pools,
    rows: Sequence[NoiseRow],
    budget: Budget,
    best: OperatingPoint,
    point: OperatingPoint,
) -> list[str]:
    notes = []
    if budget.tightened_by > 1:
        notes.append(
            f"{budget.observed_per_week:g} false alarms a week were reported, "
            f"{budget.false_positives_per_week:g} agreed: the error is {point.error:g} "
            f"instead of {best.error:g}."
        )
    if len(builds) == 1:
        notes.append("One build: a bias that only another build would show cannot be seen in it.")
    for (scenario, metric), pool in pools.items():
        own = sum(r.blocks for r in rows if (r.scenario, r.metric) == (scenario, metric))
        if own < LEAST_OWN_BLOCKS and pool.blocks > own:
            few = f"{scenario}: {own} blocks are few; it is replayed with those of its class."
            notes.append(few)
    trials = [trial for each in read for trial in each]
    failed = sum(trial.outcome is not Outcome.OK for trial in trials)
    if failed:
        notes.append(f"{failed} of {len(trials)} trials failed; their blocks are left out whole.")
    return list(dict.fromkeys(notes))
