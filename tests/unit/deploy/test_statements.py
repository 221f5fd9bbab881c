"""Where an INSERT's data begins, and which statements answer rows."""

from __future__ import annotations

import pytest

from spendstream.deploy.embedded.statements import Insert, result_format, split_insert


@pytest.mark.parametrize(
    ("sql", "statement", "settings", "name", "data"),
    [
        (b"INSERT INTO t FORMAT JSONEachRow\n{}", "INSERT INTO t ", "", "JSONEachRow", b"{}"),
        (
            b"insert into t (a) format Native\r\n\n\x00",
            "insert into t (a) ",
            "",
            "Native",
            b"\n\x00",
        ),
        (b"INSERT INTO t FORMAT CSV 1,2", "INSERT INTO t ", "", "CSV", b"1,2"),
        (b"INSERT INTO t(format, b) FORMAT CSV\n1", "INSERT INTO t(format, b) ", "", "CSV", b"1"),
        (b"INSERT INTO `format` FORMAT CSV\n1", "INSERT INTO `format` ", "", "CSV", b"1"),
        (
            b"INSERT INTO t /* FORMAT x */ FORMAT CSV\n1",
            "INSERT INTO t /* FORMAT x */ ",
            "",
            "CSV",
            b"1",
        ),
        (
            b"INSERT INTO t SETTINGS insert_deduplication_token='a FORMAT b' FORMAT CSV\n1",
            "INSERT INTO t ",
            "SETTINGS insert_deduplication_token='a FORMAT b' ",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t FORMAT CSV", "INSERT INTO t ", "", "CSV", b""),
    ],
)
def test_splits_rows_from_statement(
    sql: bytes, statement: str, settings: str, name: str, data: bytes
) -> None:
    assert split_insert(sql) == Insert(statement, settings, name, data)


@pytest.mark.parametrize(
    "sql",
    [
        b"",
        b"SELECT 1 FORMAT JSON",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x",
        b"-- INSERT INTO t FORMAT CSV\nSELECT 1",
        b"INSERT INTO t FORMAT",
    ],
)
def test_leaves_everything_else_whole(sql: bytes) -> None:
    assert split_insert(sql) is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 1", "TSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "TSV"),
        (b"  -- why\n /* so */ with 1 as x select x format JSON", "JSON"),
        (b"SELECT 1\n FORMAT Native ;", "Native"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads=1", "CSV"),
        (b"SHOW TABLES", "TSV"),
        (b"CREATE TABLE t (a Int8) ENGINE = Memory", None),
        (b"INSERT INTO t SELECT 1", None),
        (b"", None),
    ],
)
def test_result_format(sql: bytes, expected: str | None) -> None:
    assert result_format(sql, "TSV") == expected
