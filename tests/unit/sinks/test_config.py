"""Configuration, back-off and the migrations' files."""

from __future__ import annotations

import itertools
import re
import threading

import pytest

from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import ConfigError, Lost, Refused, Retry
from spendstream.sinks.clickhouse.migrate import migrations
from spendstream.sinks.clickhouse.retry import CAP_SECONDS, FIRST_SECONDS, delays, until


def test_all_reasons_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        LoaderConfig(
            "", "ftp://x", database="a-b", group="", linger_ms=-1, max_rows=0,
            kafka={"group.id": "g", "security.protocol": "ssl"},
        )  # fmt: skip
    for reason in ("bootstrap", "clickhouse_url", "database", "group is", "linger", "max_rows"):
        assert reason in str(refused.value)
    assert "exactness rests on: group.id" in str(refused.value)


def test_delays_double_to_a_cap_and_are_shortened_by_at_most_half() -> None:
    longest = list(itertools.islice(delays(lambda low, high: high), 12))
    shortest = list(itertools.islice(delays(lambda low, high: low), 12))
    assert longest[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert longest[-1] == CAP_SECONDS
    assert [low * 2 for low in shortest] == longest


def test_until_tries_again_gives_up_and_lets_errors_through() -> None:
    outcomes = iter([Retry("away"), Retry("away"), "here"])

    def attempt() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert until("step", threading.Event(), attempt) == "here"
    given_up = threading.Event()
    given_up.set()
    outcomes = iter([Retry("away")])
    with pytest.raises(Lost):
        until("step", given_up, attempt)
    outcomes = iter([Refused("never")])
    with pytest.raises(Refused):
        until("step", threading.Event(), attempt)


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_migrations_can_be_run_again() -> None:
    for migration in migrations():
        for statement in migration.statements:
            sql = re.sub(r"^\s*--.*\n", "", statement, flags=re.MULTILINE)
            again = (
                r"\s*(CREATE (TABLE|MATERIALIZED VIEW) IF NOT EXISTS"
                r"|ALTER TABLE \w+\s+(MODIFY (?!QUERY)|ADD COLUMN IF NOT EXISTS)"
                # with the server's next restart a view that was modified forgets the tokens it saw
                r"|DROP TABLE IF EXISTS \w+_view"
                # fills only the keys that are not filled yet
                r"|INSERT INTO (?P<table>\w+)\s[^;]+FROM (?P=table)\s[^;]+HAVING [^;]+ AS kept)"
            )
            assert re.match(again, sql), statement


def test_every_table_that_is_inserted_into_remembers_tokens() -> None:
    for migration in migrations():
        for statement in migration.statements:
            if "CREATE TABLE" in statement and "mirror_" not in statement:
                assert "non_replicated_deduplication_window = 100000" in statement
