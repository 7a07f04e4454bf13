"""What a job downloads to install the action, against what is promised.

python bench/install.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Megabytes (10^6 bytes) that installing the action may download: issue "On GitHub".
PROMISED_MB = 80
LOCK = Path(__file__).parents[1] / "requirements" / "action.txt"


def download(folder: Path) -> int:
    """Put into `folder` what the action installs on this platform; returns the files' bytes.

    For this interpreter's version; CalledProcessError where pip cannot get a file.
    """
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    words += ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*words, "--dest", str(folder), "--requirement", str(LOCK)], check=True)
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        megabytes = download(folder) / 1e6
        spent = time.perf_counter() - start
        for file in sorted(folder.iterdir(), key=lambda file: -file.stat().st_size):
            print(f"{file.stat().st_size / 1e6:7.1f} MB  {file.name}")
        files = len(list(folder.iterdir()))
    print(f"{megabytes:7.1f} MB  in {files} files; promised: at most {PROMISED_MB}")
    print(f"{spent:7.1f} s   here and now, with pip's cache as it was; no promise")


if __name__ == "__main__":
    main()
