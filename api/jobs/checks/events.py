"""Event by event: what the senders said, recounted, against the raw rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.checks.difference import Difference, difference
from spendstream.api.jobs.checks.judges import Judges
from spendstream.api.jobs.recount import Counted, Recount, Sums, counted, month_of
from spendstream.api.jobs.recount_prices import EXACT, ZERO, Prices
from spendstream.api.reports import plain
from spendstream.schemas.prices.version import record_number

Key = tuple[str, str]


class RawRow(NamedTuple):
    """A row of usage_raw. Times in milliseconds, money in USD; None: absent."""

    workspace_id: str
    event_id: str
    partition: int
    seq: int
    time_ms: int
    arrival_ms: int
    counted_ms: int
    judged_ms: int
    user_id: str
    provider: str
    model: str
    request_type: str
    status: str
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    reasoning_output_tokens: int
    usage_details: dict[str, int]
    other_models: list[str]
    image_size: str
    image_quality: str
    service_tier: str
    batch: bool
    region: str
    reported_cost_pico: int | None
    computed_cost: Decimal | None
    cost: Decimal | None
    charge: Decimal | None
    input_cost: Decimal
    output_cost: Decimal
    leaves_cost: int
    cost_quality: str
    price_version: str
    plan_version: int
    billing_period: str
    origin_period: str


_COLUMNS: Final = """
    workspace_id, event_id, partition, seq, toUnixTimestamp64Milli(time),
    toUnixTimestamp64Milli(arrival), toUnixTimestamp64Milli(counted),
    toUnixTimestamp64Milli(judged), user_id, provider, model, request_type,
    status, input_tokens, output_tokens, cache_read_input_tokens,
    cache_write_input_tokens, reasoning_output_tokens, usage_details, other_models, image_size,
    image_quality, service_tier, batch, region,
    toInt128(reported_cost * toDecimal128('1000000000000', 0)), computed_cost, cost, charge,
    input_cost, output_cost, arraySum(leaf -> leaf.cost_pico, leaves), cost_quality, price_version,
    plan_version, billing_period, origin_period
