"""Ranges of public repositories in which one commit is known to have made `import` slower.

    python bench/bisection_real.py [--only CASE ...] [--repo NAME=DIR ...] [--work DIR]
                                   [--blocks N] [--seed N] [--quiet]

Each is one `ailab bisect` as users type it, with real processes on this machine. Who is guilty is
known from later pull requests: they say that importing had become slow, and take out of the top of
a module what the culprit had put there. Of a guilty merge the merge is right, and so is the one
commit of its branch with which the branch's last slow stretch begins. Prints the end of each
search, then one line each:

    named    who was named, and `in` which merge
    known    who is guilty, as the later pull requests say
    ending   what `ailab bisect` calls the end of its search: docs/bisect.md
    blocks   of the search of the range (a block: a trial of a commit and one of GOOD)
    trials   of everything: the range, inside the merge, against the parent, BAD without it
    effect   of the culprit against its parent, on fresh blocks; `-`: not confirmed

Exit status 1 where another commit was named, or none. No times are asserted. On a machine with
nothing else to do a range of optuna takes a minute or two, accelerate's ten (it loads torch); other
work makes each several times longer, and much of it keeps `ailab bisect` from blaming anybody.
Each repository has a virtual environment; accelerate's finds this interpreter's packages, too
(`pip install -e .[scenarios]`). Without --repo the repositories are cloned.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

Document = dict[str, object]

#: What optuna imports, in versions that all of the ranges run with.
_OPTUNA = ("alembic==1.20.1", "cliff==4.17.0", "cmaes==0.13.1", "colorlog==6.12.0",
           "grpcio==1.85.3", "numpy==2.4.6", "packaging==26.4", "protobuf==7.36.2",
           "pyyaml==6.0.4", "scipy==1.17.1", "sqlalchemy==2.0.58", "tqdm==4.70.1")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A range and its culprit. `inside`: of a guilty merge, the commit that may be named for it.
    `sources`: the folder of the checkout that Python imports from. `requirements`: what its virtual
    environment has; `borrows`: what it lacks is taken from this interpreter."""

    name: str
    repository: str
    package: str
    good: str
    bad: str
    culprit: str
    why: str
    requirements: tuple[str, ...]
    inside: str = ""
    sources: str = ""
    borrows: bool = False


CASES = (
    Case(
        "optuna-grpc",
        "https://github.com/optuna/optuna",
        "optuna",
        good="c38486990f389ceebda932493970a46f22fbeb1b",
        bad="92df0b25569bb8133da308a615a483785d12cb35",
        culprit="bf5519e9b6856d71c83d9b533cd738541c35d2ab",
        inside="8e3b846467b26ab6f8ae948d878f6d9f03424fe7",
        why="#5852 brought the gRPC storage with grpc at the top of its modules; #5915 says that "
        "this costs import time, #5954 makes it lazy",
        requirements=_OPTUNA,
    ),
    Case(
        "optuna-sqlalchemy",
        "https://github.com/optuna/optuna",
        "optuna",
        good="c8c66fc5a2fa4c7524353e9a6114f589bb36a6dd",
        bad="857d6c0f552edba12e5ef08bf3a578624cbbff1e",
        culprit="c100d45b5075c23b81ee486ff6fa5c079ecc58fb",
        inside="6dd7c0479062a307648c3c4c30261388a975995b",
        why="#3381 had made SQLAlchemy lazy; #3564 names a model in a signature of "
        "storages/_rdb/storage.py, which loads it, #3603 happens to take that out, #3559 imports a "
        "model at the file's top; #5215 (0.81 s to 0.47 s) takes out that line",
        requirements=_OPTUNA,
    ),
    Case(
        "accelerate-fsdp",
        "https://github.com/huggingface/accelerate",
        "accelerate",
        good="040f178569fbfe7ab7113af709dc5a7fa09e95bd",
        bad="40f822a1e3806401fb9fe3d568df72fca9ad4118",
        culprit="50eabe5b1d3cde24a9f3b65b6e7e25075b269da4",
        why="#1576 imports torch.distributed.checkpoint and FSDP at the top of "
        'utils/fsdp_utils.py; #2845, "Speed up imports", moves them into functions',
        requirements=("setuptools==80.9.0",),  # the last years' accelerate wants pkg_resources
        sources="src",
        borrows=True,
    ),
)


@dataclass(frozen=True)
class Row:
    """One search: what it named, and what that cost."""

    case: Case
    commits: int
    document: Document
    minutes: float

    @property
    def right(self) -> bool:
        """The known commit was named: itself, or through the known commit of its branch."""
        named, merge = self.document["culprit"], self.document["inside_merge"]
        if self.document["ending"] not in {"found", "several", "reintroduced"}:
            return False
        return named == self.case.culprit or (
            merge == self.case.culprit and self.case.inside in {"", named}
        )


