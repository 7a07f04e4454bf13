"""How a repository wants to use the bot on GitHub: the `github:` part of its configuration."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ailab_bot.model.report import GateMode

#: The user behind every workflow's own token, `github-actions[bot]`; it is the same everywhere.
ACTIONS_BOT_ID = 41898282
#: The labels of GitHub's own machines, which are thrown away after each job. Others that begin like
#: these may name anybody's: who has such machines says so in `hosted`.
_HOSTED = re.compile(
    r"ubuntu-(latest|slim|\d\d\.\d\d(-arm)?)"
    r"|windows-(latest|\d{4}(-vs\d{4})?|11-arm)"
    r"|macos-(latest|\d\d)(-large|-xlarge|-intel)?",
    re.ASCII,
)
#: Runner-minutes of one shard before GitHub ends the job.
SHARD_MINUTES = 90
#: Shards of one change at the most: each costs one request when its results are read.
MOST_SHARDS = 16
#: What a tag of a release is called unless the repository says otherwise: v1, v1.2.3, v2.0-rc1.
RELEASE_TAGS = ("v[0-9]*",)


class Profile(StrEnum):
    """Where pull requests are measured: docs/github.md and docs/github-control-repository.md."""

    SIMPLE = "simple"
    CONTROL = "control"


class Queue(StrEnum):
    """What happens in a merge queue: the pull request's own measurement counts, or a fresh one."""

    PASS = "pass"  # noqa: S105 - no password
    MEASURE = "measure"


@dataclass(frozen=True)
class Pool:
    """Runners that a scenario's `runner:` names. `count`: how many may work at the same time."""

    labels: tuple[str, ...]
    count: int = 1

    @property
    def hosted(self) -> bool:
        """Whether GitHub's own machines answer to these labels."""
        return all(_HOSTED.fullmatch(label) for label in self.labels)


_CPU: Mapping[str, Pool] = types.MappingProxyType({"cpu": Pool(("ubuntu-latest",), 4)})


@dataclass(frozen=True)
class GitHub:
    """`bot_id`: the user that posts; an App has one of its own. `hosted`: further labels of
    machines that are thrown away after each job (larger runners, ephemeral pools). `history`:
    measurements are recorded on a branch of the repository, and plans read how long they took.
    `releases`: patterns of the tags that name a release, with which release branches are compared.
    """

    mode: GateMode = GateMode.ENFORCE
    profile: Profile = Profile.SIMPLE
    runners: Mapping[str, Pool] = field(default_factory=lambda: _CPU)
    merge_queue: Queue = Queue.PASS
    shard_minutes: int = SHARD_MINUTES
    bot_id: int = ACTIONS_BOT_ID
    hosted: tuple[str, ...] = ()
    history: bool = True
    releases: tuple[str, ...] = RELEASE_TAGS

    def kept_pools(self) -> list[str]:
        """Pools whose machines outlive a job: what a stranger's code leaves there stays."""
        return [
            name
            for name, pool in self.runners.items()
            if not pool.hosted and not set(pool.labels) & set(self.hosted)
        ]