"""


@dataclass(slots=True)
class Expected:
    """What the rows should add up to, with costs of the recount; by workspace, and by month.

    Attributes:
        booked: charge by (workspace, billing period), USD.
        plan_versions: which plans judged a (workspace, billing period).
        outside: how many rows no manifest knows.
    """

    totals: dict[str, Sums] = field(default_factory=dict)
    months: dict[Key, Sums] = field(default_factory=dict)
    booked: dict[Key, Decimal] = field(default_factory=dict)
    plan_versions: dict[Key, set[int]] = field(default_factory=dict)
    events: int = 0
    outside: int = 0


def read_raw(client: Client) -> Iterator[RawRow]:
    """All raw rows, by partition and seq."""
    query = f"SELECT {_COLUMNS} FROM usage_raw ORDER BY partition, seq"
    with client.query_row_block_stream(query) as blocks:
        for block in blocks:
            for row in block:
                yield RawRow(*row)


def check_events(
    client: Client,
    manifests: Recount | None,
    expected: Expected,
    late_resolved: Mapping[int, int],
    judges: Judges,
) -> Iterator[Difference]:
    """Compare each raw row with its event's recount, and fill `expected` on the way.

    Rows that no manifest knows are recounted from their own usage.

    Args:
        late_resolved: by partition, how far late rows are resolved: what they were must be there.
        judges: of rows that no manifest knows.
    """
    prices = Prices()
    books: dict[int, int] = {}
    known = manifests or {}
    seen: set[Key] = set()
    for row in read_raw(client):
        key = (row.workspace_id, row.event_id)
        where = {"workspace": row.workspace_id, "event": row.event_id}
        if key in seen:
            yield difference("an event is counted twice", 1, 2, **where)
            continue
        seen.add(key)
        event = known.get(key)
        if event is None:
            expected.outside += 1
            judge = judges.of(row.price_version, row.plan_version)
            event = counted(key, row._asdict() | row.usage_details, judge, prices)
        yield from _compare(row, event, where)
        book = record_number(row.price_version)
        if book < books.get(row.partition, 0):  # a price that held before is taken back
            yield difference("prices of an event", books[row.partition], book, **where)
        books[row.partition] = book
        _add(expected, row, event)
    yield from _missing(client, known, seen, late_resolved)


def check_sums(client: Client, expected: Expected) -> Iterator[Difference]:
    """The database's own sums over the raw rows against the recount's, by workspace."""
    rows = client.query(
        "SELECT workspace_id, count(), sum(ifNull(input_tokens, 0)), "
        "sum(ifNull(output_tokens, 0)), sum(ifNull(cost, 0)), sum(ifNull(charge, 0)), "
        "countIf(isNull(cost)) FROM usage_raw GROUP BY workspace_id"
    ).result_rows
    found = {str(row[0]): row[1:] for row in rows}
    for workspace in sorted(expected.totals.keys() | found.keys()):
        sums = expected.totals.get(workspace, Sums())
        right: tuple[Decimal | int, ...] = (
            sums.requests,
            sums.input_tokens,
            sums.output_tokens,
            sums.cost,
            sums.charge,
            sums.unpriced,
        )
        for name, wanted, stored in zip(
            ("requests", "input_tokens", "output_tokens", "cost", "charge", "unpriced"),
            right,
            found.get(workspace, (0,) * 6),
            strict=True,
        ):
            if wanted != stored:
                yield difference(
                    f"raw rows: {name}", plain(wanted), plain(stored), workspace=workspace
                )


def _compare(row: RawRow, event: Counted, where: Mapping[str, object]) -> Iterator[Difference]:
    for name, right, stored in (
        ("time_ms", event.time_ms, row.time_ms),
        ("counted_ms", min(event.time_ms, row.arrival_ms), row.counted_ms),
        ("judged_ms", max(row.arrival_ms, row.judged_ms), row.judged_ms),
        ("user_id", event.user_id or "", row.user_id),
        ("provider", event.provider, row.provider),
        ("model", event.model, row.model),
        ("request_type", event.request_type or "", row.request_type),
        ("status", event.status, row.status),
        ("input_tokens", event.input_tokens, row.input_tokens or 0),
        ("output_tokens", event.output_tokens, row.output_tokens or 0),
        ("cost", _usd(event.cost), _usd(row.cost)),
        ("charge", _usd(event.charge), _usd(row.charge)),
        ("computed cost", _usd(event.computed), _usd(row.computed_cost)),
        ("input cost", _usd(event.input_cost), _usd(row.input_cost)),
        ("output cost", _usd(event.output_cost), _usd(row.output_cost)),
        ("unpriced", event.cost is None, row.cost_quality == "unpriced"),
        (
            "sum of leaves",
            _usd(event.computed or Decimal(0)),
            _usd(Decimal(row.leaves_cost).scaleb(-12)),
        ),
    ):
        if right != stored:
            yield difference(f"an event's {name}", right, stored, **where)
    own = month_of(row.counted_ms)
    if (row.origin_period or row.billing_period) != own or row.billing_period < own:
        yield difference(
            "an event's billing period",
            own,
            f"{row.billing_period} (origin {row.origin_period or 'the same'})",
            **where,
        )


def _add(expected: Expected, row: RawRow, event: Counted) -> None:
    expected.events += 1
    workspace = row.workspace_id
    month = (workspace, month_of(row.counted_ms))
    billing = (workspace, row.billing_period)
    expected.totals.setdefault(workspace, Sums()).add(event)
    expected.months.setdefault(month, Sums()).add(event)
    expected.booked[billing] = EXACT.add(expected.booked.get(billing, ZERO), event.charge or ZERO)
    expected.plan_versions.setdefault(billing, set()).add(row.plan_version)


def _missing(
    client: Client,
    known: Mapping[Key, Counted],
    seen: set[Key],
    late_resolved: Mapping[int, int],
) -> Iterator[Difference]:
    """Events of the manifests that have no row, unless a late or refused record explains it."""
    missing = known.keys() - seen
    if not missing:
        return
    explained = _late(client, late_resolved) | _dead(client)
    for workspace, event in sorted(missing - explained):
        yield difference(
            "an event that was sent is not stored", 1, 0, workspace=workspace, event=event
        )


def _late(client: Client, resolved: Mapping[int, int]) -> set[Key]:
    """Late events that are still to be resolved."""
    rows = client.query("SELECT workspace_id, event_id, partition, seq FROM late").result_rows
    return {
        (str(workspace), str(event))
        for workspace, event, partition, seq in rows
        if seq > resolved.get(int(partition), 0)
    }


def _dead(client: Client) -> set[Key]:
    """(workspace, id) of refused records, of those that can be read at all."""
    rows = client.query(
        "SELECT arrayFirst(h -> h.name = 'ce_id', record_headers).value, record_value "
        "FROM dead_letters"
    ).result_rows
    found = set()
    for event_id, value in rows:
        try:
            workspace = json.loads(value)["workspace_id"]
        except (ValueError, TypeError, KeyError):
            continue
        found.add((str(workspace), str(event_id)))
    return found


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
