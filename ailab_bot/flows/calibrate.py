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
    false_alarms_per_week,
)
from ailab_bot.model.policy import Limits, Policy
from ailab_bot.model.report import Choice, Plan
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.trial import Arm, Outcome, Trial
from ailab_bot.model.wire import LONGEST_LINE, parse_trials
from ailab_bot.plan.select import select
from ailab_bot.policyfile import NAME as POLICY_FILE
from ailab_bot.policyfile import rounded
from ailab_bot.report.progress import Progress
from ailab_bot.report.words import unrest_notes
from ailab_bot.stats import roc
from ailab_bot.stats.history import (
    LEAST_OWN_BLOCKS,
    Build,
    Series,
    fit_covariates,
    noise_rows,
    pools_of,
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
    read = [_read(path, request.scenarios) for path in _distinct(request.files)]
    builds = [_blocks_of(trials) for trials in read]
    series = series_of(builds)
    _check(series, config.gate, request)
    rows = noise_rows(series)
    independent = _independent(rows, config.gate)
    pools = pools_of(series, rows, config.gate)
    split = independent >= 2 * LEAST_BLOCKS
    tuning, reporting = _split(pools) if split else (pools, pools)
    cap = roc.largest_error(budget.false_positives_per_week, budget.verdicts_per_week)
    errors = sorted({*roc.ERRORS, cap}, reverse=True)
    points = roc.sweep(list(tuning.values()), errors, request.replays, _SEED, tell)
    best = roc.choose(points, budget.false_positives_per_week, budget.verdicts_per_week).point
    point = replace(best, error=rounded(best.error / budget.tightened_by))
    certificate = _certify(reporting, point, budget, request.replays, independent, tell)
    mode, why = _mode(certificate, budget, series, config.gate)
    if mode is Mode.GATE:
        why = certificate.text
    return Calibration(
        when=now.astimezone(UTC).replace(microsecond=0),
        mode=mode,
        why=why,
        data=Data(
            files=tuple(path.name for path in request.files),
            blocks=_blocks(series, config.gate),
            independent_blocks=int(independent),
            machines=tuple(dict.fromkeys(row.machine for row in rows)),
            commits=request.commits,
            split=_split_text(split),
        ),
        budget=budget,
        point=point,
        certificate=certificate,
        judged=_judged(series, rows, reporting, point, request.replays, tell),
        noise=tuple(_rounded_row(row) for row in rows),
        covariates=fit_covariates(builds, _SEED),
        roc=tuple(points),
        notes=(*request.notes, *_notes(read, builds, pools, rows, budget, best, point)),
    )


#: Replays are simulations: the same data must give the same policy.
_SEED = 20_26


def _distinct(files: Sequence[Path]) -> Sequence[Path]:
    """Each file is one build; the same one twice would make noise look like no noise."""
    seen: dict[str, Path] = {}
    for path in files:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(
                f"cannot read {path}", why=str(error), advice="Name files of trials (JSON Lines)."
            ) from error
        if digest in seen:
            raise UserError(
                f"{path} holds the same trials as {seen[digest]}",
                why="Each file counts as a build of its own.",
                advice="Name each build's file once.",
            )
        seen[digest] = path
    return files


def _read(path: Path, only: Sequence[str]) -> list[Trial]:
    try:
        with path.open(encoding="utf-8") as file:
            lines = iter(lambda: file.readline(LONGEST_LINE + 1), "")
            trials = parse_trials(lines, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}", why=str(error), advice="Name files of trials (JSON Lines)."
        ) from error
    return [trial for trial in trials if not only or trial.scenario in only]


def _blocks_of(trials: Sequence[Trial]) -> Build:
    by_scenario: dict[str, list[Trial]] = {}
    for trial in trials:
        by_scenario.setdefault(trial.scenario, []).append(trial)
    return {scenario: pair_blocks(own) for scenario, own in by_scenario.items()}


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
    """Blocks with a gating metric; one with two of them counts once."""
    by_scenario: dict[str, dict[str, int]] = {}
    for each in series:
        if each.metric in gate:
            counts = by_scenario.setdefault(each.scenario, {})
            counts[each.metric] = counts.get(each.metric, 0) + each.blocks
    return sum(max(counts.values()) for counts in by_scenario.values())


def _independent(rows: Sequence[NoiseRow], gate: Sequence[str]) -> float:
    by_scenario: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.metric in gate:
            counts = by_scenario.setdefault(row.scenario, {})
            counts[row.metric] = counts.get(row.metric, 0.0) + row.independent_blocks
    return sum(max(counts.values()) for counts in by_scenario.values())


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
    many = CERTIFICATE_FACTOR * replays
    wrong = roc.count_false_positives(list(pools.values()), point, many, _SEED, tell)
    at_most = roc.upper_bound(wrong, many) * a_week
    noun = "false positive" if wrong == 1 else "false positives"
    return Certificate(
        false_positives=wrong,
        replays=many,
        at_most_per_week=rounded(at_most),
        independent_blocks=int(independent),
        reached=at_most <= allowed and independent >= LEAST_BLOCKS,
        text=f"{wrong} {noun} in {many:,} replays: at most {at_most:.2g} a week of "
        f"{a_week:g} verdicts, with {roc.CONFIDENCE:.0%} confidence",
    )


def _mode(
    certificate: Certificate, budget: Budget, series: Sequence[Series], gate: Sequence[str]
) -> tuple[Mode, str]:
    if certificate.reached:
        return Mode.GATE, ""
    reasons = []
    if certificate.independent_blocks < LEAST_BLOCKS:
        have, blocks = max(certificate.independent_blocks, 1), _blocks(series, gate)
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
