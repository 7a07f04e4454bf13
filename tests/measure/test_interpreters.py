"""Arms may run any Python from 3.8 on: the probe loads there and sees what it has to see."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from test_first_batch import run

from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Outcome

SCRIPT = """
import argparse, sys, time
argparse.ArgumentParser().parse_args([])
import email.mime.multipart, xml.dom.minidom
sys.audit("ailab.phase", "data")
time.sleep(0.1)
sys.audit("ailab.first_batch")
"""


def interpreters() -> list[str]:
    """Every Python from 3.8 on that is on PATH or beside a version manager's current one."""
    found = []
    for minor in range(8, 16):
        name = f"python3.{minor}"
        versions = Path(os.environ.get("PYENV_ROOT", "/nowhere")) / "versions"
        for path in [shutil.which(name), *map(str, versions.glob(f"3.{minor}.*/bin/{name}"))]:
            if (
                path
                and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode
                == 0
            ):
                found.append(path)
                break
    return found


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_the_probe_speaks(python: str, tmp_path: Path) -> None:
    api = FirstBatch(FirstBatchMode.API)
    trace = tmp_path / "imports"
    execution = run(tmp_path, SCRIPT, python, "train.py", first_batch=api, trace=trace)
    assert execution.outcome is Outcome.OK, execution.failure
    assert execution.phases["data"] >= 0.1
    assert execution.phases["import"] > 0
    assert execution.phases["interpreter"] > 0
    assert sum(execution.phases.values()) == pytest.approx(execution.metrics["ttfb_s"], abs=1e-3)
    rows = {line.split("\t")[0]: line.split("\t") for line in trace.read_text().splitlines()}
    assert rows["xml.dom.minidom"][2].endswith("train.py")
    assert rows["xml.dom.minidom"][3] == "4"
