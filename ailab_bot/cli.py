"""The command line: arguments -> one flow -> exit status. No logic, and nothing heavy imported
before a command needs it: `--help` and `--version` must answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys

from ailab_bot.arguments import make_parser

TYPE_CHECKING = False  # as typing's, which alone takes a tenth of the time that --help may take
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

    from rich.console import Console

    from ailab_bot.errors import AilabError
    from ailab_bot.flows.ab import AbRequest
    from ailab_bot.flows.bisect import BisectRequest
    from ailab_bot.flows.calibrate import CalibrateRequest
    from ailab_bot.model.report import Report
    from ailab_bot.model.search import WorkerResult
    from ailab_bot.report.progress import Progress

EXIT_FINE, EXIT_REGRESSION, EXIT_USER, EXIT_RUNNER, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_DEMO_STORY = """\
A small training platform is built as a git repository. Its newest commit, "Record run metadata
in the background", looks harmless. AI Lab bot now measures it against main, about three minutes.
"""
_DEMO_NEXT = """\

The comment is in {comment}
Try next:
  ailab demo --keep DIR               keep the repository, look at its commits
  ailab ab main HEAD                  the same in a repository of yours that has .ailab/scenarios
  ailab judge TRIALS.jsonl            decide again from the recorded trials
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        if argv is None and arguments.command in _MEASURING:
            from ailab_bot.measure.clean import drop_secrets

            drop_secrets()  # what is measured can read our own environment
        return _COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        _tell("ailab: interrupted\n")
        return EXIT_INTERRUPTED
    except Exception as error:
        from ailab_bot.errors import AilabError

        if isinstance(error, AilabError):
            _show_error(error)
            return error.exit_status
        # Python would exit with 1, which here means a confirmed regression.
        sys.excepthook(type(error), error, error.__traceback__)
        _tell("ailab: this is a defect of ailab; please report it with the lines above\n")
        return EXIT_RUNNER


def _path(text: str | None) -> Path | None:
    from pathlib import Path

    return None if text is None else Path(text)


def _ab(arguments: argparse.Namespace) -> int:
    return _compare(_request(arguments), arguments)


def _request(arguments: argparse.Namespace) -> AbRequest:
    """What `ab` and `plan` are asked alike."""
    from pathlib import Path

    from ailab_bot.flows.ab import AbRequest

    return AbRequest(
        base=arguments.base,
        head=arguments.head,
        repo=Path(arguments.repo).absolute(),
        scenarios=tuple(arguments.scenario),
        capacity_s=arguments.capacity_s,
        config=_path(arguments.config),
        python=getattr(arguments, "python", None),
        seed=arguments.seed,
    )


