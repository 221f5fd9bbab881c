"""Events through the core and the sinks' own insert, without a broker: figures to look at.

The worker and the loader around these two parts have tests of their own; here the rows, rollups
and mirrors they leave are what matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from spendstream.deploy.manifest import writing
from spendstream.producers import cloudevent
from spendstream.schemas import Plan, PlanVersion, Trackable, Usage, UsageEvent
from spendstream.schemas.partition import partition_of
from spendstream.schemas.prices.overrides import Alias, Entry, Overrides, parse_overrides
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.topics import (
    CONTROL_PLANS,
    CONTROL_PRICES,
    USAGE_EVENTS,
    WORKSPACE_COMMANDS,
)
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.migrate import migrate
from spendstream.sinks.clickhouse.store import Store
from spendstream.sinks.clickhouse.tables import TABLES
from spendstream.streams.core.finish import finish
from spendstream.streams.core.outputs import Batch
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.price_table import PriceTable
from spendstream.streams.core.process import process
from spendstream.streams.core.state import InputPosition, PartitionState
from tests.servers.clickhouse import ClickHouseServer

PARTITIONS = 2
NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
HEADERS = Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class Record:
    """A Kafka record as the core reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: HEADERS


@dataclass(frozen=True, slots=True)
class Sent:
    """An event with its id and times in milliseconds."""

    id: str
    time_ms: int
    arrival_ms: int
    event: UsageEvent


Said = tuple[str, str, str, str, dict[str, Any]]
"""Event id, workspace, provider, model, and what else the event says."""


def calls(said: Iterable[Said], usage: Usage, first_ms: int) -> Iterator[Sent]:
    """A millisecond apart, each with that usage unless it says another."""
    for n, (event_id, workspace, provider, model, more) in enumerate(said):
        said_too: dict[str, Any] = {"usage": usage} | more
        event = UsageEvent(
            provider=provider, response_model=model, workspace_id=workspace, **said_too
        )
        yield Sent(event_id, first_ms + n, first_ms + n, event)


@contextmanager
def filled(clickhouse: ClickHouseServer, database: str) -> Iterator[Figures]:
    """A new database, which goes at the end."""
    admin = clickhouse.client()
    admin.command(f"DROP DATABASE IF EXISTS {database}")
    figures = Figures(clickhouse.client(), database, clickhouse.url)
    yield figures
    figures.client.close()
    admin.command(f"DROP DATABASE {database}")
    admin.close()


