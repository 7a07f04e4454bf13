"""What a hostile program may leave in place of a record: read within bounds, never an error."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_footprint import record

from ailab_bot.measure import footprint as reader
from ailab_bot.measure import footprint_processes as processes
from ailab_bot.measure.execute import _owing
from ailab_bot.measure.opens import Opens
from ailab_bot.model.footprint import Executed, Footprint, Signature, Use
from ailab_bot.model.footprintwire import footprint_from_json, footprint_to_json
from ailab_bot.model.strictjson import BadJsonError

HEAD = b"H\t7\t1\t3.12.1\n"
TOTALS = b"N\t1\t2\t3\t4\t5\te\t0\n"


def read(folder: Path) -> Footprint | None:
    found = reader.read_footprint(
        folder, Opens(), scenario="it", sha="a" * 40, trainer=7, distributions={}
    )
    if found is not None:  # whatever was left, what is made of it can be kept and read again
        footprint_from_json(json.loads(json.dumps(footprint_to_json(found))))
    return found


NONSENSE = {
    "no number": b"F\ta.py\tf\tone\t1\t1\t1\t1\n" + TOTALS,
    "a number of 4,000 digits": b"F\ta.py\tf\t1\t" + b"9" * 4000 + b"\t1\t1\t1\n" + TOTALS,
    "a number above all": b"F\ta.py\tf\t1\t" + b"9" * 30 + b"\t1\t1\t1\n" + TOTALS,
    "a negative number": b"F\ta.py\tf\t1\t-5\t0\t1\t1\n" + TOTALS,
    "an endless name": b"F\ta.py\t" + b"f" * 10_000 + b"\t1\t1\t1\t1\t1\n" + TOTALS,
    "an endless path": b"F\t" + b"a" * 10_000 + b"\tf\t1\t1\t1\t1\t1\n" + TOTALS,
    "a path outside": b"F\t../a.py\tf\t1\t1\t1\t1\t1\n" + TOTALS,
    "a path outside after a while": b"F\ta/../../b.py\tf\t1\t1\t1\t1\t1\n" + TOTALS,
    "an absolute path": b"F\t/etc/passwd\tf\t1\t1\t1\t1\t1\n" + TOTALS,
    "too few fields": b"F\ta.py\n" + TOTALS,
    "bytes": bytes(range(256)) + b"\n" + b"F\t\xff\xfe\n" + TOTALS,
    "half a line": TOTALS + b"F\ta.py\tf",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_left_out_and_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "7-1").write_bytes(HEAD)
    (tmp_path / "7-1.e").write_bytes(NONSENSE[name])
    found = read(tmp_path)
    assert found is not None
    assert found.functions == {}
    assert found.unseen == ("a process left a damaged record",)


def test_names_that_begin_with_dots_are_names(tmp_path: Path) -> None:
    (tmp_path / "7-1").write_bytes(HEAD + b"O\t..data/a\tr\nX\t...\n")
    (tmp_path / "7-1.e").write_bytes(TOTALS)
    found = read(tmp_path)
    assert found is not None
    assert found.unseen == ()
    assert set(found.files) == {"..data/a"}


def test_a_pipe_or_a_link_in_place_of_a_record_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(HEAD + b"O\tsecret\tr\n")
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "7-1").write_bytes(HEAD)
    (folder / "7-1.e").write_bytes(TOTALS)
    os.mkfifo(folder / "8-1")
    os.mkfifo(folder / "7-1.s")
    (folder / "9-1").symlink_to(tmp_path / "outside")
    (folder / "10-1").symlink_to("/dev/zero")
    (folder / "11-1").mkdir()
    found = read(folder)
    assert found is not None
    assert found.files == {}
    assert found.unseen == ("a process left a damaged record",)


def test_what_is_not_read_for_its_size_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LARGEST_BYTES", 100)
    (tmp_path / "7-1").write_bytes(HEAD + b"O\ta.txt\tr\n" * 100)
    (tmp_path / "7-1.e").write_bytes(TOTALS)
    found = read(tmp_path)
    assert found is not None
    assert found.unseen == ("a process recorded more than is read",)
    monkeypatch.setattr(processes, "LARGEST_BYTES", 10_000)
    monkeypatch.setattr(processes, "MOST_LINES", 3)
    found = read(tmp_path)
    assert found is not None
    assert found.unseen == ("a process recorded more than is read",)


def test_a_flood_of_processes_or_bytes_gives_no_footprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (tmp_path / f"{number}-1").write_bytes(HEAD)
    assert read(tmp_path) is not None
    monkeypatch.setattr(processes, "MOST_PROCESSES", 20)
    assert read(tmp_path) is None
    monkeypatch.setattr(processes, "MOST_PROCESSES", 2000)
    monkeypatch.setattr(processes, "MOST_BYTES", 100)
    assert read(tmp_path) is None


def test_tables_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_ENTRIES", 10)
    rows = b"".join(b"X\t%d\nV\tV%d\nO\tf%d\tr\n" % (n, n, n) for n in range(50))
    (tmp_path / "7-1").write_bytes(HEAD + rows)
    (tmp_path / "7-1.e").write_bytes(TOTALS)
    found = read(tmp_path)
    assert found is not None
    assert len(found.missing) == len(found.variables) == len(found.files) == 10
    assert found.unseen == ("a process recorded more than is read",)


def test_a_folder_that_is_gone_is_no_footprint(tmp_path: Path) -> None:
    assert read(tmp_path / "gone") is None
    assert not _owing(tmp_path / "gone", [7])


def test_names_that_nobody_gave_do_not_end_the_supervisor(tmp_path: Path) -> None:
    for name in ("x-5", "-", "7-x", "tell-7", "9" * 200 + "-1", "²-1"):
        (tmp_path / name).touch()
    assert not _owing(tmp_path, [7])
    (tmp_path / "7-5").touch()
    assert _owing(tmp_path, [os.getpid(), 7]), "it has not told"
    (tmp_path / "7-5.e").touch()
    assert not _owing(tmp_path, [7])


def test_a_program_that_removes_the_recorders_folder_has_no_footprint(tmp_path: Path) -> None:
    script = """
        import os, shutil, sys
        shutil.rmtree(os.environ["AILAB_FOOTPRINT"].split("|")[0])
        sys.audit("ailab.first_batch")
    """
    with pytest.raises(AssertionError, match="assert None is not None"):
        record(tmp_path, {"train.py": script})


# --- the codec ---------------------------------------------------------------------------------


def large(files: int) -> Footprint:
    """As a platform's scenario would have it: paths of 50 characters, ten functions each."""
    paths = [f"src/platform/training/components/part_{number:04}.py" for number in range(files)]
    functions = {f"Component.method_{n}": Executed(1000 * n, 0.000123 * n) for n in range(10)}
    return Footprint(
        "it", "a" * 40, "3.11.7",
        files={path: frozenset({Use.IMPORTED}) for path in paths},
        functions=dict.fromkeys(paths, functions),
        modules=frozenset(path[4:-3].replace("/", ".") for path in paths),
        signature=Signature(2000, 10**6, 10**6, 100, 10**6, 2, "ab"),
    )  # fmt: skip


