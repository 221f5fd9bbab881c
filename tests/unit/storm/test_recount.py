"""The recount of the storm, on what the core makes of a storm's traffic: it agrees where all is
right, and says so where one thing is wrong."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from spendstream.schemas.partition import partition_of
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import Entry, Overrides
from spendstream.schemas.prices.version import PriceVersion
from spendstream.streams.core.outputs import Row
from spendstream.streams.core.state import InputPosition, StateRecord, encode_json, state_key
from tests.storm.emitter import spoilt
from tests.storm.recount import recount
from tests.storm.recount.differences import Differences
from tests.storm.traffic import ASTRAY_HEADER, EDITED, Sending, Traffic, edit, plans
from tests.support.core import Driver, plan_table
from tests.support.records import NOON, Record

PARTITIONS = 2
TRAFFIC = Traffic(5, 800)


class Kept:
    """A record as the recount reads it."""

    def __init__(self, offset: int, record: Row | Record, arrival_ms: int = 0) -> None:
        self._offset, self._arrival = offset, arrival_ms
        self._headers: Any = []
        if isinstance(record, Record):
            self._key, self._value, self._headers = record.key, record.value, record.headers
        else:
            self._key, self._value = record

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 2, self._arrival


class Logged:
    """Topics in memory."""

    partitions = PARTITIONS

    def __init__(self) -> None:
        self.topics: dict[tuple[str, int], list[Kept]] = defaultdict(list)

    def committed(self, topic: str, partition: int) -> Iterator[Kept]:
        return iter(self.topics[topic, partition])

    def add(self, record: Record) -> None:
        kept = Kept(record.offset, record, record.timestamp)
        self.topics[record.topic, record.partition].append(kept)

    def append(self, topic: str, partition: int, records: Iterable[Row]) -> None:
        kept = self.topics[topic, partition]
        kept += [Kept(len(kept) + i, record) for i, record in enumerate(records)]

    def compact(self, topic: str, partition: int) -> None:
        newest = {kept.key(): kept for kept in self.topics[topic, partition]}
        self.topics[topic, partition] = list(newest.values())

    def change(self, topic: str, change: Any) -> None:
        """Rows of the first partition that has any, as JSON, changed in place by a function."""
        place = next(p for p in range(PARTITIONS) if self.topics[topic, p])
        rows = [json.loads(kept.value() or b"") for kept in self.topics[topic, place]]
        change(rows)
        keys = [kept.key() for kept in self.topics[topic, place]]
        keys += [keys[-1]] * (len(rows) - len(keys))
        self.topics[topic, place] = [
            Kept(i, (keys[i], json.dumps(row).encode())) for i, row in enumerate(rows)
        ]


@pytest.fixture
def log() -> Logged:
    """The traffic, sent in order, through the core; halfway through another price is set."""
    table = plan_table(plans(TRAFFIC))
    drivers = [Driver(table, p, PARTITIONS) for p in range(PARTITIONS)]
    log = Logged()
    now = NOON
    for number in range(TRAFFIC.events):
        if number in (0, TRAFFIC.events // 2):
            end_batches(log, drivers, set_price=number > 0)
        for sending in TRAFFIC.sendings(number):
            now += 40
            record = _record(log, sending, now)
            log.add(record)
            driver = drivers[record.partition]
            driver.take([record])
            for home, key, value in driver.batch.forwarded:
                offset = len(log.topics["workspace.commands", home])
                command = Record("workspace.commands", home, offset, now, key, value, [])
                log.add(command)
                drivers[home].take([command], "workspace.commands")
            driver.batch.forwarded.clear()
    for p, driver in enumerate(drivers):
        driver.advance(now + 120_000)
        closing = driver.finish()
        for topic, rows in driver.rows.items():
            log.topics[topic, p] = [Kept(i, row) for i, row in enumerate(rows)]
        log.append("workspace.checkpoint", p, [*_states(driver), closing.checkpoint[-1]])
        log.append("workspace.state", p, closing.state)
        log.compact("workspace.state", p)
    return log


def end_batches(log: Logged, drivers: list[Driver], *, set_price: bool) -> None:
    """With checkpoints that name a price, if it was set: the next batches are priced by it."""
    if set_price:
        fresh, read, _, output = edit(1)
        price = Entry(
            provider=EDITED[0],
            model=EDITED[1],
            valid_from=datetime(2026, 1, 1, tzinfo=UTC),
            prices={"input": fresh, "cache_read": read, "output": output},
        )
        record = PriceVersion(version=1, entry=price, written_at_ms=0, author="tests")
        log.append("control.prices", 0, [(b"", record.model_dump_json().encode())])
        book = compile_book(Overrides(prices=(price,)))
    for p, driver in enumerate(drivers):
        named = InputPosition(upto=2 * set_price)  # past the marker of its transaction
        driver.state.checkpoint.control["control.prices"] = named
        closing = driver.finish()
        log.append("workspace.checkpoint", p, closing.checkpoint[-1:])
        log.append("workspace.state", p, closing.state)
        if set_price:
            driver.book = book


def _record(log: Logged, sending: Sending, now: int) -> Record:
    """As it comes to lie in `usage.events`."""
    call = TRAFFIC.call(sending.number, now, sending.shift_ms)
    place = partition_of(call.workspace_id, PARTITIONS)
    key, value, headers = call.workspace_id.encode(), call.value(), call.headers()
    if sending.way == "bad":
        kind = spoilt(call, sending.choice)
        offset = len(log.topics["usage.events", place])
        return Record("usage.events", place, offset, now, kind.key, kind.value, kind.headers)
    if sending.way != "emit":
        place = sending.choice % PARTITIONS
        headers = [*headers, (ASTRAY_HEADER, b"1")]
    offset = len(log.topics["usage.events", place])
    return Record("usage.events", place, offset, now, key, value, headers)


def _states(driver: Driver) -> list[Row]:
    return [
        (state_key(ws.id), encode_json(StateRecord((0, 0), ws.id, ws.saved())))
        for ws in driver.state.workspaces.values()
    ]


def found_in(log: Logged) -> Differences:
    return recount(log, None, TRAFFIC, plans(TRAFFIC))


def test_it_agrees_with_the_core_and_each_thing_that_is_wrong_is_found(log: Logged) -> None:
    right = found_in(log)
    assert not right.count, str(right)
    assert right.checked["priced rows"] > TRAFFIC.events * 0.9
    for name in ("alerts", "overage records", "dead letters", "events in a wrong partition"):
        assert right.facts[name], name
    assert right.facts["price versions in rows"] == 2
    assert right.checked["price versions"] == right.checked["priced rows"]

    def cheaper(rows: list[Any]) -> None:
        row = next(row for row in rows if row["cost_pico"])
        row["cost_pico"] = str(int(row["cost_pico"]) - 1)

    def doubled(rows: list[Any]) -> None:
        rows.append(rows[1] | {"seq": rows[-1]["seq"] + 1})

    def lost(rows: list[Any]) -> None:
        del rows[2]

    def replaced(rows: list[Any]) -> None:
        rows[2] = rows[1] | {"seq": rows[2]["seq"]}

    def used_more(rows: list[Any]) -> None:
        rows[0]["used"] = str(int(rows[0]["used"]) + 1)

    def another_reason(rows: list[Any]) -> None:
        rows[0]["reason"] = "invalid_json" if rows[0]["reason"] != "invalid_json" else "too_old"

    def miscounted(rows: list[Any]) -> None:
        state = next(row["state"] for row in rows if "state" in row)
        state["total"]["input_tokens"] += 1

    def charged_more(rows: list[Any]) -> None:
        row = next(row for row in rows if row["charge_pico"])
        row["charge_pico"] = str(int(row["charge_pico"]) + 1)

    def by_older_prices(rows: list[Any]) -> None:
        rows[-1]["price_version"] = rows[0]["price_version"]

    def by_prices_that_are_none(rows: list[Any]) -> None:
        rows[-1]["price_version"] = "genai-prices 0.2.3+2 83019aeee49b"

    def other_prices_of_that_name(rows: list[Any]) -> None:
        rows[-1]["price_version"] = rows[-1]["price_version"][:-1] + "?"

    def named_before(rows: list[Any]) -> None:
        """So its batch had to be priced by what was set only later."""
        rows[0]["control"]["control.prices"]["upto"] = 2

    def another_price(rows: list[Any]) -> None:
        rows[0]["entry"]["prices"]["input"] = "1"

    def another_step(rows: list[Any]) -> None:
        rows[0]["to_cumulative_pico"] = str(int(rows[0]["to_cumulative_pico"]) + 1)

    def another_id(rows: list[Any]) -> None:
        rows[0]["id"] = rows[1]["id"]

    def published_before(rows: list[Any]) -> None:
        rows[-1]["requests"] -= 1

    def beaten_before(rows: list[Any]) -> None:
        rows[0]["late_resolved"] -= 1

    def never_published(rows: list[Any]) -> None:
        del rows[-1]

    for topic, change, names in (
        ("usage.priced", cheaper, {"priced rows"}),
        ("usage.priced", charged_more, {"priced rows"}),
        ("usage.priced", by_older_prices, {"price versions"}),
        ("usage.priced", by_prices_that_are_none, {"price versions"}),
        ("usage.priced", other_prices_of_that_name, {"price versions"}),
        ("workspace.checkpoint", named_before, {"price versions"}),
        ("control.prices", another_price, {"prices set"}),
        ("usage.priced", doubled, {"events priced twice"}),
        ("usage.priced", lost, {"events lost", "seq of usage.priced"}),
        ("usage.priced", replaced, {"events lost", "events priced twice"}),
        ("usage.alerts", used_more, {"alerts"}),
        ("usage.alerts", lost, {"alerts", "seq of usage.alerts"}),
        ("usage.alerts", another_id, {"alert ids"}),
        ("usage.dead", another_reason, {"dead letters"}),
        ("usage.dead", doubled, {"dead letters"}),
        ("usage.overage", another_step, {"overage cumulatives"}),
        ("usage.overage", another_id, {"overage ids"}),
        ("workspace.state", published_before, {"workspaces in workspace.state"}),
        ("workspace.state", never_published, {"workspaces in workspace.state"}),
        ("workspace.state", beaten_before, {"heartbeats in workspace.state"}),
        ("workspace.checkpoint", miscounted, set()),
    ):
        before = {place: list(kept) for place, kept in log.topics.items()}
        log.change(topic, change)
        wrong = found_in(log)
        assert wrong.count, (topic, change)
        assert names <= wrong.found.keys(), (topic, change, str(wrong))
        log.topics.clear()
        log.topics.update(before)