@dataclass(slots=True)
class Figures:
    """A database being filled. `load` may be called several times."""

    client: Client
    database: str
    url: str
    plans: PlanTable = field(default_factory=PlanTable)
    prices: PriceTable = field(default_factory=PriceTable)
    price_records: int = 0
    states: dict[int, PartitionState] = field(default_factory=dict)
    tokens: int = 0

    def __post_init__(self) -> None:
        migrate(self.client, self.database)
        for partition in range(PARTITIONS):
            self.states[partition] = PartitionState(partition, PARTITIONS)

    @property
    def store(self) -> Store:
        return Store(LoaderConfig("none:9092", self.url, self.database))

    def set_plans(self, plans: Mapping[str | None, Plan], at_ms: int = 0) -> None:
        """As the control writer would, with the mirror of its topic."""
        rows = []
        for number, (workspace, plan) in enumerate(plans.items(), self.plans.revision + 1):
            version = PlanVersion(
                version=number,
                workspace_id=workspace,
                plan=plan,
                effective_from_ms=at_ms,
                written_at_ms=at_ms,
                author="test",
            )
            self.plans.add(version)
            text = version.model_dump_json()
            rows.append([CONTROL_PLANS, 0, number - 1, workspace or "", text])
        self.store.put("mirror_control", ["topic", "partition", "offset", "key", "value"], rows)

    def add_prices(self, said: Overrides, at_ms: int = 0) -> None:
        """As the control writer would, with the mirror of its topic; in force from here on."""
        rows = []
        new: tuple[Entry | Alias, ...] = (*said.prices, *said.aliases)
        for one in new:
            version = PriceVersion(
                version=self.price_records + 1,
                entry=one if isinstance(one, Entry) else None,
                alias=one if isinstance(one, Alias) else None,
                written_at_ms=at_ms,
                author="test",
            )
            self.prices.add(version, self.price_records)
            rows.append([CONTROL_PRICES, 0, self.price_records, "", version.model_dump_json()])
            self.price_records += 1
        self.store.put("mirror_control", ["topic", "partition", "offset", "key", "value"], rows)

    def load(
        self,
        sent: Iterable[Sent],
        raw: Iterable[tuple[int, Record]] = (),
        *,
        mirrored: bool = True,
    ) -> None:
        """Events, and other records given with their partition, through core and insert."""
        records: dict[int, list[Record]] = {partition: [] for partition in self.states}
        for item in sent:
            partition = partition_of(item.event.workspace_id, PARTITIONS)
            records[partition].append(record_of(item))
        for partition, record in raw:
            records[partition].append(record)
        for partition, state in self.states.items():
            start = state.checkpoint.inputs[USAGE_EVENTS].upto
            for number, record in enumerate(records[partition]):
                record.partition, record.offset = partition, start + number
            self._batch(state, USAGE_EVENTS, records[partition], mirrored)

    def misroute(
        self, sent: Iterable[Sent], home: int, *, forwarded: bool, taken: bool | None
    ) -> None:
        """Events of partition `home` that came to another one, which sent them on.

        Args:
            forwarded: whether the other partition's checkpoint is mirrored.
            taken: the same of `home`; None where nothing got there.
        """
        other = self.states[(home + 1) % PARTITIONS]
        upto = other.checkpoint.inputs[USAGE_EVENTS].upto
        records = [record_of(item) for item in sent]
        for number, record in enumerate(records):
            record.partition, record.offset = other.checkpoint.partition, upto + number
        commands = self._batch(other, USAGE_EVENTS, records, forwarded)
        assert [partition for partition, _, _ in commands] == [home] * len(records)
        if taken is not None:
            own = self.states[home]
            upto = own.checkpoint.inputs[WORKSPACE_COMMANDS].upto
            arrived = [
                Record(WORKSPACE_COMMANDS, home, upto + number, record.timestamp, key, value, ())
                for number, (record, (_, key, value)) in enumerate(
                    zip(records, commands, strict=True)
                )
            ]
            self._batch(own, WORKSPACE_COMMANDS, arrived, taken)

    def resolve(
        self, home: int, commands: Sequence[bytes], arrival_ms: int, *, mirrored: bool
    ) -> None:
        """What the late lane's resolver found out about late rows of partition `home`."""
        upto = self.states[home].checkpoint.inputs[WORKSPACE_COMMANDS].upto
        arrived = [
            Record(WORKSPACE_COMMANDS, home, upto + number, arrival_ms, b"k", value, ())
            for number, value in enumerate(commands)
        ]
        self._batch(self.states[home], WORKSPACE_COMMANDS, arrived, mirrored)

    def _batch(
        self, state: PartitionState, topic: str, records: list[Record], mirrored: bool
    ) -> list[tuple[int, bytes, bytes]]:
        """Returns what it forwards: partition, key, value."""
        batch = Batch()
        process(state, batch, topic, records, self.prices.book(self.price_records), self.plans)
        control = state.checkpoint.control
        control[CONTROL_PLANS] = InputPosition(upto=self.plans.revision)
        control[CONTROL_PRICES] = InputPosition(upto=self.price_records)
        closing = finish(state, batch)
        partition = state.checkpoint.partition
        for output, rows in batch.rows.items():
            if rows:
                self.tokens += 1
                self.store.insert(TABLES[output], [value for _, value in rows], f"t{self.tokens}")
        if mirrored:
            version = state.checkpoint.batch << 20
            self.store.put(
                "mirror_checkpoint",
                ["partition", "key", "value", "epoch", "offset", "version"],
                [
                    [
                        partition,
                        (key or b"").decode(),
                        value.decode(),
                        "e",
                        number,
                        version + number,
                    ]
                    for number, (key, value) in enumerate(closing.checkpoint)
                ],
            )
        return batch.forwarded