def _bisect(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from ailab_bot.flows.bisect import CAPACITY_BLOCKS, BisectRequest, find_culprit
    from ailab_bot.model.culprit import Ending
    from ailab_bot.model.culpritwire import culprit_to_json
    from ailab_bot.report.culprit import print_culprit
    from ailab_bot.report.progress import choose_progress

    _check_place(arguments.json)
    _stop_as_ctrl_c()
    request = BisectRequest(
        good=arguments.good,
        bad=arguments.bad,
        repo=Path(arguments.repo).absolute(),
        scenario=arguments.scenario,
        metric=arguments.metric,
        config=_path(arguments.config),
        python=arguments.python,
        seed=arguments.seed,
        blocks=arguments.blocks or CAPACITY_BLOCKS,
        resume=_path(arguments.resume),
        check=not arguments.no_check,
        also=tuple(arguments.also),
        worker=arguments.worker,
        earlier=_path(arguments.earlier),
        minutes=arguments.minutes,
        out=Path(arguments.out).absolute() if arguments.out else None,
    )
    progress = choose_progress(_console(stderr=True), arguments.quiet)
    if request.worker is not None:
        return _search_as_worker(request, progress, arguments)
    try:
        found, folder = find_culprit(request, progress)
    finally:
        progress.close()
    _write_json(culprit_to_json(found), arguments.json)
    if not arguments.quiet:
        print_culprit(found, _console(stderr=arguments.json == "-"))
        _tell(f"Every trial: {folder}\n")
    if found.ending is Ending.INTERRUPTED:
        _tell(f"ailab: interrupted; go on with --resume {folder}\n")
        return EXIT_INTERRUPTED
    if found.ending.names_one:
        return EXIT_REGRESSION
    return EXIT_FINE if found.ending.is_known else EXIT_RUNNER


def _search_as_worker(
    request: BisectRequest, progress: Progress, arguments: argparse.Namespace
) -> int:
    from ailab_bot.flows.bisect import search_as_worker

    try:
        result, folder = search_as_worker(request, progress)
    finally:
        progress.close()
    return _worker_status(result, f"What it measured: {folder}\n", quiet=arguments.quiet)


def _worker_status(result: WorkerResult, told: str, *, quiet: bool) -> int:
    from ailab_bot.report.progress import harmless_lines

    if not quiet:
        _tell(told)
    if result.failed:
        _tell("\n".join(harmless_lines(f"ailab: this worker gave up: {result.failed}")) + "\n")
        return EXIT_USER if result.for_good else EXIT_RUNNER
    return EXIT_INTERRUPTED if result.interrupted else EXIT_FINE


def _search(arguments: argparse.Namespace) -> int:
    from ailab_bot.flows.search_jobs import search_job
    from ailab_bot.report.progress import choose_progress

    _stop_as_ctrl_c()
    progress = choose_progress(_console(stderr=True), arguments.quiet)
    try:
        result = search_job(os.environ, progress)
    finally:
        progress.close()
    return _worker_status(result, "", quiet=True)


def _demo(arguments: argparse.Namespace) -> int:
    from ailab_bot.flows.demo import demo_request

    with demo_request(_path(arguments.keep), arguments.seed) as request:
        if not arguments.quiet:
            _tell(_DEMO_STORY)
        arguments.comment = arguments.comment or "ailab-demo-comment.md"
        status = _compare(request, arguments)
    if status == EXIT_REGRESSION:
        if not arguments.quiet:
            _show_comment(arguments.comment)
            _tell(_DEMO_NEXT.format(comment=arguments.comment))
        return EXIT_FINE  # the planted regression was found: the demo did its job
    return status


def _show_comment(where: str) -> None:
    if where == "-":
        return  # it is on the screen already
    from pathlib import Path

    from ailab_bot.report.terminal import print_comment

    print_comment(Path(where).read_text(encoding="utf-8"), _console(stderr=True))


def _judge(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from ailab_bot.flows.feedback import config_of
    from ailab_bot.flows.judge import judge_file
    from ailab_bot.flows.policy import policy_notes, policy_of
    from ailab_bot.model.wire import results_to_json

    policy = policy_of(config_of(_path(arguments.config), Path.cwd(), alone=True))
    if arguments.threshold is not None:
        policy = policy.with_threshold(arguments.threshold)
    found = judge_file(Path(arguments.trials), policy)
    document = results_to_json(found.verdicts, found.failures, found.conclusion, policy.shadow)
    _write_json(document | {"notes": [*found.unjudged, *found.notes]}, arguments.json)
    if not arguments.quiet and arguments.json != "-":
        from ailab_bot.report.terminal import print_note, print_verdicts

        print_verdicts(found.verdicts, found.failures, _console())
        judged = list(dict.fromkeys(verdict.scenario for verdict in found.verdicts))
        for note in (*found.notes, *policy_notes(policy, judged)):
            print_note(note, _console())
    if found.unjudged:
        from ailab_bot.report.terminal import print_unjudged

        print_unjudged(found.unjudged, _console(stderr=True))
    return _status(found.conclusion.value, scenarios_at_fault=bool(found.failures))


def _plan(arguments: argparse.Namespace) -> int:
    if arguments.github:
        from ailab_bot.flows.jobs import plan_job

        return plan_job(os.environ)
    from ailab_bot.flows.local import plan_commits, plan_to_json

    _needs(arguments, "base", "head")
    _check_place(arguments.json)
    change = plan_commits(_request(arguments))
    _write_json(plan_to_json(change), arguments.json)
    if not arguments.quiet:
        from ailab_bot.report.terminal import print_plan

        console = _console(stderr=arguments.json == "-")
        print_plan(change.plan, change.shards, console, explain=arguments.explain)
    return EXIT_FINE


def _measure(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from ailab_bot.errors import UserError
    from ailab_bot.model.exchange import result_document
    from ailab_bot.report.progress import choose_progress

    _check_place(arguments.json)
    _stop_as_ctrl_c()
    progress = choose_progress(_console(stderr=True), arguments.quiet)
    try:
        if arguments.github:
            from ailab_bot.flows.jobs import measure_job

            result = measure_job(os.environ, progress)
        else:
            from ailab_bot.flows.local import read_plan, work_tree_definitions
            from ailab_bot.flows.shard import measure_shard
            from ailab_bot.measure.git import open_repository

            _needs(arguments, "plan")
            shards = read_plan(Path(arguments.plan))
            if not 0 <= arguments.shard < len(shards):
                raise UserError(
                    f"no shard {arguments.shard}",
                    why=f"The plan has {len(shards)}, counted from 0.",
                    advice="Name one of them with --shard.",
                )
            repository = open_repository(Path(arguments.repo).absolute())
            result = measure_shard(
                shards[arguments.shard],
                repository,
                work_tree_definitions(repository, _path(arguments.config)),
                Path(arguments.out or f"ailab-shard-{arguments.shard}").absolute(),
                progress,
                arguments.python,
            )
    finally:
        progress.close()
    if not arguments.quiet:
        from ailab_bot.report.progress import harmless_lines

        for name, loss in result.lost.items():
            said = f"ailab: {name} was not measured to its end: {loss.reason}"
            _tell("\n".join(harmless_lines(said)) + "\n")
    _write_json(result_document(result), arguments.json)
    if result.interrupted:
        return EXIT_INTERRUPTED
    # A job of GitHub's has done its work when it has written what it knows.
    return EXIT_RUNNER if result.lost and not arguments.github else EXIT_FINE


def _report(arguments: argparse.Namespace) -> int:
    if arguments.github:
        from ailab_bot.flows.jobs import report_job

        return report_job(os.environ)
    from pathlib import Path

    from ailab_bot.flows.local import report_folders

    _needs(arguments, "plan")
    for where in (arguments.json, arguments.comment):
        _check_place(where)
    report = report_folders(
        Path(arguments.plan),
        [Path(folder) for folder in arguments.folders],
        Path(arguments.repo).absolute(),
        _path(arguments.config),
    )
    return _deliver(report, arguments)


def _hosted(arguments: argparse.Namespace) -> int:
    from ailab_bot.flows import jobs

    job = {
        "gate": jobs.gate_job,
        "publish": jobs.publish_job,
        "history": jobs.history_job,
        "command": jobs.command_job,
        "sweep": jobs.sweep_job,
        "incident": jobs.incident_job,
        "revert": jobs.revert_job,
        "search-plan": jobs.search_plan_job,
        "decide": jobs.decide_job,
    }[arguments.command]
    return job(os.environ)


def _needs(arguments: argparse.Namespace, *names: str) -> None:
    """What only --github can do without."""
    from ailab_bot.errors import UserError

    missing = [name.upper() for name in names if getattr(arguments, name) is None]
    if missing:
        raise UserError(
            f"missing: {' '.join(missing)}",
            why="Only with --github, inside a workflow, are they known without being named.",
            advice="See --help.",
        )


def _calibrate(arguments: argparse.Namespace) -> int:
    if arguments.releases:
        return _learn_scales(arguments)
    from datetime import UTC, datetime
    from pathlib import Path

    from ailab_bot.flows.calibrate import (
        BLOCKS,
        BUILDS,
        REPLAYS,
        CalibrateRequest,
        calibrate,
        policy_path,
    )
    from ailab_bot.model.wire import calibration_to_json
    from ailab_bot.policyfile import write_policy
    from ailab_bot.report.calibration import print_calibration, telling

    request = CalibrateRequest(
        repo=Path(arguments.repo).absolute(),
        files=tuple(Path(name) for name in arguments.trials),
        scenarios=tuple(arguments.scenario),
        blocks=arguments.blocks or BLOCKS,
        builds=arguments.builds or BUILDS,
        config=_path(arguments.config),
        python=arguments.python,
        seed=arguments.seed,
        replays=arguments.replays or REPLAYS,
        false_positives_per_week=arguments.budget,
        verdicts_per_week=arguments.verdicts,
        out=_path(arguments.out),
    )
    where = policy_path(request)
    for place in (arguments.json, str(where)):
        _check_place(place)
        _spare(request.files, place)
    if not request.files:
        request, interrupted = _measure_equal_arms(request, arguments.quiet)
        if interrupted:
            return EXIT_INTERRUPTED
    with telling(_console(stderr=True), arguments.quiet) as tell:
        calibration = calibrate(request, tell, datetime.now(UTC))
    write_policy(calibration, where)
    if not arguments.quiet:
        print_calibration(calibration, where, _console(stderr=arguments.json == "-"))
    _write_json(calibration_to_json(calibration), arguments.json)
    return EXIT_FINE


def _learn_scales(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime
    from pathlib import Path

    from ailab_bot.errors import UserError
    from ailab_bot.flows.feedback import config_of
    from ailab_bot.flows.ledger import told_skipped
    from ailab_bot.flows.release_noise import learn_scales, learned_to_row, told
    from ailab_bot.policyfile import NAME

    measuring = ("scenario", "blocks", "builds", "python", "seed", "replays", "budget", "verdicts")
    named = [f"--{name}" for name in measuring if getattr(arguments, name) not in (None, [])]
    if arguments.trials or named:
        what = ", ".join([*(["files of trials"] if arguments.trials else []), *named])
        raise UserError(
            f"--releases takes no {what}",
            why="It measures nothing and certifies nothing: it reads the ledger.",
            advice="Leave one or the other away.",
        )
    repo = Path(arguments.repo).absolute()
    policy = config_of(_path(arguments.config), repo).folder / NAME
    where = _path(arguments.out) or policy
    _check_place(arguments.json)
    learned, skipped = learn_scales(repo, policy, where, datetime.now(UTC))
    if not arguments.quiet:
        _tell(f"{told(learned, where)}\n")
    if skipped:
        _tell(f"ailab: {told_skipped(skipped)}\n")
    _write_json({**learned_to_row(learned, where), "skipped": dict(skipped)}, arguments.json)
    return EXIT_FINE


def _spare(files: tuple[Path, ...], place: str | None) -> None:
    """What is read is not written over."""
    if place is None or place == "-":
        return
    from pathlib import Path

    from ailab_bot.errors import UserError

    path = Path(place)
    for file in files:
        if path.exists() and file.exists() and path.samefile(file):
            raise UserError(
                f"{path} is one of the files of trials",
                why="Its trials would be written over.",
                advice="Name another file to write.",
            )


def _measure_equal_arms(request: CalibrateRequest, quiet: bool) -> tuple[CalibrateRequest, bool]:
    """Whatever happens afterwards, the trials' files are named: they can be given back."""
    import shlex

    from ailab_bot.flows.calibrate import measure_equal_arms
    from ailab_bot.report.progress import choose_progress

    _stop_as_ctrl_c()
    progress = choose_progress(_console(stderr=True), quiet)
    try:
        request, interrupted = measure_equal_arms(request, progress)
    finally:
        progress.close()
    files = shlex.join(str(path) for path in request.files)
    if interrupted:
        next_step = f"; go on with: ailab calibrate {files}" if files else ""
        sys.stderr.write(f"ailab: interrupted{next_step}\n")
    elif not quiet:
        sys.stderr.write(f"Every trial: {files}\n")
    return request, interrupted


def _feedback(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime
    from pathlib import Path

    from ailab_bot.flows.feedback import config_of, record_opinion
    from ailab_bot.model.calibration import Opinion

    config = config_of(_path(arguments.config), Path(arguments.repo).absolute())
    opinion = Opinion(
        datetime.now(UTC), arguments.verdict, arguments.right == "true", arguments.note
    )
    path, warning = record_opinion(config, opinion)
    if not arguments.quiet:
        sys.stderr.write(f"Noted in {path}\n")
    if warning:
        sys.stderr.write(f"ailab: {warning}\n")
    _write_json({"file": str(path), "over_budget": bool(warning)}, arguments.json)
    return EXIT_FINE


def _footprint(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from ailab_bot.flows.footprint import FootprintRequest, record_here
    from ailab_bot.model.footprintwire import footprint_to_json
    from ailab_bot.report.footprint import print_footprints
    from ailab_bot.report.progress import choose_progress

    _check_place(arguments.json)
    _stop_as_ctrl_c()
    progress = choose_progress(_console(stderr=True), arguments.quiet)
    request = FootprintRequest(
        Path(arguments.repo).absolute(),
        arguments.commit,
        tuple(arguments.scenario),
        _path(arguments.config),
        arguments.python,
    )
    try:
        recorded, folder = record_here(request, progress)
    finally:
        progress.close()
    _write_json(
        {
            "schema": 1,
            "footprints": [footprint_to_json(each) for each in recorded.footprints],
            "notes": list(recorded.notes),
        },
        arguments.json,
    )
    if not arguments.quiet:
        console = _console(stderr=arguments.json == "-")
        print_footprints(recorded.footprints, recorded.notes, folder, console)
    return EXIT_RUNNER if recorded.notes else EXIT_FINE


def _train(arguments: argparse.Namespace) -> int:
    from contextlib import ExitStack
    from pathlib import Path

    from ailab_bot.flows.feedback import config_of
    from ailab_bot.flows.ledger import branch_store, database_store, told_skipped
    from ailab_bot.flows.train import NAME, read_and_train, write_model
    from ailab_bot.model.learned import report_to_row
    from ailab_bot.report.train import print_training

    repo = Path(arguments.repo).absolute()
    where = _path(arguments.out) or config_of(_path(arguments.config), repo).folder / NAME
    for place in (arguments.json, str(where)):
        _check_place(place)
    with ExitStack() as stack:
        store = (
            stack.enter_context(database_store(arguments.database, os.environ))
            if arguments.database
            else branch_store(repo)
        )
        trained, skipped = read_and_train(store)
    written = write_model(trained, where)
    if not arguments.quiet:
        console = _console(stderr=arguments.json == "-")
        print_training(trained.report, where, written, console)
    if skipped:
        _tell(f"ailab: {told_skipped(skipped)}\n")
    document = {"schema": 1, **report_to_row(trained.report), "file": str(where)}
    _write_json({**document, "written": written.value, "skipped": dict(skipped)}, arguments.json)
    return EXIT_FINE


def _ledger(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime
    from pathlib import Path

    from ailab_bot.flows.ledger import (
        LedgerRequest,
        check_request,
        compact_job,
        kinds_named,
        run_ledger,
    )

    request = LedgerRequest(
        action=arguments.action,
        repo=Path(arguments.repo).absolute(),
        target=_path(arguments.target),
        kinds=kinds_named(arguments.kind),
        since=arguments.since,
        form=arguments.format or "",
        database=arguments.database or "",
        to=arguments.to or "",
        hosted=arguments.github,
    )
    if request.hosted:
        check_request(request)
        return compact_job(os.environ)
    _check_place(arguments.json)
    told = run_ledger(request, os.environ, datetime.now(UTC))
    if not arguments.quiet:
        stream = sys.stderr if arguments.json == "-" else sys.stdout
        _put("".join(f"{line}\n" for line in told.lines), stream)
    if told.warning:
        _tell(f"ailab: {told.warning}\n")
    _write_json(told.document, arguments.json)
    return EXIT_FINE


def _incident(arguments: argparse.Namespace) -> int:
    if arguments.github:
        return _hosted(arguments)
    from pathlib import Path

    from ailab_bot.flows.incident_list import list_incidents
    from ailab_bot.model.incidentwire import incident_to_json
    from ailab_bot.report.incident_list import print_incident, print_incidents

    _check_place(arguments.json)
    name = arguments.id or ""
    found = list_incidents(Path(arguments.repo).absolute(), name=name, closed=arguments.all)
    if not arguments.quiet:
        console = _console(stderr=arguments.json == "-")
        if name:
            print_incident(found.shown[0], console)
        else:
            print_incidents(found.shown, console, closed=found.closed)
    rows = [incident_to_json(each) for each in found.shown]
    _write_json({"schema": 1, "incidents": rows, "closed": found.closed}, arguments.json)
    return EXIT_FINE


def _stop_as_ctrl_c() -> None:
    """End the trial, clean up and report, whoever asks to stop.

    SIGINT too: what a shell starts in the background ignores it, and GitHub cancels a job by it.
    """
    import signal

    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)


def _doctor(arguments: argparse.Namespace) -> int:
    from ailab_bot.flows.doctor import DoctorRequest, diagnose
    from ailab_bot.model.wire import diagnosis_to_json

    _check_place(arguments.json)
    repo = _path(arguments.repo)
    diagnosis = diagnose(
        DoctorRequest(repo.absolute() if repo else None, _path(arguments.config)), os.environ
    )
    if not arguments.quiet:
        from ailab_bot.report.doctor import print_diagnosis

        print_diagnosis(diagnosis, _console(stderr=arguments.json == "-"))
    _write_json(diagnosis_to_json(diagnosis), arguments.json)
    return EXIT_FINE if diagnosis.fit else EXIT_USER


def _compare(request: AbRequest, arguments: argparse.Namespace) -> int:
    """Measure with progress, then write what was asked for; also after an interruption."""

    from ailab_bot.flows.ab import compare_commits
    from ailab_bot.report.progress import choose_progress

    for where in (arguments.json, arguments.comment):
        _check_place(where)
    _stop_as_ctrl_c()
    progress = choose_progress(_console(stderr=True), arguments.quiet)
    try:
        report, trials = compare_commits(request, progress)
    finally:
        progress.close()
    status = _deliver(report, arguments)
    if not arguments.quiet:
        _tell(f"Every trial: {trials}\n")
    elif report.interrupted:
        _tell(f"ailab: interrupted; partial results: {trials}\n")
    return status


def _deliver(report: Report, arguments: argparse.Namespace) -> int:
    """Write what was asked for, show the rest; the exit status is the conclusion's."""
    from ailab_bot.model.wire import report_to_json
    from ailab_bot.report.comment import render_comment
    from ailab_bot.report.terminal import print_report

    _write_json(report_to_json(report), arguments.json)
    _write(render_comment(report), arguments.comment)
    if not arguments.quiet:
        stdout_is_data = "-" in {arguments.json, arguments.comment}
        print_report(report, _console(stderr=stdout_is_data))
    if report.interrupted:
        return EXIT_INTERRUPTED
    judged = {verdict.scenario for verdict in report.verdicts}
    lost = [failure for failure in report.failures if failure.scenario not in judged]
    return _status(report.conclusion.value, scenarios_at_fault=bool(lost))


def _status(conclusion: str, *, scenarios_at_fault: bool) -> int:
    """A scenario that cannot run is the user's to mend; a measurement cut short is not."""
    if conclusion == "failure":
        return EXIT_REGRESSION
    if conclusion == "error":
        return EXIT_USER if scenarios_at_fault else EXIT_RUNNER
    return EXIT_FINE


def _write_json(document: object, where: str | None) -> None:
    if where is not None:
        import json

        _write(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", where)


def _check_place(where: str | None) -> None:
    """A file that cannot be written is said before the measurement, not after it."""
    if where in {None, "-"}:
        return
    from pathlib import Path

    from ailab_bot.errors import UserError

    path = Path(str(where))
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            raise OSError("it is a folder, or may not be written")
    except OSError as error:
        raise UserError(
            f"cannot write {path}", why=str(error), advice="Name a file in a folder of yours."
        ) from error


def _write(text: str, where: str | None) -> None:
    if where == "-":
        _put(text, sys.stdout)
    elif where is not None:
        from pathlib import Path

        _check_place(where)
        Path(where).write_text(text, encoding="utf-8")


def _show_error(error: AilabError) -> None:
    from ailab_bot.report.terminal import print_error

    print_error(error, _console(stderr=True))


def _console(*, stderr: bool = False) -> Console:
    """A console that outlives its reader: rich would exit with 1, a confirmed regression here."""
    from rich.console import Console

    class Lasting(Console):
        def on_broken_pipe(self) -> None:
            _go_on_unheard(self.file)

    return Lasting(stderr=stderr)


def _tell(text: str) -> None:
    _put(text, sys.stderr)


def _put(text: str, stream: IO[str] | None) -> None:
    if stream is None:
        return  # closed before we began (`>&-`)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _go_on_unheard(stream)


def _go_on_unheard(stream: IO[str]) -> None:
    """The reader is gone (`| head -1`): files are still written, the exit status stays true."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())  # also for what Python still holds and flushes at its end
    os.close(nowhere)


#: Commands that run other people's code.
_MEASURING = {"ab", "bisect", "calibrate", "demo", "footprint", "measure", "search"}
_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "ab": _ab,
    "bisect": _bisect,
    "calibrate": _calibrate,
    "demo": _demo,
    "doctor": _doctor,
    "feedback": _feedback,
    "footprint": _footprint,
    "judge": _judge,
    "ledger": _ledger,
    "measure": _measure,
    "plan": _plan,
    "report": _report,
    "train": _train,
    "gate": _hosted,
    "publish": _hosted,
    "history": _hosted,
    "command": _hosted,
    "sweep": _hosted,
    "revert": _hosted,
    "search-plan": _hosted,
    "search": _search,
    "decide": _hosted,
    "incident": _incident,
}
