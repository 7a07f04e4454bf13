"""The ledger as tables, read back with the tools that they are for."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Backend, fetched, git_store
from ledgers import NOW, counting, everything, other_kind, record
from postgres_server import PASSWORD
from repositories import git

from ailab_bot.errors import UserError
from ailab_bot.flows import export as export_flow
from ailab_bot.flows import ledger as flow
from ailab_bot.flows.export import FORMATS, TABLES, export, in_order
from ailab_bot.flows.knowledge import footprint_body
from ailab_bot.ledger.places import LedgerError
from ailab_bot.ledger.records import Kind, Origin
from ailab_bot.ledger.sql import SqlStore, open_store
from ailab_bot.model.footprint import Executed, Footprint, Use

VERDICT = {
    "scenario": "eager", "metric": "ttfb_s", "verdict": "REGRESSION", "confirmed": True,
    "effect": 0.125, "interval": [0.1, 0.15], "level": 0.95, "threshold": None, "blocks_used": 12,
    "reason": 'comma, "quote"\nand a line', "p_value": 0, "gates": False,
}  # fmt: skip
CHOICES = [
    {"scenario": "eager", "taken": True, "rule": "explored", "reason": "by chance",
     "probability": 0.25, "propensity": 0.1, "cost_s": 60},
    {"scenario": "train", "taken": False, "rule": "proved", "reason": "untouched",
     "probability": None, "propensity": 0.0, "cost_s": 600.5},
    "not a choice",
]  # fmt: skip
FOOTPRINT = Footprint(
    "eager", "a" * 40, "3.11.7",
    files={"b.py": frozenset({Use.IMPORTED, Use.OPENED}), "a.txt": frozenset({Use.OPENED})},
    functions={"b.py": {"f": Executed(3, 0.25), "<module>": Executed(1, 0.5)}},
)  # fmt: skip
RECORDS = [
    record(1, days=100, verdicts=(VERDICT, {"metric": "rss", "effect": "not a number"})),
    record(2, scenario="", verdicts=({"conclusion": "failure"},), origin=Origin.RELEASE),
    record(3, verdicts=(), scenario="训练"),
    other_kind(Kind.PLAN, 4, scenario="", body={"choices": CHOICES, "seed": 7, "capacity_s": 900}),
    other_kind(Kind.FOOTPRINT, 5, body=footprint_body(FOOTPRINT, "d1")),
    other_kind(Kind.FOOTPRINT, 8, body={"footprint": {"files": {"x": "i"}}}),
    other_kind(Kind.FEEDBACK, 6, base="", body={"verdict": "eager:ttfb_s@1a2b", "right": True}),
    other_kind(Kind.INCIDENT, 7, body={"incident": "12", "state": "open", "blocks": 10**24}),
]


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return pq.read_table(path).to_pandas()


@pytest.mark.parametrize("form", FORMATS)
def test_each_kind_is_a_table_with_a_row_for_each_of_its_parts(
    backend: Backend, tmp_path: Path, form: str
) -> None:
    backend.open().append(RECORDS)
    backend.open().compact(NOW, {"count": counting})
    out = tmp_path / "out"
    done = export(backend.open(), out, form=form)
    assert {path.name: rows for path, rows in done.rows.items()} == {
        f"verdicts.{form}": 4, f"plans.{form}": 2, f"footprints.{form}": 2, f"feedback.{form}": 1,
        f"incidents.{form}": 1, f"models.{form}": 0,
    }  # fmt: skip
    verdicts = read(out / f"verdicts.{form}")
    first = verdicts.iloc[0]
    assert (first["scenario"], first["metric"], first["effect"]) == ("eager", "ttfb_s", 0.125)
    assert (first["interval_low"], first["interval_high"], first["p_value"]) == (0.1, 0.15, 0.0)
    assert first["reason"] == 'comma, "quote"\nand a line'
    assert pd.isna(first["threshold"])
    assert pd.isna(verdicts.iloc[1]["effect"])
    assert list(verdicts["run"]) == [1, 1, 2, 3]
    assert verdicts.iloc[3]["runner_seconds"] == 13.0
    assert pd.Timestamp(first["when"]) == pd.Timestamp(RECORDS[0].when)
    plans = read(out / f"plans.{form}")
    assert list(plans["chosen_scenario"]) == ["eager", "train"]
    assert list(plans["propensity"]) == [0.1, 0.0]
    assert list(plans["taken"]) == [True, False]
    assert list(plans["seed"]) == [7, 7]
    files = read(out / f"footprints.{form}")
    columns = ["path", "imported", "opened", "functions", "calls", "share", "python", "definition"]
    assert list(files[columns].itertuples(index=False, name=None)) == [
        ("a.txt", False, True, 0, 0, 0.0, "3.11.7", "d1"),
        ("b.py", True, True, 2, 4, 0.75, "3.11.7", "d1"),
    ]
    assert "10000" in read(out / f"incidents.{form}").iloc[0]["body"]
    assert list(read(out / f"models.{form}").columns)[-1] == "body"
    assert not list(out.glob(".*")), "nothing unfinished is left"


def test_columns_have_types_and_another_tool_finds_the_releases(
    backend: Backend, tmp_path: Path
) -> None:
    backend.open().append(RECORDS)
    path = tmp_path / "verdicts.parquet"
    export(backend.open(), path, kinds=(Kind.VERDICT,))
    rows = duckdb.sql(
        f"SELECT run, conclusion FROM '{path}' WHERE origin = 'release' AND \"when\" < now()"
    ).fetchall()
    assert rows == [(2, "failure")]
    types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE '{path}')").fetchall())
    assert (types["effect"], types["run"], types["confirmed"]) == ("DOUBLE", "BIGINT", "BOOLEAN")
    assert types["when"] == "TIMESTAMP WITH TIME ZONE"


def test_a_table_is_the_same_whenever_the_ledger_was_compacted(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_flow, "_SORTED_AT_ONCE", 7)
    git_store(clone).append([record(n % 50, days=n * 3, run=n) for n in range(1, 61)])
    export(git_store(clone), tmp_path / "before.csv", kinds=(Kind.VERDICT,))
    git_store(clone).compact(NOW, {})
    git_store(clone).append([record(70, days=100)])
    git_store(clone).compact(NOW, {})
    export(git_store(clone), tmp_path / "after.csv", kinds=(Kind.VERDICT,))
    before, after = ((tmp_path / f"{n}.csv").read_text().splitlines() for n in ("before", "after"))
    assert [line for line in after if f"{70:040x}" not in line] == before
    days = [each.day for each in in_order(iter(everything(git_store(clone))))]
    assert days == sorted(days)
    assert len(days) == 61


def test_only_what_is_asked_for_is_exported(clone: Path, tmp_path: Path) -> None:
    git_store(clone).append(RECORDS)
    done = export(git_store(clone), tmp_path / "o", kinds=(Kind.PLAN,), since=date(2026, 6, 1))
    assert {path.name: rows for path, rows in done.rows.items()} == {"plans.csv": 0}
    assert (tmp_path / "o" / "plans.csv").read_text().startswith("sha,base,scenario,run,")


def test_an_export_says_what_it_passed_over(clone: Path, tmp_path: Path) -> None:
    git_store(clone).append([record(1)])
    from ailab_bot.ledger.git_branch import append  # noqa: PLC0415
    from ailab_bot.ledger.records import place_of  # noqa: PLC0415

    append(git_store(clone).ledger, {place_of(record(2)): "{}"}, sleep=print, rng=None)  # type: ignore[arg-type]
    done = export(git_store(clone), tmp_path / "o", kinds=(Kind.VERDICT,))
    assert (list(done.rows.values()), done.skipped) == ([1], {"damaged": 1})


def test_a_second_export_replaces_the_first_and_a_failed_one_does_not(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_store(clone).append([record(1)])
    path = tmp_path / "verdicts.csv"
    export(git_store(clone), path, kinds=(Kind.VERDICT,))
    git_store(clone).append([record(2)])
    export(git_store(clone), path, kinds=(Kind.VERDICT,))
    assert len(path.read_text().splitlines()) == 3

    def broken(self: object, *_: object) -> object:
        yield record(1)
        raise LedgerError("gone")

    monkeypatch.setattr("ailab_bot.ledger.store.GitStore.read", broken)
    with pytest.raises(LedgerError):
        export(git_store(clone), path, kinds=(Kind.VERDICT,))
    assert len(path.read_text().splitlines()) == 3
    assert [each.name for each in tmp_path.glob("*verdicts*")] == ["verdicts.csv"]


def test_a_file_takes_one_kind_and_its_own_format(clone: Path, tmp_path: Path) -> None:
    git_store(clone).append([record(1)])
    with pytest.raises(UserError, match="several tables"):
        export(git_store(clone), tmp_path / "all.csv")
    with pytest.raises(UserError, match="not hold what its name says"):
        export(git_store(clone), tmp_path / "v.csv", kinds=(Kind.VERDICT,), form="parquet")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export(git_store(clone), tmp_path / "file" / "below", kinds=(Kind.VERDICT,))


def test_without_pyarrow_the_user_is_told_what_to_install(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="Parquet cannot") as caught:
        export(git_store(clone), tmp_path / "o", form="parquet")
    assert "ailab-bot[export]" in caught.value.advice
    assert not (tmp_path / "o").exists()


def test_every_kind_has_a_table() -> None:
    assert set(TABLES) == set(Kind)


# --- what the command line does ----------------------------------------------------------------


def test_a_clone_without_the_branch_says_how_to_fetch_it(clone: Path) -> None:
    with pytest.raises(UserError, match="knows no ledger") as caught:
        flow.branch_store(clone)
    git_store(clone).append([record(1)])
    git(clone, *caught.value.advice.split()[1:])
    assert flow.show(flow.branch_store(clone)).counts["verdict"] == 1


def test_a_ledger_is_shown_with_its_counts_and_views(backend: Backend) -> None:
    backend.open().append(RECORDS)
    backend.open().compact(NOW, flow.VIEWS)
    shown = flow.show(backend.open())
    assert shown.counts == {
        "verdict": 3, "plan": 1, "footprint": 2, "feedback": 1, "incident": 1, "model": 0
    }  # fmt: skip
    assert shown.skipped == {}
    if backend.name == "git":
        assert (shown.loose, shown.parts) == (7, 1)
        assert shown.views == dict.fromkeys(flow.VIEWS, NOW)


def test_compacting_from_a_clone_that_knows_no_ledger_works(clone: Path, remote: Path) -> None:
    git_store(clone).append([replace(each) for each in RECORDS])
    store = flow.branch_store(clone, reading=False)
    assert store.tip is None
    assert flow.compact_ledger(replace(store, sleep=lambda _: None), NOW).moved == 1
    assert fetched(clone)


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("AILAB_LEDGER_URL", "", "holds no database's address"),
        ("AILAB_LEDGER_URL", "nothing like it: s3cret", "not a ledger's database"),
        ("AILAB_LEDGER_URL", "mysql://u:s3cret@h/d", "not a ledger's database"),
        ("postgresql://u:s3cret@h/d", "", "holds no database's address"),
    ],
)
def test_an_address_that_is_none_is_not_shown(variable: str, value: str, word: str) -> None:
    with (
        pytest.raises(UserError, match=word) as caught,
        flow.database_store(variable, {"AILAB_LEDGER_URL": value}),
    ):
        pass
    said = f"{caught.value.what} {caught.value.why} {caught.value.advice}"
    assert "s3cret" not in said


def test_a_password_is_in_no_error_of_the_database(database_url: str, postgres: Path) -> None:
    wrong = [
        database_url.replace("postgres:p4ss", "postgres:s3cret"),
        database_url.replace("/ledger_", "/no_such_"),
        "postgresql://u:s3cret@127.0.0.1:1/d",
        "postgresql://u:s3cret@h:port/d",
        "postgresql://u:s3cret@/d?host=/nowhere&nonsense=s3cret",
    ]
    for url in wrong:
        with pytest.raises((LedgerError, UserError)) as caught:
            open_store(url)
        said = f"{caught.value.what} {caught.value.why} {caught.value.advice}"
        assert "s3cret" not in said
        assert "p4ss" not in said
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_what_a_driver_may_say_of_the_address_is_taken_out(
    sql_store: SqlStore, database_url: str
) -> None:
    encoded = database_url.partition("postgres:")[2].partition("@")[0]
    said = sql_store.redact(f"cannot use {database_url}, password {PASSWORD} or {encoded}")
    assert said == "cannot use …, password … or …"


def test_the_copy_counts_what_of_the_source_could_not_be_read(
    clone: Path, database_url: str
) -> None:
    git_store(clone).append(RECORDS)
    with flow.database_store("URL", {"URL": database_url}) as target:
        copied, skipped = flow.copy_ledger(git_store(clone), target)
        assert (copied.written, copied.known, skipped) == (8, 0, {})
        assert Counter(each.kind for each in target.read(Counter()))[Kind.VERDICT] == 3