def record_of(item: Sent) -> Record:
    headers: HEADERS = [
        (name, value.encode() if isinstance(value, str) else value)
        for name, value in cloudevent.headers(item.id.encode(), b"test", item.time_ms)
    ]
    event = item.event
    return Record(
        USAGE_EVENTS,
        0,
        0,
        item.arrival_ms,
        event.workspace_id.encode(),
        cloudevent.encode(event),
        headers,
    )


CHARGED: dict[str | None, Plan] = {
    "ws-3": Plan(markup_percent="12.5", counted_cost="reported", overage=True, credit_pico=10**10),
    "ws-4": Plan(
        markup_percent="0.000001",
        prices=parse_overrides(
            {
                "prices": [
                    {
                        "provider": "openai",
                        "model": model,
                        "valid_from": "2026-11-25",
                        "prices": {"input": "3.3", "cache_read": "0.7", "output": "0"},
                    }
                    for model in ("gpt-4o", "no-such-model")
                ]
            }
        ).prices,
    ),
}
"""Plans that charge otherwise than the cost."""

PRICES = parse_overrides(
    {
        "prices": [
            {
                "provider": "anthropic",
                "model": "claude-sonnet-4*",
                "valid_from": "2026-01-01",
                "prices": {"input": "2.999999", "output": "1"},
            }
        ],
        "aliases": [
            {
                "provider": "openai",
                "model": "no-such*",
                "valid_from": "2026-12-01",
                "same_as": {"provider": "openai", "model": "gpt-4o-mini"},
            }
        ],
    }
)
"""The operator's, for some of the events."""


def some_events(count: int = 600, start_ms: int = NOON, step_ms: int = 450_000) -> list[Sent]:
    """Events of every kind that a report can tell apart, over some three days."""
    models = [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("openai", "no-such-model"),
    ]
    sent = []
    for n in range(count):
        provider, model = models[n % 17 % 4]
        workspace = f"ws-{n % 5}"
        blocked, unknown = n % 31 == 0, n % 37 == 0
        usage = Usage(
            input_tokens=500 + n * 37 % 5_000,
            output_tokens=n * 11 % 900,
            cache_read_input_tokens=n % 300,
            cache_write_input_tokens=n % 50,
            reasoning_output_tokens=0,
        )
        time_ms = start_ms + n * step_ms
        event = UsageEvent(
            provider=provider,
            response_model=model,
            usage=None if blocked or unknown else usage,
            workspace_id=workspace,
            user_id=f"user-{n % 7}" if n % 3 else None,
            api_key_id=f"key-{n % 2}" if n % 5 else None,
            request_type=("chat", "grading", None)[n % 3],
            task_id=f"task-{n % 9}" if n % 4 == 0 else None,
            trackable=Trackable(type="doc", id=f"d-{n % 6}") if n % 6 == 0 else None,
            tags={"team": f"t{n % 3}"} if n % 2 else {},
            status="blocked" if blocked else "ok",
            usage_quality="estimated" if n % 13 == 0 else "measured",
            reported_cost_pico=f"{n}000000001" if n % 8 == 0 else None,
        )
        sent.append(Sent(f"e-{n}", time_ms, time_ms + 20, event))
    return sent


def write_manifest(directory: Path, sent: Iterable[Sent]) -> None:
    with writing(directory, "test") as manifest:
        for item in sent:
            manifest.add(item.id, item.time_ms, item.event)


def refused(arrival_ms: int, value: bytes | None, event_id: str = "bad") -> Record:
    """A record that the core refuses."""
    headers: HEADERS = [
        (name, text.encode() if isinstance(text, str) else text)
        for name, text in cloudevent.headers(event_id.encode(), b"test", arrival_ms)
    ]
    return Record(USAGE_EVENTS, 0, 0, arrival_ms, b"k\xff", value, headers)
