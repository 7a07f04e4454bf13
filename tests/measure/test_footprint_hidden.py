"""What would hide from a recorder: each of these programs once had a footprint that proved too
much, because something that it did was not there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from test_footprint import BATCH, IMPORTED, OPENED, ran, record
from test_interpreters import interpreters

from ailab_bot.measure.footprint import installed_distributions

EACH_PYTHON = pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)


@dataclass(frozen=True)
class Hidden:
    """A program, and what its footprint has to hold; `ran`: of train.py."""

    script: str
    files: Mapping[str, str] = field(default_factory=dict)
    opened: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()


PATHS = {
    "written behind what is there": Hidden(
        "open('a.bin', 'r+b').read()\nopen('b.txt', 'a').tell()\n",
        {"a.bin": "1", "b.txt": "1"},
        opened=("a.bin", "b.txt"),
    ),
    "listed by a descriptor": Hidden(
        "import os\nos.listdir(os.open('shards', os.O_RDONLY))\n",
        {"shards/1": ""},
        folders=("shards",),
    ),
    "looked for below a descriptor": Hidden(
        "import os\n"
        "folder = os.open('conf', os.O_RDONLY)\n"
        "for look in (os.stat, lambda name, **k: os.open(name, os.O_RDONLY, **k)):\n"
        "    try: look(look.__name__.strip('<>'), dir_fd=folder)\n"
        "    except OSError: pass\n",
        {"conf/a": ""},
        missing=("conf/stat", "conf/lambda"),
    ),
    "listed by native code": Hidden(
        "import ctypes\nc = ctypes.CDLL(None)\nc.opendir.restype = ctypes.c_void_p\n"
        "assert c.opendir(b'shards')\n",
        {"shards/1": ""},
        folders=("shards",),
    ),
    "listed by native code where import looks, too": Hidden(
        "import pack.one, ctypes\nc = ctypes.CDLL(None)\n"
        "c.opendir.restype = ctypes.c_void_p\nassert c.opendir(b'pack')\n",
        {"pack/__init__.py": "", "pack/one.py": ""},
        folders=("pack",),
    ),
    "read through import's loader": Hidden(
        "import pkgutil, pack.one, pack.two\n"
        "pkgutil.get_data('pack', 'one.py')\npkgutil.get_data('pack', 'words.json')\n"
        "pack.two.__loader__.get_source('pack.two')\n",
        {"pack/__init__.py": "", "pack/one.py": "", "pack/two.py": "", "pack/words.json": ""},
        opened=("pack/one.py", "pack/two.py", "pack/words.json"),
    ),
    "imported, and read by another program": Hidden(
        "import subprocess, one\nsubprocess.run(['cat', 'one.py'], stdout=subprocess.DEVNULL)\n",
        {"one.py": "x = 1\n"},
        opened=("one.py",),
    ),
    "looked for by another program that was told so": Hidden(
        "import os\nos.system('test -f conf/local.yml')\n", missing=("conf/local.yml",)
    ),
    "listed by a program beside a worker": Hidden(
        "import multiprocessing, subprocess, work\n"
        "if __name__ == '__main__':\n"
        "    subprocess.run('ls shards/* >/dev/null; cat words/x', shell=True)\n"
        "    worker = multiprocessing.get_context('spawn').Process(target=work.run)\n"
        "    worker.start()\n    worker.join()\n",
        {"work.py": "def run(): pass\n", "shards/1": "", "words/x": ""},
        opened=("words/x",),
        folders=("", "shards", "words"),
    ),
    "listed by a program that takes over": Hidden(
        "import os\nchild = os.fork()\nif child == 0: os.execv('/bin/ls', ['ls', 'shards'])\n"
        "os.waitpid(child, 0)\n",
        {"shards/1": ""},
        folders=("shards",),
    ),
    "imported by a Python without the recorder": Hidden(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import sys; sys.path.append(\".\"); import one'],\n"
        "               env={}, check=True)\n",
        {"one.py": "def run(): pass\nrun()\n"},
        opened=("one.py",),
        folders=("",),
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_seen_that_was(name: str, tmp_path: Path) -> None:
    case = PATHS[name]
    script = "import sys\n" + case.script
    inner = "__main__" in case.script
    script += ("    " if inner else "") + BATCH
    found = record(tmp_path, {**case.files, "train.py": script})
    assert {path for path in case.opened if found.files[path] >= OPENED} == set(case.opened)
    assert set(case.folders) <= found.folders
    assert set(case.missing) <= found.missing


def test_the_second_run_of_a_python_without_the_recorder_reads_byte_code(tmp_path: Path) -> None:
    child = "import sys; sys.path.append('.'); import one"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-I', '-c', {child!r}])\n"
    record(tmp_path, {"train.py": script + BATCH, "one.py": "x = 1\n"})
    shutil.rmtree(tmp_path / "scratch")
    assert record(tmp_path, {}).files["one.py"] == OPENED


@pytest.mark.parametrize("last", ["exec ", ""])
def test_what_a_shell_does_before_the_program_starts_belongs_to_it(
    last: str, tmp_path: Path
) -> None:
    lines = f"for shard in shards/*; do :; done\ncat conf/a\n{last}{sys.executable} train.py\n"
    found = record(
        tmp_path,
        {"run.sh": lines, "shards/1": "", "conf/a": "", "train.py": "import sys\n" + BATCH},
        command=("sh", "run.sh"),
    )
    assert {"shards", "conf"} <= found.folders
    assert found.files["conf/a"] == OPENED


def test_a_shell_may_look_around_where_it_starts_and_open_nothing(tmp_path: Path) -> None:
    line = f"test -f local.env; {sys.executable} train.py; true"
    found = record(tmp_path, {"train.py": "import sys\n" + BATCH}, command=("sh", "-c", line))
    assert "" in found.folders


def test_what_lies_behind_a_link_is_known_by_its_own_name_and_the_link_is_used(
    tmp_path: Path,
) -> None:
    (tmp_path / "repository/src/pack").mkdir(parents=True)
    (tmp_path / "repository/configs").mkdir()
    (tmp_path / "repository/link").symlink_to("src/pack")
    (tmp_path / "repository/conf").symlink_to("configs")
    found = record(
        tmp_path,
        {
            "train.py": "import os, sys, link.one\nopen('conf/a.yml').read()\n"
            "os.path.exists('conf/b.yml')\nos.listdir('conf')\n" + BATCH,
            "src/pack/__init__.py": "",
            "src/pack/one.py": "def run(): pass\nrun()\n",
            "configs/a.yml": "",
        },
    )
    assert found.files == {
        "conf": OPENED,
        "configs/a.yml": OPENED,
        "link": OPENED,
        "src/pack/__init__.py": IMPORTED,
        "src/pack/one.py": IMPORTED,
        "train.py": IMPORTED,
    }
    assert "configs/b.yml" in found.missing
    assert "configs" in found.folders
    assert "run" in ran(found, "src/pack/one.py")
    assert {"link", "link.one"} <= found.modules


def test_the_repository_may_itself_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    script = "import os, sys\nos.path.exists('conf/x.yml')\nos.listdir('shards')\n" + BATCH
    found = record(tmp_path / "link", {"train.py": script, "shards/1": ""})
    assert "conf/x.yml" in found.missing
    assert "shards" in found.folders


RUNS = {
    "in a forked child": Hidden(
        "import os\ndef inner(): pass\nchild = os.fork()\nif child == 0:\n    inner()\n"
        "    os._exit(0)\nos.waitpid(child, 0)\n",
        ran=("inner",),
    ),
    "in threads that follow each other": Hidden(
        "import threading\ndef one(): pass\ndef two(): pass\ndef three(): pass\n"
        "for run in (one, two, three):\n    thread = threading.Thread(target=run)\n"
        "    thread.start()\n    thread.join()\n",
        ran=("one", "two", "three"),
    ),
    "in a thread that threading did not start": Hidden(
        "import _thread, time\nended = []\ndef inner(): pass\n"
        "def outer():\n    inner()\n    ended.append(1)\n"
        "_thread.start_new_thread(outer, ())\nwhile not ended: time.sleep(0.01)\n"
        "time.sleep(0.1)\n",
        ran=("inner", "outer"),
    ),
    "before the program went elsewhere": Hidden(
        "import os\ndef early(): pass\nearly()\nos.chdir('/')\n", ran=("early",)
    ),
    "in a pool that is ended at once": Hidden(
        "import multiprocessing\ndef work(number): return number\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        pool.map(work, range(4))\n",
        ran=("work",),
    ),
    "in a child that is terminated": Hidden(
        "import subprocess\ndef serve(): print('up', flush=True)\n"
        "if len(sys.argv) > 1:\n    import time\n    serve()\n    time.sleep(60)\n"
        "child = subprocess.Popen([sys.executable, __file__, '-'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nchild.terminate()\nchild.wait()\n",
        ran=("serve",),
    ),
    "in a program that was handed over to": Hidden(
        "import os\ndef first(): pass\ndef second(): pass\n"
        "if len(sys.argv) < 2:\n    first()\n"
        "    os.execv(sys.executable, [sys.executable, 'train.py', '-'])\nsecond()\n",
        ran=("first", "second"),
    ),
    "in what is half done": Hidden(
        "def half():\n    yield 1\n    yield 2\nrest = half()\nnext(rest)\n", ran=("half",)
    ),
}


@EACH_PYTHON
@pytest.mark.parametrize("name", RUNS)
def test_a_function_is_known_to_have_run(name: str, python: str, tmp_path: Path) -> None:
    case = RUNS[name]
    script = "import sys\n" + case.script
    script += ("    " if "__main__" in case.script else "") + BATCH
    found = record(tmp_path, {"train.py": script}, python=python)
    assert set(case.ran) <= ran(found, "train.py")
    assert found.unseen == ()


@EACH_PYTHON
def test_a_program_may_profile_itself(python: str, tmp_path: Path) -> None:
    script = (
        "import cProfile, sys\nprofile = cProfile.Profile()\nprofile.enable()\n"
        "def inner(): pass\ninner()\nprofile.disable()\n"
    )
    assert record(tmp_path, {"train.py": script + BATCH}, python=python).unseen


@EACH_PYTHON
def test_byte_code_that_was_there_counts_as_its_source(python: str, tmp_path: Path) -> None:
    files = {"train.py": "import sys, pack.one\n" + BATCH, "pack/__init__.py": ""}
    expected = {"pack/__init__.py": IMPORTED, "pack/one.py": IMPORTED, "train.py": IMPORTED}
    for text in ("x = 1\n", "", "x = 1234\n"):  # compiled; read again; compiled again
        own = {**files, "pack/one.py": text} if text else {}
        found = record(tmp_path, own, python=python)
        shutil.rmtree(tmp_path / "scratch")
        assert found.files == expected
        assert found.folders == frozenset()
        assert found.unseen == ()


def test_lines_that_are_shown_with_a_warning_are_not_read_for_what_they_say(
    tmp_path: Path,
) -> None:
    script = "import traceback, warnings\nwarnings.warn('old')\ntraceback.format_stack()\n"
    found = record(tmp_path, {"train.py": "import sys, one\n" + BATCH, "one.py": script})
    assert found.files == {"one.py": IMPORTED, "train.py": IMPORTED}


def test_a_stack_that_the_program_shows_does_not_hold_the_recorder(tmp_path: Path) -> None:
    script = (
        "import traceback\nfiles = {frame.filename for frame in traceback.extract_stack()}\n"
        "assert not [file for file in files if '_ailab' in file], files\n"
    )
    record(tmp_path, {"train.py": "import sys, one\n" + BATCH, "one.py": script})


def test_a_recorded_trial_does_not_fail_for_its_clock(tmp_path: Path) -> None:
    script = (
        "import sys\nprobe = sys.audit.__globals__\nreal = probe['monotonic_ns']\n"
        "probe['monotonic_ns'] = lambda: real() - 10**10\n"
    )
    assert "train.py" in record(tmp_path, {"train.py": script + BATCH}).files


def test_functions_that_the_recorder_replaces_are_still_the_ones_that_python_knows(
    tmp_path: Path,
) -> None:
    script = (
        "import os, shutil, sys\n"
        "assert os.stat in os.supports_fd and os.stat in os.supports_follow_symlinks\n"
        "assert {os.open, os.stat} <= os.supports_dir_fd\n"
        "assert shutil.rmtree.avoids_symlink_attacks\n"
    )
    record(tmp_path, {"train.py": script + BATCH})


def test_modules_that_the_interpreter_starts_with_may_be_hidden_by_files_too(
    tmp_path: Path,
) -> None:
    found = record(tmp_path, {"train.py": "import sys\n" + BATCH})
    assert {"codecs", "encodings", "os"} <= found.modules


def test_code_is_found_that_had_a_relative_name_where_the_program_was_then(
    tmp_path: Path,
) -> None:
    script = (
        "import os, sys\nos.chdir('sub')\n"
        "exec(compile(open('inner.py').read(), 'inner.py', 'exec'))\nos.chdir('/')\n"
    )
    inner = "def run(): pass\nrun()\n"
    found = record(tmp_path, {"train.py": script + BATCH, "sub/inner.py": inner})
    assert "run" in ran(found, "sub/inner.py")


def test_a_native_library_belongs_to_its_distribution_without_an_import(tmp_path: Path) -> None:
    libraries = sorted(Path(np.__file__).parent.parent.glob("numpy.libs/*.so*"))
    if not libraries:
        pytest.skip("this numpy brings no libraries of its own")
    script = f"import ctypes, sys\nfor path in {[*map(str, libraries)]}:\n"
    script += "    try: ctypes.CDLL(path)\n    except OSError: pass\n"
    found = record(tmp_path, {"train.py": script + BATCH})
    assert "numpy" not in found.modules
    assert "numpy" in found.distributions


def test_a_name_that_several_distributions_share_stands_for_all_of_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        info = tmp_path / f"installed/{name}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: Own_{name}\nVersion: 1\n")
        (info / "RECORD").write_text(f"shared/{name}.py,,\n")
        (tmp_path / "installed/shared").mkdir(exist_ok=True)
        (tmp_path / f"installed/shared/{name}.py").write_text("")
    site = tmp_path / "python"
    site.write_text(
        f"#!/bin/sh\nshift\nexec {sys.executable} -c "
        f'\'import sys; sys.path.insert(0, "{tmp_path}/installed"); exec(sys.argv[1])\' "$2"\n'
    )
    site.chmod(0o755)
    found = installed_distributions(str(site))["shared"]
    assert sorted(found) == [("own-one", "1"), ("own-two", "1")]
