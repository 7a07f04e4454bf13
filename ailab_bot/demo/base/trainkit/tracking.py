"""Run metadata: what ran, with which settings and data."""

import logging
from dataclasses import asdict

from trainkit.config import Job

log = logging.getLogger(__name__)


def record_run(job: Job, rows: int) -> None:
    log.info("run %s on %d rows: %s", job.name, rows, asdict(job))
