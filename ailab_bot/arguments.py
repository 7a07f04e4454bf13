"""What the command line takes: commands, options and their bounds. Runs nothing.

Imports nothing heavy: `--help` and `--version` must answer at once.
"""

from __future__ import annotations

import argparse
import os
from datetime import date

from ailab_bot.version import __version__

_EPILOG = """\
exit status: 0 fine, 1 a confirmed regression, 2 you have to fix something,
3 the machine failed or the measurement is incomplete, 130 interrupted"""


def make_parser() -> argparse.ArgumentParser:
    """The parser; `command` of what it returns names the command."""
    parser = argparse.ArgumentParser(
        prog="ailab",
        description="Keeps the time to first batch of ML workflows down: A/B tests of commits.",
        epilog=_EPILOG,
        formatter_class=_formatter,
    )
    parser.add_argument("--version", action="version", version=f"ailab {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )

    demo = _command(commands, "demo", "the main job on a bundled repository with a regression")
    demo.add_argument("--keep", metavar="DIR", help="build the repository in DIR")
    demo.add_argument("--comment", metavar="F", help="where the comment goes")
    demo.add_argument("--seed", type=int, metavar="N", help="seed of the trials' order")

    ab = _command(commands, "ab", "A/B of two commits: measure, judge, confirm, explain")
    ab.add_argument("base", metavar="BASE", help="branch, tag, SHA or HEAD~1")
    ab.add_argument("head", metavar="HEAD", help="the commit with the change")
    ab.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    ab.add_argument(
        "--scenario", nargs="+", action="extend", default=[], metavar="ID", help="only these"
    )
    ab.add_argument("--capacity-s", type=_seconds, metavar="N", help="runner-seconds to spend")
    ab.add_argument("--comment", metavar="F", help="write the Markdown comment to F (- : stdout)")
    ab.add_argument("--python", metavar="PATH", help="interpreter of arms without `setup`")
    ab.add_argument("--seed", type=int, metavar="N", help="seed of the trials' order")

    _add_parts(commands)

    _add_bisect(commands)

    judge = _command(commands, "judge", "decide from recorded trials alone")
    judge.add_argument("trials", metavar="TRIALS.jsonl")
    judge.add_argument("--threshold", type=_fraction, metavar="X", help="a fraction, e.g. 0.05")

    _add_calibration(commands)
    _add_selection(commands)

    doctor = _command(commands, "doctor", "check machine, configuration and permissions")
    doctor.add_argument("--repo", metavar="DIR", help="default: the repository around here, if any")
    return parser


def _add_bisect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bisect = _command(commands, "bisect", "which commit between two made a scenario slower")
    bisect.add_argument("good", metavar="GOOD", help="a commit that was still fast")
    bisect.add_argument("bad", metavar="BAD", help="a later one that is slow")
    bisect.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    bisect.add_argument("--scenario", required=True, metavar="ID", help="the one that got slower")
    bisect.add_argument("--metric", default="", metavar="M", help="default: the scenario's first")
    bisect.add_argument(
        "--also", nargs="+", action="extend", default=[], metavar="ID",
        help="scenarios that got slower with it: compared at the culprit, too",
    )  # fmt: skip
    bisect.add_argument(
        "--blocks", type=_count, metavar="N", help="blocks to spend on the search (default 150)"
    )
    bisect.add_argument("--minutes", type=_minutes, metavar="M", help="at most so long")
    bisect.add_argument("--resume", metavar="DIR", help="go on with an interrupted search")
    bisect.add_argument(
        "--worker", type=_worker, metavar="I/K", help="measure as one of K at once, leave it in DIR"
    )
    bisect.add_argument("--out", metavar="DIR", help="of a worker: ailab-search-I")
    bisect.add_argument(
        "--earlier", metavar="DIR", help="what workers left below DIR counts, and is gone on with"
    )
    bisect.add_argument(
        "--no-check", action="store_true", help="do not measure the suspect against its parent"
    )
    bisect.add_argument("--python", metavar="PATH", help="interpreter of commits without `setup`")
    bisect.add_argument("--seed", type=int, metavar="N", help="seed of the trials' order")


def _add_parts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The main job in the parts that CI runs in separate jobs, and what GitHub's events run."""
    plan = _command(commands, "plan", "which scenarios a change is measured with, in which shards")
    plan.add_argument("base", metavar="BASE", nargs="?", help="branch, tag, SHA or HEAD~1")
    plan.add_argument("head", metavar="HEAD", nargs="?", help="the commit with the change")
    _local(plan)
    plan.add_argument(
        "--scenario", nargs="+", action="extend", default=[], metavar="ID", help="only these"
    )
    plan.add_argument("--capacity-s", type=_seconds, metavar="N", help="runner-seconds to spend")
    plan.add_argument("--explain", action="store_true", help="the reason of every scenario")
    plan.add_argument("--seed", type=int, metavar="N", help="seed of the trials' order")

    measure = _command(commands, "measure", "measure one shard of a plan")
    measure.add_argument("plan", metavar="PLAN.json", nargs="?", help="of `ailab plan --json`")
    _local(measure)
    measure.add_argument("--shard", type=int, default=0, metavar="K", help="which: 0")
    measure.add_argument("--out", metavar="DIR", help="where its trials go: ailab-shard-K")
    measure.add_argument("--python", metavar="PATH", help="interpreter of arms without `setup`")

    report = _command(commands, "report", "judge what the shards of a plan left, and render it")
    report.add_argument("plan", metavar="PLAN.json", nargs="?", help="of `ailab plan --json`")
    report.add_argument("folders", metavar="DIR", nargs="*", help="the shards' folders")
    _local(report)
    report.add_argument(
        "--comment", metavar="F", help="write the Markdown comment to F (- : stdout)"
    )

    for name, text in (
        ("gate", "GitHub: say that a measurement has begun"),
        ("publish", "GitHub: decide from raw trials, post comment and status"),
        ("history", "GitHub: record what was published"),
        ("command", "GitHub: carry out a slash command"),
        ("sweep", "GitHub: end what was left pending"),
        ("search-plan", "GitHub: what the workers of a search measure next"),
        ("search", "GitHub: measure as one worker of a search"),
        ("decide", "GitHub: who is the culprit, or search on"),
        ("revert", "GitHub: prepare a branch without an incident's culprit"),
    ):
        hosted = _command(commands, name, text)
        hosted.add_argument("--github", action="store_true", help="read the workflow's event")

    incident = _command(commands, "incident", "the regressions of releases that are not fixed yet")
    incident.add_argument("id", metavar="ID", nargs="?", help="one of them, with its times")
    incident.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    incident.add_argument("--all", action="store_true", help="the closed ones, too")
    incident.add_argument(
        "--github", action="store_true", help="inside a workflow: bring all of them up to date"
    )


def _add_calibration(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    calibrate = _command(commands, "calibrate", "noise and thresholds from A/A trials")
    calibrate.add_argument(
        "trials", nargs="*", metavar="TRIALS.jsonl", help="one file per build; none: measure"
    )
    calibrate.add_argument(
        "--releases",
        action="store_true",
        help="measure nothing: adjust the policy's noise by what releases showed in the ledger",
    )
    calibrate.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    calibrate.add_argument(
        "--scenario", nargs="+", action="extend", default=[], metavar="ID", help="only these"
    )
    calibrate.add_argument("--blocks", type=_count, metavar="N", help="per scenario and build: 40")
    calibrate.add_argument("--builds", type=_count, metavar="N", help="separate builds: 3")
    calibrate.add_argument("--out", metavar="F", help="default: .ailab/policy.yml")
    calibrate.add_argument("--python", metavar="PATH", help="interpreter of arms without `setup`")
    calibrate.add_argument("--seed", type=int, metavar="N", help="seed of the trials' order")
    calibrate.add_argument("--replays", type=_count, metavar="N", help="per setting: 600")
    calibrate.add_argument("--budget", type=_budget, metavar="X", help="false positives a week")
    calibrate.add_argument("--verdicts", type=_verdicts, metavar="N", help="verdicts a week")

    feedback = _command(commands, "feedback", "say whether an alarm was right")
    feedback.add_argument("verdict", metavar="VERDICT", help="<scenario>:<metric>@<head or report>")
    feedback.add_argument("right", choices=("true", "false"), help="was it a real change?")
    feedback.add_argument("--note", default="", metavar="TEXT", help="what it was instead")
    feedback.add_argument("--repo", default=".", metavar="DIR", help="default: here")


def _add_selection(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What scenarios touch, what was measured before, and what is learned from it."""
    footprint = _command(commands, "footprint", "record what scenarios touch, for plans made here")
    footprint.add_argument("commit", metavar="COMMIT", nargs="?", default="HEAD", help="HEAD")
    footprint.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    footprint.add_argument(
        "--scenario", nargs="+", action="extend", default=[], metavar="ID", help="only these"
    )
    footprint.add_argument("--python", metavar="PATH", help="interpreter of arms without `setup`")

    train = _command(commands, "train", "learn from the ledger which scenarios a change moves")
    train.add_argument("--repo", default=".", metavar="DIR", help="default: here")
    train.add_argument("--database", metavar="VARIABLE", help="read the database it names")
    train.add_argument("--out", metavar="F", help="default: .ailab/selection.json")

    ledger = _command(commands, "ledger", "show, export, compact or copy what was measured")
    ledger.add_argument("action", choices=("show", "export", "compact", "copy"))
    ledger.add_argument("target", metavar="WHERE", nargs="?", help="export: a folder or a file")
    _local(ledger)
    ledger.add_argument("--database", metavar="VARIABLE", help="read the database it names")
    ledger.add_argument("--to", metavar="VARIABLE", help="copy: the database to copy to")
    ledger.add_argument(
        "--kind", nargs="+", action="extend", default=[], metavar="KIND", help="export: only these"
    )
    ledger.add_argument("--since", type=_day, metavar="DAY", help="export: from 2026-01-31 on")
    ledger.add_argument("--format", choices=("csv", "parquet"), help="default: by the file's name")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
    parser.formatter_class = _formatter
    parser.add_argument("--config", metavar="PATH", help="default: .ailab/config.yml")
    parser.add_argument("--json", metavar="F", help="write the results as JSON to F (- : stdout)")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    return parser


def _local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--github", action="store_true", help="inside a workflow: read its event")
    parser.add_argument("--repo", default=".", metavar="DIR", help="default: here")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """argparse would import shutil, and with it three compressors, to learn the width."""
    try:
        columns = int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 80
    return argparse.RawDescriptionHelpFormatter(prog, width=max(columns - 2, 40))


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of minutes")
    return value


def _worker(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    try:
        place = int(number), int(of)
    except ValueError:
        place = 0, 0
    if not 1 <= place[0] <= place[1] <= 1000:
        raise argparse.ArgumentTypeError(f"{text} does not name a worker such as 1/4")
    return place


def _budget(text: str) -> float:
    return _a_week(text, 1e6)


def _verdicts(text: str) -> float:
    return _a_week(text, 1e9)


def _a_week(text: str, most: float) -> float:
    """At most what a policy file may hold."""
    value = float(text)
    if not 1e-6 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1e-06 to {most:g}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 100000")
    return value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day such as 2026-01-31") from None


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1 (5 % is 0.05)")
    return value
