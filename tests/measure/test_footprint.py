"""Footprints of real processes: what they touch and run up to the first batch, and no more."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from test_interpreters import interpreters

from ailab_bot.measure.execute import Launch, execute
from ailab_bot.measure.footprint import installed_distributions, read_footprint
from ailab_bot.measure.opens import Opens, watch_opens
from ailab_bot.model.footprint import Footprint, Use
from ailab_bot.model.footprintwire import footprint_from_json, footprint_to_json
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Outcome

IMPORTED, OPENED = frozenset({Use.IMPORTED}), frozenset({Use.OPENED})
BATCH = 'sys.audit("ailab.first_batch")\n'


def record(
    folder: Path,
    files: Mapping[str, str],
    *,
    python: str = sys.executable,
    command: tuple[str, ...] = ("train.py",),
    marker: str | None = None,
) -> Footprint:
    """The footprint of a program in a repository of these files."""
    repository, scratch = folder / "repository", folder / "scratch"
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    left = scratch / "footprint"
    left.mkdir(parents=True)
    mode = FirstBatchMode.MARKER if marker else FirstBatchMode.API
    program = (python, *command) if command[0].endswith(".py") else command
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    launch = Launch(
        program, repository, {**env, "PYTHONHASHSEED": "1"}, FirstBatch(mode, marker), 120.0,
        scratch, footprint=left,
    )  # fmt: skip
    with watch_opens(repository) as opens:
        execution = execute(launch)
    assert execution.outcome is Outcome.OK, execution.failure
    found = read_footprint(
        left,
        opens,
        scenario="it",
        sha="a" * 40,
        trainer=execution.trainer,
        distributions=installed_distributions(python),
    )
    assert found is not None
    assert footprint_from_json(footprint_to_json(found)) == replace(
        found,
        functions={
            path: {name: replace(run, share=round(run.share, 6)) for name, run in own.items()}
            for path, own in found.functions.items()
        },
    )
    return found


def ran(footprint: Footprint, path: str) -> set[str]:
    return set(footprint.functions.get(path, {}))


def test_files_are_imported_or_opened_and_functions_that_never_run_are_not_there(
    tmp_path: Path,
) -> None:
    found = record(
        tmp_path,
        {
            "train.py": "import sys, pack.model\nopen('data.txt').read()\n" + BATCH,
            "pack/__init__.py": "",
            "pack/model.py": """
                class Model:
                    def fit(self):
                        return [one(n) for n in range(3)]
                    def never(self):
                        return 0
                def one(n):
                    return n
                def unused():
                    return 1
                Model().fit()
            """,
            "data.txt": "1 2 3",
            "other.py": "",
        },
    )
    assert found.files == {
        "data.txt": OPENED,
        "pack/__init__.py": IMPORTED,
        "pack/model.py": IMPORTED,
        "train.py": IMPORTED,
    }
    assert {"<module>", "Model", "Model.fit", "one"} <= ran(found, "pack/model.py")
    assert not {"Model.never", "unused"} & ran(found, "pack/model.py")
    assert found.functions["pack/model.py"]["one"].calls == 3
    assert "<module>" in ran(found, "train.py"), "the program's own body is not over yet"
    assert found.search == ("",)
    assert {"sys", "pack", "pack.model"} - found.modules <= {"sys"}
    assert found.unseen == ()


def test_what_comes_after_the_first_batch_does_not_belong_to_it(tmp_path: Path) -> None:
    late = "import late\nlate.run()\nimport time\ntime.sleep(60)\n"
    found = record(
        tmp_path,
        {"train.py": "import sys\n" + BATCH + late, "late.py": "def run():\n    pass\n"},
    )
    assert "late" not in found.modules
    assert "late.py" not in found.functions


def test_what_was_looked_for_listed_and_asked_is_told(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import glob, os, pathlib, sys
                os.path.exists("conf/local.yml")
                pathlib.Path("conf/user.yml").is_file()
                try:
                    open("conf/secret.yml")
                except OSError:
                    pass
                try:
                    import fast_path
                except ImportError:
                    pass
                import importlib.util
                importlib.util.find_spec("slow_path")
                os.path.exists("conf/base.yml")
                glob.glob("shards/*.bin")
                os.environ.get("SIZE"), os.getenv("RATE")
                sys.audit("ailab.first_batch")
            """,
            "conf/base.yml": "a: 1\n",
            "shards/1.bin": "1",
        },
    )
    assert {"conf/local.yml", "conf/user.yml", "conf/secret.yml"} <= found.missing
    assert "conf/base.yml" in found.present
    assert "shards" in found.folders
    assert {"SIZE", "RATE"} <= found.variables
    assert {"fast_path", "slow_path"} <= found.modules


