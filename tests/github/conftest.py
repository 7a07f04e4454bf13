"""The stand-in as a fixture; it fails a test whose requests GitHub does not describe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from standin import StandIn, running


@pytest.fixture
def github() -> Iterator[StandIn]:
    with running() as standin:
        yield standin
