"""Run metadata: what ran, with which settings and data, sent to the collector."""

import logging
import queue
import threading
import time
from dataclasses import asdict

from trainkit.config import Job

log = logging.getLogger(__name__)

# The collector is in another region and answers one record in about 80 ms.
COLLECTOR_ANSWERS_IN_S = 0.08


class CollectorHandler(logging.Handler):
    """Hands records to a background thread, so that training does not wait for the collector."""

    def __init__(self) -> None:
        super().__init__()
        self.records: queue.Queue[logging.LogRecord] = queue.Queue(maxsize=1)
        threading.Thread(target=self._send, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.put(record)

    def _send(self) -> None:
        while True:
            self.records.get()
            time.sleep(COLLECTOR_ANSWERS_IN_S)  # the round trip


def record_run(job: Job, rows: int) -> None:
    collector = logging.getLogger("collector")
    collector.propagate = False
    collector.addHandler(CollectorHandler())
    for name, value in asdict(job).items():
        collector.info("%s: %s=%r", job.name, name, value)
    collector.info("%s: rows=%d", job.name, rows)
    log.info("run %s recorded", job.name)