def test_importing_is_no_listing_of_the_folders_it_looks_into(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {"train.py": "import sys, pack\n" + BATCH, "pack/__init__.py": "from pack import one\n",
         "pack/one.py": ""},
    )  # fmt: skip
    assert found.folders == frozenset()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_belong_to_it(tmp_path: Path, method: str) -> None:
    found = record(
        tmp_path,
        {
            "train.py": f"""
                import multiprocessing, sys
                import work
                if __name__ == "__main__":
                    process = multiprocessing.get_context("{method}").Process(target=work.run)
                    process.start()
                    process.join()
                    sys.audit("ailab.first_batch")
            """,
            "work.py": "def run():\n    open('part.txt').read()\n",
            "part.txt": "1",
        },
    )
    assert found.files["part.txt"] == OPENED
    assert "run" in ran(found, "work.py")


def test_a_worker_that_goes_on_tells_what_it_ran_before_it_is_ended(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import multiprocessing, sys
                import work
                if __name__ == "__main__":
                    queue = multiprocessing.get_context("fork").Queue()
                    process = multiprocessing.get_context("fork").Process(
                        target=work.run, args=(queue,), daemon=True
                    )
                    process.start()
                    queue.get()
                    sys.audit("ailab.first_batch")
                    process.join()
            """,
            "work.py": """
                import time
                def batch():
                    return 1
                def run(queue):
                    queue.put(batch())
                    time.sleep(60)
            """,
        },
    )
    assert {"batch", "run"} <= ran(found, "work.py")
    assert found.unseen == ()


def test_a_program_without_python_is_seen_by_what_it_opens(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import subprocess, sys
                subprocess.run(["cat", "words/list.txt"], check=True, stdout=subprocess.DEVNULL)
                sys.audit("ailab.first_batch")
            """,
            "words/list.txt": "a\n",
        },
    )
    assert found.files["words/list.txt"] == OPENED
    assert "words" in found.folders, "it may have looked at what lies beside"


def test_a_shell_script_that_starts_the_training_belongs_to_it(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "run.sh": f"grep -q a settings.txt\n{sys.executable} train.py\n",
            "settings.txt": "a\n",
            "train.py": "import sys\n" + BATCH,
        },
        command=("sh", "run.sh"),
    )
    assert found.files["settings.txt"] == OPENED
    assert found.files["run.sh"] == OPENED
    assert found.files["train.py"] == IMPORTED


def test_source_that_is_read_and_not_only_imported_is_opened(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": "import inspect, sys, model\ninspect.getsource(model.fit)\n" + BATCH,
            "model.py": "def fit():\n    return 1\n",
        },
    )
    assert found.files["model.py"] == IMPORTED | OPENED


def test_a_marker_in_the_output_ends_the_footprint(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import time
                def load():
                    return 1
                def later():
                    return 2
                load()
                print("first batch", flush=True)
                time.sleep(1)
                later()
                time.sleep(60)
            """,
        },
        marker="first batch",
    )
    assert "load" in ran(found, "train.py")
    assert found.signature is not None


def test_threads_run_functions_too(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import sys, threading
                def fetch():
                    return 1
                thread = threading.Thread(target=fetch)
                thread.start()
                thread.join()
                sys.audit("ailab.first_batch")
            """,
        },
    )
    assert "fetch" in ran(found, "train.py")
    assert found.unseen == ()


def test_a_program_with_a_profile_function_of_its_own_works_and_proves_nothing(
    tmp_path: Path,
) -> None:
    found = record(
        tmp_path,
        {"train.py": "import sys\nsys.setprofile(lambda *_: None)\n" + BATCH},
    )
    if sys.version_info < (3, 12):
        assert found.unseen == ("the program sets a profile function of its own",)


def test_a_program_that_closes_what_it_did_not_open_is_recorded(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import os, sys
                os.closerange(3, 256)
                def after():
                    return open("data.txt").read()
                after()
                sys.audit("ailab.first_batch")
            """,
            "data.txt": "1",
        },
    )
    assert found.files["data.txt"] == OPENED
    assert "after" in ran(found, "train.py")


def test_the_time_of_a_library_is_its_callers(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import sys, time
                import slow
                def quick():
                    return 1
                quick()
                sys.audit("ailab.first_batch")
            """,
            "slow.py": "import time\ndef wait():\n    time.sleep(0.5)\nwait()\n",
        },
    )
    assert found.functions["slow.py"]["wait"].share > 0.3
    assert found.functions["train.py"]["quick"].share < 0.1
    assert sum(run.share for own in found.functions.values() for run in own.values()) <= 1.01