def git(folder: Path, *words: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def clone(case: Case, work: Path) -> Path:
    folder = work / case.package
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", case.repository, str(folder)], check=True)
    return folder


def interpreter(case: Case, work: Path) -> Path:
    """Of an environment with the requirements; made anew where they have changed."""
    folder, wanted = work / f"venv-{case.package}", "\n".join(case.requirements)
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    words = ["install", "--quiet", "--disable-pip-version-check", *case.requirements]
    subprocess.run([str(python), "-m", "pip", *words], check=True)
    if case.borrows:
        (own,) = folder.glob("lib/python*/site-packages")
        (own / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    done.write_text(wanted, encoding="utf-8")
    return python


def configure(case: Case, work: Path) -> Path:
    """A configuration with the scenario: import the package, say so. Its first batch is that."""
    config = work / "config" / "config.yml"
    scenarios = config.parent / "scenarios"
    scenarios.mkdir(parents=True, exist_ok=True)
    config.write_text("{}\n", encoding="utf-8")
    program = f"import {case.package}; print('imported', flush=True)"
    scenario: Document = {
        "id": case.name,
        "command": ["python", "-c", program],
        "first_batch": {"marker": "^imported$"},
    }
    if case.sources:
        scenario["env"] = {"PYTHONPATH": f"{{checkout}}/{case.sources}"}
    text = yaml.safe_dump(scenario)
    (scenarios / f"{case.name}.yml").write_text(text, encoding="utf-8")
    return config


def search(case: Case, repository: Path, work: Path, options: list[str]) -> Row:
    """One `ailab bisect`; ends the bench where it could not be run."""
    document = work / f"{case.name}.json"
    document.unlink(missing_ok=True)
    words = [sys.executable, "-m", "ailab_bot", "bisect", case.good, case.bad]
    words += ["--scenario", case.name, "--config", str(configure(case, work))]
    words += ["--repo", str(repository), "--python", str(interpreter(case, work))]
    start = time.perf_counter()
    result = subprocess.run([*words, "--json", str(document), *options], check=False)
    minutes = (time.perf_counter() - start) / 60
    if result.returncode not in {0, 1, 3} or not document.exists():
        sys.exit(f"{case.name}: ailab bisect ended with {result.returncode}")
    commits = int(git(repository, "rev-list", "--count", "--first-parent",
                      f"{case.good}..{case.bad}"))  # fmt: skip
    return Row(case, commits, json.loads(document.read_text(encoding="utf-8")), minutes)


def show(rows: list[Row]) -> None:
    print(f"\n{'range':18} {'commits':>7} {'named':>10} {'in':>10} {'known':>10}  {'right':5} "
          f"{'ending':12} "
          f"{'blocks':>6} {'trials':>6} {'minutes':>7} {'effect':>8}")  # fmt: skip
    for row in rows:
        found = row.document
        named, merge = (str(found[key] or "-")[:10] for key in ("culprit", "inside_merge"))
        tested = found["tested"]
        assert isinstance(tested, list)
        blocks = sum(len(each["effects"]) for each in tested)
        print(f"{row.case.name:18} {row.commits:7} {named:>10} {merge:>10} "
              f"{row.case.culprit[:10]:>10}  {'yes' if row.right else 'NO':5} "
              f"{found['ending']:12} {blocks:6} "
              f"{found['trials']:6} {row.minutes:7.1f} {effect_of(found):>8}")  # fmt: skip
    for row in rows:
        print(f"\n{row.case.name}: {row.case.why}.")


def effect_of(found: Document) -> str:
    checks = found["checks"]
    assert isinstance(checks, list)
    if not checks or not checks[0]["held"]:
        return "-"
    return f"{float(checks[0]['effect']):+.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE")
    parser.add_argument("--repo", nargs="+", default=[], metavar="NAME=DIR",
                        help="a clone that is there, as optuna=DIR")  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "ailab-real"))
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--quiet", action="store_true", help="only the lines at the end")
    arguments = parser.parse_args()
    options = ["--quiet"] if arguments.quiet else []
    for name in ("blocks", "seed"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name}", str(value)]
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    clones = {name: Path(folder) for name, _, folder in (r.partition("=") for r in arguments.repo)}
    rows = []
    for case in CASES:
        if case.name in arguments.only:
            repository = clones.get(case.package) or clone(case, work)
            rows.append(search(case, repository, work, options))
    show(rows)
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
