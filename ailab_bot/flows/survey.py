"""What a search on GitHub is on: the inputs of its run, the range, the scenario and its runners.

Inputs are read strictly, though only who may write can give them. Refuses to measure, and to ask
GitHub: all follows from the event, the clone and the definitions of the commit that the run is on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ailab_bot.errors import UserError
from ailab_bot.flows.definitions import Definitions, read_definitions
from ailab_bot.flows.finding import Subject, reproduce
from ailab_bot.flows.hosted import fresh_folder
from ailab_bot.flows.parcels import Asked
from ailab_bot.flows.rounds import Ground
from ailab_bot.flows.seeking import Range
from ailab_bot.flows.suspicion import scores_of
from ailab_bot.gh.actions import Surroundings
from ailab_bot.measure.git import open_repository
from ailab_bot.measure.ranges import read_range
from ailab_bot.model import strictjson
from ailab_bot.model.exchange import fingerprint
from ailab_bot.model.github import Pool
from ailab_bot.model.report import Commit
from ailab_bot.model.scenario import Scenario
from ailab_bot.model.search import Quest
from ailab_bot.stats.attribution import mixed_prior

_SHA, _ID = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{12}")
_WORD, _RUN = re.compile(r"[\w][\w.-]{0,63}"), re.compile(r"[0-9]{1,18}")
#: Stands for a commit where the inputs name none.
_NO_COMMIT = "0" * 40
_MOST_ALSO, _MOST_RUNS = 64, 24
_INPUTS = {"incident", "good", "bad", "scenario", "metric", "also", "rounds"}


@dataclass(frozen=True)
class Inputs:
    """What the run was started with. `incident` is empty where somebody searches by hand;
    `rounds`: ids of the runs of earlier rounds."""

    incident: str
    quest: Quest
    also: tuple[str, ...] = ()
    rounds: tuple[int, ...] = ()


def read_inputs(path: Path) -> Inputs:
    """From the event; UserError for what can be none."""
    try:
        event = strictjson.load_object(path.read_text(encoding="utf-8"), raw_texts=True)
        value = event.get("inputs")
        if not isinstance(value, dict) or not set(value) <= _INPUTS:
            strictjson.refuse(f"its inputs are not {', '.join(sorted(_INPUTS))}")
        row = {name: _text(value.get(name), name) for name in _INPUTS}
        return Inputs(
            _matched(_ID, row["incident"], "incident") if row["incident"] else "",
            Quest(
                _matched(_SHA, row["good"], "good"),
                _matched(_SHA, row["bad"], "bad"),
                _matched(_WORD, row["scenario"], "scenario"),
                _matched(_WORD, row["metric"], "metric") if row["metric"] else "",
            ),
            _all(_WORD, row["also"], "also", _MOST_ALSO),
            tuple(int(run) for run in _all(_RUN, row["rounds"], "rounds", _MOST_RUNS)),
        )
    except (OSError, UnicodeDecodeError, strictjson.BadJsonError) as error:
        raise UserError(
            "this run's inputs do not ask for a search",
            why=str(error),
            advice="`good` and `bad` are full commit ids, `scenario` is one's id; leave `rounds` "
            "empty.",
        ) from error


def unreadable_inputs(path: Path) -> Inputs:
    """What is left of inputs that are refused: the incident that waits for an end, if any."""
    try:
        event = strictjson.load_object(path.read_text(encoding="utf-8"), raw_texts=True)
        value = event.get("inputs")
        name = str(value.get("incident") or "") if isinstance(value, dict) else ""
    except (OSError, UnicodeDecodeError, strictjson.BadJsonError):
        name = ""
    quest = Quest(_NO_COMMIT, _NO_COMMIT, "unknown", "")
    return Inputs(name if _ID.fullmatch(name) else "", quest)


# --- what it is on -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """`pool`: the runners that the scenario asks for."""

    ground: Ground
    pool: Pool
    definitions: Definitions


def survey(
    around: Surroundings, inputs: Inputs, definitions_sha: str, as_of: datetime | None = None
) -> Survey:
    """The range, the scenario and its runners; UserError where there is none of them (any more).

    `definitions_sha` is the commit that the first round was on, and `as_of` when that began: what
    is believed of the same blocks must not change from one round, or job, to the next.
    """
    clone = open_repository(around.workspace)
    quest = inputs.quest
    for name, sha in (("GOOD", quest.good), ("BAD", quest.bad)):
        if not clone.has(sha):
            raise UserError(
                f"{name} ({sha[:12]}) is not in this repository's branches",
                why="Its branch was rewritten or deleted since.",
                advice="The next measurement of the branch says whether it is still slower.",
            )
    commits = read_range(clone, quest.good, quest.bad)
    folder = fresh_folder(around, "definitions")
    definitions = read_definitions(clone, definitions_sha, folder, around.config)
    scenario = _scenario(definitions, quest)
    pool = definitions.config.github.runners.get(scenario.runner)
    if pool is None:
        raise UserError(
            f"there are no runners of kind `{scenario.runner}`",
            why=f"The scenario `{scenario.id}` asks for them.",
            advice="Name them under `github: runners` in .ailab/config.yml.",
        )
    metric = quest.metric or scenario.metrics[0]
    also = definitions.chosen([name for name in inputs.also if name != scenario.id])
    scores = scores_of(clone, definitions, scenario, commits, as_of=as_of)
    limits = definitions.policy.limits(scenario.id, metric)
    range_ = Range(commits, limits, mixed_prior(scores) if scores else ())
    asked = Asked(quest, scenario, fingerprint(scenario), {each.sha for each in commits})
    subject = subject_of(inputs, metric)
    ground = Ground(clone, asked, range_, subject, definitions.policy, also)
    return Survey(ground, pool, definitions)


def subject_of(inputs: Inputs, metric: str = "") -> Subject:
    quest = inputs.quest
    return Subject(
        quest.scenario,
        metric or quest.metric or "ttfb_s",
        Commit(quest.good, quest.good),
        Commit(quest.bad, quest.bad),
        reproduce(quest.good, quest.bad, quest.scenario),
    )


def _scenario(definitions: Definitions, quest: Quest) -> Scenario:
    found = definitions.chosen([quest.scenario])
    if not found or (quest.metric and quest.metric not in found[0].metrics):
        what = f"scenario `{quest.scenario}`" if not found else f"metric `{quest.metric}`"
        raise UserError(
            f"there is no {what} any more",
            why="The commit that this run is on does not define it.",
            advice="Search on one's own machine with `ailab bisect`, or define it again.",
        )
    return found[0]


# --- inputs, piece by piece --------------------------------------------------------------------


def _text(value: object, name: str) -> str:
    return "" if value is None else strictjson.text(value, name, least=0, most=65_535)


def _matched(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        strictjson.refuse(f"`{name}` is `{value:.80}`")
    return value


def _all(pattern: re.Pattern[str], value: str, name: str, most: int) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(value.split()))
    if len(words) > most:
        strictjson.refuse(f"`{name}` names {len(words)}; at most {most} are taken")
    return tuple(map(partial(_matched, pattern, name=name), words))
