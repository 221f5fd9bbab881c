"""Prices set on a running worker, on a real Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spendstream.api.jobs.control_prices import add_prices, read_versions
from spendstream.api.jobs.control_writer import StaleEdit
from spendstream.schemas.prices.overrides import Overrides, parse_overrides
from tests.servers.kafka import KafkaServer
from tests.support.exact import check_rows
from tests.support.records import Call
from tests.support.rig import PARTITIONS, Rig
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("live_prices")]

PUBLISHED = str(1_000 * 2_500_000 + 100 * 10_000_000)
"""Pico-USD of a call of gpt-4o, 1,000 tokens in and 100 out."""


@pytest.fixture
def rig(apache_broker: KafkaServer, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(apache_broker.bootstrap_servers, tmp_path)
    yield rig
    rig.close()


def of(usd: str) -> Overrides:
    """USD a million tokens of gpt-4o, in and out, since 2026."""
    prices = {"input": usd, "output": usd}
    entry = {"provider": "openai", "model": "gpt-4o", "valid_from": "2026-01-01", "prices": prices}
    return parse_overrides({"prices": [entry]})


def some_calls(name: str, count: int = 30) -> list[Call]:
    now = time.time_ns() // 1_000_000
    return [Call(f"{name}{i}", now, f"ws-{i}") for i in range(count)]


def taken_over(rig: Rig, records: int) -> None:
    """Wait until every partition's checkpoint names so many records of `control.prices`."""
    offsets = [message.offset() or 0 for message in rig.read("control.prices")]
    needed = offsets[records - 1] + 1

    def named() -> bool:
        found = rig.checkpoints().values()
        upto = [checkpoint["control"]["control.prices"]["upto"] for checkpoint in found]
        return len(upto) == PARTITIONS and min(upto) >= needed

    until(named, 30)


def rows_of(rig: Rig, name: str) -> list[dict[str, Any]]:
    return [row for row in rig.rows("usage.priced") if row["event_id"].startswith(name)]


def test_a_price_governs_the_next_events_and_survives_a_restart(rig: Rig) -> None:
    worker = rig.worker().wait_ready()
    rig.send(some_calls("a"))
    rig.wait_settled()

    (written,) = add_prices(rig.bootstrap, of("7"), author="anna", reason="contract 12")
    taken_over(rig, 1)
    rig.send(some_calls("b"))
    rig.wait_settled()
    assert {row["cost_pico"] for row in rows_of(rig, "a")} == {PUBLISHED}
    assert {row["cost_pico"] for row in rows_of(rig, "b")} == {str(1_100 * 7_000_000)}
    (before,) = {row["price_version"] for row in rows_of(rig, "a")}
    (since,) = {row["price_version"] for row in rows_of(rig, "b")}
    assert "+" not in before
    assert "+1 " in since
    (audit,) = read_versions(rig.bootstrap)
    assert audit == written
    assert (audit.version, audit.author, audit.reason) == (1, "anna", "contract 12")

    worker.kill()
    rig.worker().wait_ready()
    rig.send([*some_calls("b"), *some_calls("c")])
    rig.wait_settled()
    check_rows(rig)
    assert {row["price_version"] for row in rows_of(rig, "c")} == {since}
    assert {row["cost_pico"] for row in rows_of(rig, "c")} == {str(1_100 * 7_000_000)}
    assert len(rows_of(rig, "b")) == 30


def test_a_price_that_a_batch_did_not_see_does_not_price_it(rig: Rig) -> None:
    """A worker that was killed: what it had read and not committed is priced as it would have."""
    worker = rig.worker().wait_ready()
    rig.send(some_calls("a"))
    rig.wait_settled()
    worker.kill()
    add_prices(rig.bootstrap, of("7"), author="anna")
    rig.send(some_calls("b"))
    rig.worker().wait_ready()
    rig.wait_settled()
    assert {row["cost_pico"] for row in rows_of(rig, "b")} == {PUBLISHED}
    taken_over(rig, 1)
    rig.send(some_calls("c"))
    rig.wait_settled()
    assert {row["cost_pico"] for row in rows_of(rig, "c")} == {str(1_100 * 7_000_000)}


def test_a_stale_edit_is_refused_and_what_is_there_is_not_written_again(rig: Rig) -> None:
    assert len(add_prices(rig.bootstrap, of("7"), author="anna", expected_version=0)) == 1
    with pytest.raises(StaleEdit, match=r"the prices are at version 1 \(since then by anna\)"):
        add_prices(rig.bootstrap, of("8"), author="ben", expected_version=0)
    assert add_prices(rig.bootstrap, of("7"), author="ben", expected_version=1) == []
    assert [version.author for version in read_versions(rig.bootstrap)] == ["anna"]
