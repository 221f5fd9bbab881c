"""Drives the core over records, in batches of the caller's choosing, and keeps what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec

from spendstream.schemas.plan import Limit, Plan, PlanVersion
from spendstream.schemas.prices.book import PriceBook
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.overrides import Entry
from spendstream.schemas.topics import SEQUENCED, USAGE_ALERTS, USAGE_EVENTS, USAGE_OVERAGE
from spendstream.streams.core.finish import Closing, finish
from spendstream.streams.core.outputs import Batch, Row
from spendstream.streams.core.plans import PlanTable
from spendstream.streams.core.process import process
from spendstream.streams.core.schedule import KEEP_MONTHS_MS, advance
from spendstream.streams.core.state import PartitionState
from tests.support.oracle import HOUR, AlertFact, OverageFact, PlanFact
from tests.support.records import Record, month_start

BOOK = compile_book()


def plan_table(facts: Iterable[PlanFact]) -> PlanTable:
    table = PlanTable()
    for fact in facts:
        table.add(plan_version(fact))
    return table


def plan_version(fact: PlanFact) -> PlanVersion:
    limits = tuple(Limit.model_validate(limit._asdict()) for limit in fact.limits)
    return PlanVersion(
        version=fact.version,
        workspace_id=fact.workspace_id,
        plan=Plan(
            credit_pico=fact.credit,
            limits=limits,
            overage=fact.overage,
            markup_percent=fact.markup,
            prices=tuple(
                Entry(
                    provider=provider,
                    model=model,
                    valid_from=datetime(2020, 1, 1, tzinfo=UTC),
                    prices={"input": price_in, "output": price_out},
                )
                for provider, model, price_in, price_out in fact.own
            ),
            counted_cost="reported" if fact.reported else "computed",
        ),
        effective_from_ms=fact.from_ms,
        written_at_ms=0,
        author="tests",
    )


@dataclass
class Driver:
    """A partition of the core. `rows` are what its transactions would have written."""

    plans: PlanTable = field(default_factory=PlanTable)
    partition: int = 0
    partitions: int = 1
    book: PriceBook = BOOK
    rows: dict[str, list[Row]] = field(default_factory=lambda: {t: [] for t in SEQUENCED})
    published: list[dict[str, Any]] = field(default_factory=list)
    forwarded: list[tuple[int, bytes, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = PartitionState(self.partition, self.partitions)
        self.batch = Batch()

    def take(self, records: Sequence[Record], topic: str = USAGE_EVENTS) -> None:
        """One `process` call."""
        process(self.state, self.batch, topic, records, self.book, self.plans)

    def take_mixed(self, records: Sequence[Record]) -> None:
        """Records of both inputs in the order given: a call for each stretch of one input."""
        for topic, stretch in groupby(records, key=lambda record: record.topic):
            self.take(list(stretch), topic)

    def advance(self, until_ms: int) -> None:
        advance(self.state, self.batch, self.plans, until_ms)
        self.state.ids.forget(until_ms)

    def finish(self) -> Closing:
        """End the batch, begin the next."""
        closing = finish(self.state, self.batch)
        for topic, rows in self.batch.rows.items():
            self.rows[topic].extend(rows)
        self.forwarded.extend(self.batch.forwarded)
        self.published.extend(json.loads(value) for _, value in closing.state)
        self.batch = Batch()
        return closing

    def run(self, records: Sequence[Record]) -> Driver:
        """All of it in one batch."""
        self.take_mixed(records)
        self.finish()
        return self

    def decoded(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(value) for _, value in self.rows[topic]]

    def alerts(self) -> list[AlertFact]:
        return [AlertFact.of(row) for row in self.decoded(USAGE_ALERTS)]

    def overage(self) -> list[OverageFact]:
        return [
            OverageFact(
                row["workspace_id"],
                row["period"],
                row["revision"],
                int(row["from_cumulative_pico"]),
                int(row["to_cumulative_pico"]),
                row["at_ms"],
                row["final"],
            )
            for row in self.decoded(USAGE_OVERAGE)
        ]

    def checkpoint(self) -> dict[str, Any]:
        """All of it but the number of the batch, which counts the splits."""
        checkpoint: dict[str, Any] = msgspec.to_builtins(self.state.checkpoint)
        del checkpoint["batch"]
        return checkpoint

    def workspaces(self) -> dict[str, dict[str, Any]]:
        """What is saved of each workspace, less what depends on when it was last looked at."""
        saved = {}
        now = self.state.time_ms
        for name, ws in self.state.workspaces.items():
            ws.slide(now // 1000)
            plain: dict[str, Any] = msgspec.to_builtins(ws.saved(), str_keys=True)
            plain.pop("unpublished", None)
            for month in plain["months"].values():
                del month["next_alarm"]  # a short cut, worked out again with each plan
            plain["months"] = {
                period: kept
                for period, kept in plain["months"].items()
                if now < month_start(_next(period)) + HOUR + KEEP_MONTHS_MS
            }
            plain["episodes"] = {
                key: kept
                for key, kept in plain["episodes"].items()
                if "\n" not in key or key.split("\n")[1] in plain["months"]
            }
            plain["sums"] = list(ws.sums)
            saved[name] = plain
        return saved


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12}-{number % 12 + 1:02}"