def test_a_footprint_of_300_files_stays_small() -> None:
    assert len(json.dumps(footprint_to_json(large(300)))) < 300 << 10


def test_the_same_footprint_has_the_same_text_in_whatever_order_it_was_made() -> None:
    one = large(20)
    other = replace(
        one,
        files=dict(reversed(one.files.items())),
        functions={
            path: dict(reversed(own.items())) for path, own in reversed(one.functions.items())
        },
        modules=frozenset(sorted(one.modules, reverse=True)),
    )
    assert json.dumps(footprint_to_json(one)) == json.dumps(footprint_to_json(other))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("sha", "abc"),
        ("files", {"a.py": "z"}),
        ("files", {"a.py": ""}),
        ("files", ["a.py"]),
        ("functions", {"a.py": {"f": [1]}}),
        ("functions", {"a.py": {"f": [True, 0.5]}}),
        ("functions", {"a.py": {"f": [1, 1.5]}}),
        ("functions", {"a.py": {"f": [-1, 0.5]}}),
        ("signature", [1, 2, 3]),
        ("missing", "a.py"),
        ("more", 1),
    ],
)
def test_what_is_no_footprint_is_refused(key: str, value: object) -> None:
    row = {**footprint_to_json(large(1)), key: value}
    with pytest.raises(BadJsonError):
        footprint_from_json(row)
