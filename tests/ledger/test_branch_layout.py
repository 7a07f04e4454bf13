"""The ledger on a branch: what lies where, what an append and a compaction touch, and what they
leave alone."""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import REF, fetched, git_store, new_clone
from ledgers import NOW, counting, everything, other_kind, record
from repositories import commit, git

from ailab_bot.errors import UserError
from ailab_bot.flows.history import write_history
from ailab_bot.gh.fetch import fetch_before
from ailab_bot.ledger import archive
from ailab_bot.ledger.compaction import KEEP_DAYS, LEAST_KEEP_DAYS, Compacted, compact, write_view
from ailab_bot.ledger.fetching import fetch_ledger
from ailab_bot.ledger.git_branch import append
from ailab_bot.ledger.places import LedgerError, day_of
from ailab_bot.ledger.reading import (
    SETTLED,
    list_entries,
    list_parts,
    list_since,
    read_all,
    read_view,
    tip_at,
)
from ailab_bot.ledger.records import Kind, NotARecordError, Record, Skip, place_of, record_to_json
from ailab_bot.ledger.scratch import Ledger

BRANCH = "ailab-ledger"


def write(clone: Path, *records: Record) -> bool:
    return git_store(clone).append(records)


def put(clone: Path, files: dict[str, str]) -> None:
    """As a person or an older ailab may have written."""
    texts = {tuple(path.split("/")): text for path, text in files.items()}
    append(Ledger(clone), texts, sleep=lambda _: None, rng=random.Random(1))


def compacted(clone: Path, now: datetime = NOW, **views: object) -> Compacted:
    return compact(
        Ledger(clone), now, views or {"count": counting},  # type: ignore[arg-type]
        sleep=lambda _: None, rng=random.Random(1),
    )  # fmt: skip


def paths(remote: Path, top: str = ".") -> list[str]:
    return git(remote, "ls-tree", "-r", "--name-only", BRANCH, "--", top).split("\n")


def places(*records: Record) -> list[str]:
    return sorted("/".join(place_of(each)) for each in records)


def test_a_record_lies_below_the_day_on_which_its_run_began(clone: Path, remote: Path) -> None:
    late = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    again = record(1, begun=late, when=late + timedelta(days=20), attempt=3)
    write(clone, again)
    (path,) = paths(remote)
    assert path == f"records/verdict/2026/01-31/{1:040x}/eager.1-3.json"
    assert day_of(tuple(path.split("/"))) == late.date()


def test_an_append_writes_as_many_folders_however_many_records_there_are(
    clone: Path, remote: Path
) -> None:
    write(clone, *(record(n, days=n % 30) for n in range(1, 300)))
    before = objects(remote)
    write(clone, record(1000))
    kinds = Counter(objects(remote)[each] for each in objects(remote).keys() - before.keys())
    assert kinds == {"commit": 1, "blob": 1, "tree": 6}