def test_two_runs_of_one_program_have_one_signature(tmp_path: Path) -> None:
    files = {
        "train.py": "import sys, json, pack\njson.dumps(list(range(99)))\n" + BATCH,
        "pack.py": "def one():\n    return len('a')\nfor _ in range(7):\n    one()\n",
    }
    first = record(tmp_path / "1", files).signature
    second = record(tmp_path / "2", files).signature
    assert first == second
    assert first is not None


@pytest.mark.parametrize(
    ("there", "becomes"),
    [
        ("range(7)", "range(8)"),
        ("import sys", "import sys, colorsys"),
        ("return len('a')", "return len('a') + len('b')"),
        ("json.dumps", "import time; time.sleep(0.01); json.dumps"),
    ],
    ids=["a call more", "a module more", "a builtin more", "a sleep more"],
)
def test_what_the_program_does_more_shows_in_the_signature(
    tmp_path: Path, there: str, becomes: str
) -> None:
    files = {
        "train.py": "import sys, json, pack\njson.dumps(list(range(99)))\n" + BATCH,
        "pack.py": "def one():\n    return len('a')\nfor _ in range(7):\n    one()\n",
    }
    changed = {name: text.replace(there, becomes) for name, text in files.items()}
    assert changed != files
    first = record(tmp_path / "1", files).signature
    second = record(tmp_path / "2", changed).signature
    assert first is not None
    assert second is not None
    assert first.exact != second.exact


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_other_interpreters_are_recorded_alike(tmp_path: Path, python: str) -> None:
    found = record(
        tmp_path,
        {
            "train.py": "import sys, model\nmodel.fit()\nopen('data.txt').read()\n" + BATCH,
            "model.py": "def fit():\n    return 1\ndef never():\n    return 2\n",
            "data.txt": "1",
        },
        python=python,
    )
    assert Path(python).name == f"python{found.python.rpartition('.')[0]}"
    assert found.files == {"data.txt": OPENED, "model.py": IMPORTED, "train.py": IMPORTED}
    assert "fit" in ran(found, "model.py")
    assert "never" not in ran(found, "model.py")
    assert found.unseen == ()


def test_names_that_are_no_text_are_recorded(tmp_path: Path) -> None:
    found = record(
        tmp_path,
        {
            "train.py": """
                import sys
                for name in (b"caf\\xe9", b"two\\nlines", b"a\\ttab"):
                    open(name, "wb").close()
                    open(name, "rb").read()
                sys.audit("ailab.first_batch")
            """,
        },
    )
    assert {"caf\ufffd", "two\nlines", "a\ttab"} <= set(found.files)


def test_distributions_are_those_that_were_imported(tmp_path: Path) -> None:
    found = record(tmp_path, {"train.py": "import sys, yaml\n" + BATCH})
    # What a .pth file loads at each start was imported, too: that one is setuptools' own.
    assert set(found.distributions) - {"setuptools"} == {"pyyaml"}


def test_damaged_records_prove_nothing_and_raise_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "7-1").write_bytes(
        b"H\t7\t1\t3.12.1\nO\t../outside\tr\nO\tin.txt\tr\nX\t/etc/passwd\n\xff\xfe\nO\thalf"
    )
    (folder / "7-1.e").write_bytes(b"F\ta.py\tf\tone\nN\t1\t2\n")
    found = read_footprint(
        folder, Opens(), scenario="it", sha="a" * 40, trainer=7, distributions={}
    )
    assert found is not None
    assert set(found.files) == {"in.txt"}
    assert "a process left a damaged record" in found.unseen


def test_a_process_that_was_ended_before_it_told_proves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "7-1").write_bytes(b"H\t7\t1\t3.12.1\n")
    found = read_footprint(
        folder, Opens(), scenario="it", sha="a" * 40, trainer=7, distributions={}
    )
    assert found is not None
    assert found.unseen == ("a process was ended before it told which functions it ran",)


def test_without_any_record_there_is_no_footprint(tmp_path: Path) -> None:
    assert (
        read_footprint(
            tmp_path, Opens(), scenario="it", sha="a" * 40, trainer=None, distributions={}
        )
        is None
    )


def test_a_trial_that_is_timed_does_not_load_the_recorder(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys\nassert '_ailab_footprint' not in sys.modules\n" + BATCH
    )
    launch = Launch(
        (sys.executable, "train.py"), tmp_path, dict(os.environ),
        FirstBatch(FirstBatchMode.API), 60.0, tmp_path,
    )  # fmt: skip
    assert execute(launch).outcome is Outcome.OK