def objects(remote: Path) -> dict[str, str]:
    rows = git(remote, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    return dict(row.split()[:2] for row in rows)


def test_old_records_move_into_archives_by_kind_and_year_and_young_ones_stay(
    clone: Path, remote: Path
) -> None:
    old = [record(n, days=KEEP_DAYS + 1 + 30 * n) for n in range(1, 9)]
    plan = other_kind(Kind.PLAN, 20, days=100)
    young = [record(30, days=KEEP_DAYS), record(31, days=0)]
    write(clone, *old, plan, *young)
    done = compacted(clone)
    assert (done.moved, done.parts, done.skipped) == (9, 3, {})
    assert paths(remote, "records/") == places(*young)
    names = [re.sub("-[0-9a-f]{16}", "", path) for path in paths(remote, "archive/")]
    assert names == [
        "archive/plan/2026/02-21.jsonl.gz",
        "archive/verdict/2025/08-19.jsonl.gz",
        "archive/verdict/2026/01-16.jsonl.gz",
    ]
    assert len(everything(git_store(clone))) == 11
    covered = git(remote, "ls-tree", "-r", "--name-only", f"{BRANCH}:view/count/covered")
    assert covered.split() == [path.removeprefix("records/") for path in places(*young)]
    assert compacted(clone) == Compacted(), "a second time there is nothing to do"


def test_an_archive_is_lines_of_json_that_any_tool_reads_and_the_same_each_time(
    clone: Path, remote: Path
) -> None:
    old = [record(n, days=100) for n in range(1, 4)]
    write(clone, *old)
    compacted(clone)
    (path,) = paths(remote, "archive/")
    packed = subprocess.check_output(["git", "cat-file", "blob", f"{BRANCH}:{path}"], cwd=remote)
    lines = gzip.decompress(packed).splitlines(keepends=True)
    assert lines == [record_to_json(each).encode() for each in old]
    assert packed == archive.pack(lines)
    assert packed[4:8] == bytes(4), "no time in it"


def test_a_part_holds_no_more_than_it_may(
    clone: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_RECORDS", 4)
    monkeypatch.setattr(archive, "MOST_BYTES", 3 * len(record_to_json(record(1))) + 40)
    write(clone, *(record(n, days=100 + n) for n in range(1, 12)))
    assert compacted(clone).parts == 4
    monkeypatch.undo()
    assert len(everything(git_store(clone))) == 11


def test_a_record_that_comes_late_for_an_archived_day_is_read_and_moved_the_next_time(
    clone: Path, remote: Path
) -> None:
    write(clone, record(1, days=100))
    compacted(clone)
    late = record(2, days=100)
    write(clone, late)
    assert paths(remote, "records/") == places(late)
    assert len(everything(git_store(clone))) == 2
    assert compacted(clone).moved == 1
    assert len(paths(remote, "archive/")) == 2
    assert len(everything(git_store(clone))) == 2
    assert git_store(clone).view("count") == b"2"


def test_a_compaction_that_ends_in_its_middle_has_done_nothing(clone: Path, remote: Path) -> None:
    write(clone, *(record(n, days=10 * n) for n in range(1, 20)))
    before = git(remote, "rev-parse", BRANCH)
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'no more quota' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(LedgerError) as caught:
        compacted(clone)
    assert "no more quota" in caught.value.why
    assert git(remote, "rev-parse", BRANCH) == before
    hook.unlink()
    assert compacted(clone).moved == 15
    assert len(everything(git_store(clone))) == 19


def test_a_record_that_comes_while_a_compaction_is_built_is_kept_and_is_news(
    clone: Path, remote: Path
) -> None:
    write(clone, *(record(n, days=100) for n in range(1, 4)))
    late = [record(50, days=100), record(51, days=1)]
    other = new_clone(remote, "other")
    asked = []

    def build(previous: bytes | None, records: object) -> bytes:
        asked.append(previous)
        data = counting(previous, records)
        if len(asked) == 1:
            write(other, *late)
        return data

    done = compacted(clone, count=build)
    assert (done.moved, len(asked)) == (3, 1), "what was built is used again"
    assert paths(remote, "records/") == places(*late)
    assert git_store(clone).view("count") == b"3"
    news = list(git_store(clone).news("count", Counter()))
    assert sorted(each.run for each in news) == [50, 51]


def test_two_compactions_at_once_move_and_count_each_record_once(clone: Path, remote: Path) -> None:
    write(clone, *(record(n, days=n * 8) for n in range(1, 13)))
    other = new_clone(remote, "other")
    asked = []

    def build(previous: bytes | None, records: object) -> bytes:
        data = counting(previous, records)
        if not asked:
            asked.append(compacted(other, count=counting, more=counting).moved)
        return data

    compacted(clone, count=build)
    assert asked == [7]
    assert len(everything(git_store(clone))) == 12
    assert git_store(clone).view("count") == b"12"


def test_what_cannot_be_read_stays_where_it_is_and_is_counted(clone: Path, remote: Path) -> None:
    good = record(1, days=100)
    place = {n: "/".join(place_of(record(n, days=100))) for n in range(2, 8)}
    text = record_to_json(record(2, days=100))
    newer = {**json.loads(record_to_json(record(3, days=100))), "schema": 9, "new": 1}
    bad = {
        place[2]: text[:-20],
        place[3]: json.dumps(newer),
        place[4]: "x" * (1 << 20) + "y",
        place[5]: text,  # another record's name
        place[6]: "\ud800",
        place[7]: json.dumps(json.loads(record_to_json(record(7, days=100))), indent=2),
    }
    bad[place[6]] = "[" * 100_000
    write(clone, good)
    put(clone, {**bad, "README.md": "People may write here too.\n"})
    put(clone, {f"records/verdict/2026/02-21/{1:040x}/a/b.json": "deeper", "records/x": "y"})
    done = compacted(clone)
    expected = {Skip.DAMAGED: 2, Skip.NEWER: 1, Skip.LARGE: 1, Skip.MISPLACED: 1}
    assert done.moved == 1
    assert done.skipped == expected | {Skip.DAMAGED: 3}, "seven is a record, laid out otherwise"
    assert set(bad) | {"README.md", "records/x"} <= set(paths(remote))
    skipped: Counter[str] = Counter()
    store = git_store(clone)
    assert {each.run for each in store.read(skipped)} == {1, 7}
    assert skipped == expected
    assert store.view("count") == b"2"
    assert list(store.news("count", Counter())) == [], "it is no news a second time"


@pytest.mark.parametrize("junk", ["note", "a/b/c.json", "{sha}/a/b.json", "{sha}/x.json"])
def test_a_persons_file_among_a_days_records_outlives_them(
    clone: Path, remote: Path, junk: str
) -> None:
    write(clone, record(1, days=100), record(2, days=100))
    path = f"records/verdict/2026/02-21/{junk.format(sha=record(1).sha)}"
    put(clone, {path: "mine"})
    assert compacted(clone).moved == 2
    assert paths(remote, "records/") == [path]


def test_a_damaged_archive_costs_its_own_records_alone(clone: Path) -> None:
    write(clone, record(1, days=100), other_kind(Kind.PLAN, 2, days=100))
    compacted(clone)
    line = record_to_json(record(3, days=300)).encode()
    good = archive.pack([line, b"{}\n", record_to_json(record(4, days=300)).encode()])
    bomb = archive.pack([b" " * (1 << 20)] * 66)
    bad = {"cut": good[:-9], "bomb": bomb, "none": b"not gzip", "good": good}
    tip = fetched(clone)
    stream = f"commit refs/heads/damaged\ncommitter A <a@b.invalid> 1 +0000\ndata 0\nfrom {tip}\n"
    data = stream.encode()
    for name, content in bad.items():
        head = f"M 100644 inline archive/verdict/2025/08-05-{name}.jsonl.gz\ndata {len(content)}\n"
        data += head.encode() + content + b"\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=clone, input=data, check=True)
    skipped: Counter[str] = Counter()
    found = sorted(each.run for each in read_all(clone, "refs/heads/damaged", skipped))
    assert found == [1, 2, 3, 4]
    assert skipped == {Skip.DAMAGED: 3, Skip.LARGE: 1}


def test_no_more_is_unpacked_than_a_part_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 20)
    lines = [b"x" * 1000 + b"\n"] * 2000
    assert list(archive.unpack(archive.pack(lines))) == lines, "2 MB, a record more than a part"
    with pytest.raises(NotARecordError) as caught:
        list(archive.unpack(archive.pack(lines * 2)))
    assert caught.value.skip is Skip.LARGE


def test_records_are_not_archived_while_they_may_be_made_again(clone: Path) -> None:
    write(clone, record(1, days=LEAST_KEEP_DAYS - 2))
    with pytest.raises(UserError, match="must stay loose"):
        compact(
            Ledger(clone), NOW, {}, keep_days=LEAST_KEEP_DAYS - 1,
            sleep=lambda _: None, rng=random.Random(1),
        )  # fmt: skip


def test_a_clone_of_nothing_but_the_newest_commit_knows_what_is_new_since_the_view(
    clone: Path, remote: Path
) -> None:
    write(clone, *(record(n, days=n) for n in range(1, 60)))
    compacted(clone)
    for number in range(100, 103):
        write(clone, record(number))
    fresh = new_clone(remote, "fresh")
    tip = fetched(fresh)
    assert git(fresh, "rev-list", "--count", str(tip)) == "1"
    since = list_since(fresh, str(tip), "count")
    assert since.view is not None
    assert (since.view.data, since.note) == (b"59", "")
    assert [each.place[-1] for each in since.entries] == [
        f"eager.{n}-1.json" for n in (100, 101, 102)
    ]
    assert list_since(fresh, str(tip), "count", (Kind.PLAN,)).entries == ()


@pytest.mark.parametrize("about", ["", "{}", '{"schema": 2, "commit": "", "when": 1}', "[" * 9000])
def test_a_damaged_view_is_none_and_the_reader_is_told(clone: Path, about: str) -> None:
    write(clone, record(1, days=2), record(2, days=40))
    put(clone, {"view/plan/data": "59", "view/plan/about.json": about})
    tip = str(fetched(clone))
    assert read_view(clone, tip, "plan") is None
    since = list_since(clone, tip, "plan", fallback_from=(NOW - timedelta(days=30)).date())
    assert [each.place[-1] for each in since.entries] == ["eager.1-1.json"]
    assert "no view `plan`" in since.note
    compacted(clone, plan=counting)
    assert git_store(clone).view("plan") == b"2"


def test_a_view_of_an_older_ailab_is_kept_for_a_while_and_then_goes(clone: Path) -> None:
    write(clone, record(1))
    compacted(clone, old=counting)
    write(clone, record(2))
    compacted(clone, NOW + timedelta(days=30), new=counting)
    assert git_store(clone).view("old") == b"1"
    write(clone, record(3))
    compacted(clone, NOW + timedelta(days=60), new=counting)
    assert git_store(clone).view("old") is None
    assert git_store(clone).view("new") == b"3"


def test_a_view_alone_can_be_made_anew(clone: Path, remote: Path) -> None:
    write(clone, record(1, days=100), record(2))
    done = write_view(
        Ledger(clone), "count", counting, NOW, sleep=lambda _: None, rng=random.Random(1)
    )
    assert (done.moved, done.views) == (0, ("count",))
    assert len(paths(remote, "records/")) == 2
    assert git_store(clone).view("count") == b"2"
    view = read_view(clone, str(fetched(clone)), "count")
    assert view is not None
    assert view.commit == git(remote, "rev-parse", f"{BRANCH}~1")
    assert view.when == NOW


def test_who_reads_sooner_or_later_sees_the_ledger_of_one_time(
    clone: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tips = []
    for minute in (0, 10, 20, 15, 30):  # one machine's clock is behind
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-06-01T12:{minute:02}:00Z")
        write(clone, record(100 + minute))
        tips.append(git(remote, "rev-parse", BRANCH))
    monkeypatch.undo()
    git(clone, "fetch", "--quiet", "--unshallow", "origin", f"+{BRANCH}:{REF}")
    assert git(clone, "log", "--format=%ct", REF).split() == sorted(
        git(clone, "log", "--format=%ct", REF).split(), reverse=True
    )

    def at(minute: int) -> str | None:
        return tip_at(clone, REF, datetime(2026, 6, 1, 12, minute, tzinfo=UTC) + SETTLED)

    assert [at(9), at(10), at(19), at(29), at(30)] == [tips[0], tips[1], tips[1], tips[3], tips[4]]
    assert tip_at(clone, REF, NOW - timedelta(days=1)) is None
    assert at(20) == tip_at(clone, tips[3], NOW + timedelta(minutes=20) + SETTLED)


def test_a_recorder_whose_clock_is_a_day_ahead_hides_nothing_for_longer_than_till_the_next(
    clone: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tips = []
    for when in ("01T12:00", "02T12:10", "01T12:20", "01T12:30"):  # the second one's is wrong
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-06-{when}:00Z")
        write(clone, record(100 + len(tips)))
        tips.append(git(remote, "rev-parse", BRANCH))
    monkeypatch.undo()
    # Who planned before the third was there, and who decides after the fourth, read the same.
    for minute, newest, found in ((15, 1, 0), (15, 3, 0), (25, 2, 2), (25, 3, 2), (35, 3, 3)):
        git(remote, "update-ref", f"refs/heads/{BRANCH}", tips[newest])
        folder = new_clone(remote, f"{minute}-{newest}")
        at = datetime(2026, 6, 1, 12, minute, tzinfo=UTC)
        assert fetch_before(folder, BRANCH, at, "", "") == tips[found]
        own = fetch_ledger(Ledger(folder), folder / "own", (), when=at + SETTLED)
        assert own is not None
        assert own[1] == tips[found]
        git(folder, "fetch", "--quiet", "--unshallow", "origin", f"+{BRANCH}:{REF}")
        assert tip_at(folder, REF, at + SETTLED) == tips[found]


def test_a_recorder_whose_clock_is_hours_behind_takes_the_time_of_the_run_that_it_records(
    clone: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = record(1, days=0)
    monkeypatch.setenv("GIT_COMMITTER_DATE", (made.when - timedelta(hours=8)).isoformat())
    write_history(Ledger(clone), [made], sleep=lambda _: None, rng=random.Random(1))
    monkeypatch.undo()
    assert git(remote, "log", "-1", "--format=%ct", BRANCH) == str(int(made.when.timestamp()))


def test_files_are_fetched_many_at_once_and_an_append_fetches_none(
    clone: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(clone, *(record(n, days=n) for n in range(1, 120)))
    trace = tmp_path / "trace"

    def uploads() -> int:
        text = trace.read_text() if trace.exists() else ""
        assert '"--filter=blob:none"' in text, "lists of files alone are fetched"
        trace.unlink(missing_ok=True)
        starts = [line for line in text.splitlines() if '"event":"start"' in line]
        return sum('"argv":["git-upload-pack' in line for line in starts)

    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    append(
        Ledger(clone), {place_of(record(500)): record_to_json(record(500))},
        sleep=lambda _: None, rng=random.Random(1),
    )  # fmt: skip
    assert uploads() == 1
    compacted(clone)
    assert uploads() <= 4


def test_a_persons_file_where_a_folder_should_be_is_not_replaced(clone: Path, remote: Path) -> None:
    put(clone, {"records": "mine"})
    with pytest.raises(LedgerError) as caught:
        write(clone, record(1))
    assert "cannot lie beside each other" in caught.value.why
    assert paths(remote) == ["records"]


@pytest.mark.parametrize("way", ["bare", "work tree", "partial", "relative", "included", "sha256"])
def test_any_clone_will_do(
    way: str, tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a clone"
    url = f"file://{remote}"
    if way == "bare":
        git(tmp_path, "clone", "--quiet", "--bare", url, str(folder))
    elif way == "work tree":
        git(tmp_path, "clone", "--quiet", url, str(tmp_path / "first"))
        git(tmp_path / "first", "worktree", "add", "--quiet", "--detach", str(folder))
    elif way == "partial":
        git(tmp_path, "clone", "--quiet", "--filter=blob:none", url, str(folder))
    elif way == "relative":
        git(tmp_path, "clone", "--quiet", url, str(folder))
        git(folder, "remote", "set-url", "origin", "../remote.git")
    elif way == "included":
        git(tmp_path, "clone", "--quiet", url, str(folder))
        git(folder, "remote", "set-url", "origin", "https://nowhere.invalid/a b")
        included = tmp_path / "included"
        included.write_text(f'[url "{url}"]\n\tinsteadOf = "https://nowhere.invalid/a b"\n')
        git(folder, "config", f"includeIf.gitdir:{folder}/.git.path", str(included))
    else:
        remote = tmp_path / "longer.git"
        git(tmp_path, "init", "--quiet", "--object-format=sha256", str(remote))
        commit(remote, {"a.txt": "one"}, "First")
        git(tmp_path, "clone", "--quiet", str(remote), str(folder))
    before = folder / "config" if way == "bare" else folder / ".git" / "config"
    text = before.read_text() if before.is_file() else ""
    for _ in range(2):
        append(
            Ledger(folder),
            {place_of(each): record_to_json(each) for each in (record(1, days=90), record(2))},
            sleep=lambda _: None, rng=random.Random(1),
        )  # fmt: skip
    assert compacted(folder).moved == 1
    assert git(remote, "rev-list", "--count", BRANCH) == "2"
    assert (before.read_text() if before.is_file() else "") == text
    if way != "bare":
        git(folder, "fetch", "--quiet", "origin", f"+refs/heads/{BRANCH}:{REF}")
        assert len(list(read_all(folder, REF, Counter()))) == 2
        assert len(list_parts(folder, REF)) == len(list_entries(folder, REF)) == 1


def test_a_remote_that_cannot_leave_files_out_gives_them_all(clone: Path, remote: Path) -> None:
    git(remote, "config", "uploadpack.allowFilter", "false")
    write(clone, record(1, days=90))
    write(clone, record(2, days=90))
    assert compacted(clone).moved == 2
    assert len(everything(git_store(clone))) == 2


def test_a_compaction_does_not_touch_the_users_clone(clone: Path, remote: Path) -> None:
    write(clone, *(record(n, days=n) for n in range(1, 60)))
    before = {p: p.read_bytes() for p in (clone / ".git").rglob("*") if p.is_file()}
    compacted(clone)
    assert {p: p.read_bytes() for p in (clone / ".git").rglob("*") if p.is_file()} == before


def test_nothing_is_compacted_where_there_is_no_ledger(clone: Path, remote: Path) -> None:
    assert compacted(clone) == Compacted()
    assert git(remote, "branch", "--list", BRANCH) == ""


def test_a_thousand_changes_are_one_record_each(clone: Path) -> None:
    made = [replace(record(n % 7 + 1, days=n % 60), scenario=f"s{n}") for n in range(1000)]
    write(clone, *made)
    compacted(clone)
    assert len(everything(git_store(clone))) == 1000
