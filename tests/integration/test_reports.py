"""Reports against plain sums over the raw rows, on a real ClickHouse engine."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any, get_args

import pytest
from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.recount_prices import Prices
from spendstream.api.lifetimes import lifetime
from spendstream.api.records import alerts, dead_letter_counts, dead_letters, overage
from spendstream.api.reports import GROUPS, Row, build, plain, report
from spendstream.api.summary import summary
from spendstream.schemas import Plan, Usage, UsageEvent
from spendstream.schemas.records import CostQuality
from tests.integration.stored import NOON, Figures, Sent, refused, some_events
from tests.servers.clickhouse import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("reports")]

ALL_GROUPS = ["tag:team" if group == "tag" else group for group in GROUPS]
KINDS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("embedding", "embeddings", "openai/text-embedding-3-small", {"output_tokens": 0}),
    ("rerank", "rerank", "cohere/rerank-v3.5", {"search_units": 3}),
    ("image_generation", "image_generation", "openai/gpt-image-1", {"image_output_tokens": 40}),
    ("image_generation", "chat", "gcp.gemini/gemini-2.5-flash-image", {"image_output_tokens": 40}),
    ("image_generation", "image_generation", "openai/no-such-model", {"images": 2}),
    ("video_generation", "video_generation", "openai/no-such-model", {}),
    ("audio", "transcription", "groq/whisper-large-v3", {"audio_input_ms": 60_000}),
    ("audio", "chat", "gcp.gemini/gemini-2.5-flash", {"audio_input_tokens": 90}),
    ("audio", "speech", "openai/no-such-model", {}),
    ("vision", "chat", "gcp.gemini/gemini-2.5-flash", {"image_input_tokens": 90}),
    ("document", "chat", "mistral_ai/mistral-ocr-latest", {"pages": 7}),
    ("chat", "chat", "openai/gpt-4o", {"web_searches": 2}),
    ("chat", "text_completion", "openai/gpt-4o", {}),
]
"""Kind, operation, model, what was used beside 100 tokens of input and 50 of output."""


def of_every_kind() -> list[Sent]:
    """Ids begin with the kind."""
    sent = []
    for n, (kind, operation, model, used) in enumerate(KINDS):
        provider, _, name = model.partition("/")
        time_ms = NOON + 1_000 * n
        event = UsageEvent(
            provider=provider,
            operation=operation,
            response_model=name,
            usage=Usage(**{"input_tokens": 100, "output_tokens": 50, **used}),
            workspace_id="ws-1",
            task_id="of-every-kind",
        )
        sent.append(Sent(f"{kind}/{n}", time_ms, time_ms + 20, event))
    return sent


EVENTS = [*of_every_kind(), *some_events()]
PRICES = Prices()
COSTS = {
    sent.id: PRICES.cost(
        sent.event.model_dump()
        | (sent.event.usage.model_dump() if sent.event.usage else {})
        | {"model": sent.event.model, "time_ms": sent.time_ms}
    )
    for sent in EVENTS
}
"""Recounted by the arithmetic of `verify`, which shares no code with the worker's."""
NOON_TIME = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouseServer) -> Iterator[Client]:
    admin = clickhouse.client()
    database = f"reports_test_{os.getpid()}"  # xdist workers share the server
    admin.command(f"DROP DATABASE IF EXISTS {database}")
    admin.command(f"CREATE DATABASE {database}")
    connected = clickhouse.client(database)
    figures = Figures(connected, database, clickhouse.url)
    figures.set_plans({None: Plan(credit_pico=10**11, overage=True)})
    odd = [(0, refused(NOON, b"\x00\xff{")), (1, refused(NOON, None)), (0, refused(NOON, b"[]"))]
    figures.load(EVENTS, odd)
    yield connected
    connected.close()
    admin.command(f"DROP DATABASE {database}")
    admin.close()


def by_hand(groups: list[str], events: list[Sent] = EVENTS) -> list[Row]:
    """Every figure by group, from the events themselves; costs by the recount's arithmetic."""
    found: dict[tuple[Any, ...], list[Sent]] = {}
    for sent in events:
        names = tuple(name_of(group, sent) for group in groups)
        if any(n is None for g, n in zip(groups, names, strict=True) if g in ("task", "trackable")):
            continue
        found.setdefault(names, []).append(sent)
    ordered = sorted(found.items(), key=lambda item: tuple(name or "" for name in item[0]))
    return [dict(zip(groups, names, strict=True)) | figures(groups, of) for names, of in ordered]


def figures(groups: list[str], events: list[Sent]) -> Row:
    usages = [sent.event.usage for sent in events if sent.event.usage]
    costs = [COSTS[sent.id] for sent in events]
    known = [cost for cost in costs if cost is not None]
    input_tokens = sum(usage.input_tokens for usage in usages)
    output_tokens = sum(usage.output_tokens for usage in usages)
    charge = plain(sum((cost.total for cost in known), Decimal(0)))
    row: Row = {
        "requests": len(events),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "cost_usd": charge,
        "input_cost_usd": plain(sum((cost.input for cost in known), Decimal(0))),
        "output_cost_usd": plain(sum((cost.output for cost in known), Decimal(0))),
        "other_cost_usd": plain(sum((cost.other for cost in known), Decimal(0))),
        "charge_usd": charge,
        "by_quality": {},
        "unpriced_requests": costs.count(None),
    }
    for quality in get_args(CostQuality):
        of = [sent for sent in events if name_of("quality", sent) == quality]
        own = [cost.total for sent in of if (cost := COSTS[sent.id]) is not None]
        amount = plain(sum(own, Decimal(0)))
        row["by_quality"][quality] = {
            "requests": len(of),
            "cost_usd": amount,
            "charge_usd": amount,
        }
    if "task" in groups or "trackable" in groups:
        times = [datetime.fromtimestamp(sent.time_ms / 1000, UTC) for sent in events]
        row["models"] = sorted({f"{s.event.provider}/{s.event.model}" for s in events})
        row["first_call"], row["last_call"] = (
            moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            for moment in (min(times), max(times))
        )
    return row


def name_of(group: str, sent: Sent) -> str | None:
    event, moment = sent.event, datetime.fromtimestamp(sent.time_ms / 1000, UTC)
    match group:
        case "workspace":
            return event.workspace_id
        case "user":
            return event.user_id
        case "task":
            return event.task_id
        case "api_key":
            return event.api_key_id
        case "trackable":
            return f"{event.trackable.type}/{event.trackable.id}" if event.trackable else None
        case "tag:team":
            return event.tags.get("team")
        case "quality":
            return "unpriced" if COSTS[sent.id] is None else event.usage_quality
        case "kind":
            return sent.id.partition("/")[0] if "/" in sent.id else "chat"
        case "hour":
            return f"{moment:%Y-%m-%dT%H:00:00Z}"
        case "day":
            return f"{moment:%Y-%m-%d}"
        case "month":
            return f"{moment:%Y-%m}"
    value: str | None = getattr(event, group)
    return value


@pytest.mark.parametrize(
    "groups",
    [[], *([g] for g in ALL_GROUPS), *(list(pair) for pair in combinations(ALL_GROUPS, 2))],
    ids=lambda groups: "+".join(groups) or "none",
)
def test_every_group_equals_the_events_and_the_raw_rows(client: Client, groups: list[str]) -> None:
    rows = report(client, groups)
    assert rows == by_hand(groups)
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal(from_raw(client, groups))
    for row in rows:
        sides = [Decimal(row[f"{side}_cost_usd"]) for side in ("input", "output", "other")]
        assert sum(sides) == Decimal(row["cost_usd"])
        for name in (name for name in row if name.endswith("_usd")):
            text = row[name]
            assert "E" not in text
            assert "." not in text or text[-1] not in "0."


def from_raw(client: Client, groups: list[str]) -> str:
    only = [f"{g}_id != ''" for g in groups if g in ("task", "trackable")]
    where = f" WHERE {' AND '.join(only)}" if only else ""
    return str(client.query(f"SELECT toString(sum(cost)) FROM usage_raw{where}").result_rows[0][0])


@pytest.mark.parametrize("groups", [["workspace"], ["provider", "hour"], ["user", "day"]])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON_TIME + timedelta(hours=12), None),
        (None, NOON_TIME + timedelta(hours=30)),
        (NOON_TIME + timedelta(minutes=15), NOON_TIME + timedelta(hours=7)),
        (NOON_TIME + timedelta(milliseconds=1), NOON_TIME + timedelta(hours=1, seconds=7)),
    ],
)
def test_bounds_are_from_inclusive_to_exclusive(
    client: Client, groups: list[str], start: datetime | None, end: datetime | None
) -> None:
    low = start.timestamp() * 1000 if start else 0
    high = end.timestamp() * 1000 if end else 1e15
    inside = [sent for sent in EVENTS if low <= sent.time_ms < high]
    assert report(client, groups, start, end) == by_hand(groups, inside)


@pytest.mark.parametrize(("what", "name"), [("task", "of-every-kind"), ("trackable", "doc/d-0")])
def test_a_lifetime_is_all_of_a_task_or_trackable(client: Client, what: Any, name: str) -> None:
    inside = [s for s in EVENTS if s.event.workspace_id == "ws-1" and name_of(what, s) == name]
    (expected,) = by_hand(["workspace", what], inside)
    by_model = by_hand(["provider", "model"], inside)
    assert lifetime(client, "ws-1", what, name) == expected | {"by_model": by_model}
    assert lifetime(client, "ws-2", what, "no such") is None


def test_filters_keep_what_is_named(client: Client) -> None:
    rows = report(client, ["model"], filters={"workspace": ["ws-1", "ws-2"], "user": "user-1"})
    inside = [
        s
        for s in EVENTS
        if s.event.workspace_id in ("ws-1", "ws-2") and s.event.user_id == "user-1"
    ]
    assert rows == by_hand(["model"], inside)
    nobody = report(client, [], filters={"user": ""})
    assert nobody[0]["requests"] == sum(s.event.user_id is None for s in EVENTS)
    no_task = report(client, [], filters={"task": ""})
    assert no_task[0]["requests"] == sum(s.event.task_id is None for s in EVENTS)


@pytest.mark.parametrize(
    ("groups", "start", "filters", "table"),
    [
        ([], None, None, "usage_total"),
        (["workspace", "model"], None, None, "usage_total"),
        (["hour"], None, None, "usage_hour"),
        (["month", "provider"], NOON_TIME, None, "usage_hour"),
        (["workspace", "hour"], None, None, "usage_quarter"),
        (["workspace"], NOON_TIME + timedelta(minutes=15), None, "usage_quarter"),
        (["workspace"], NOON_TIME.replace(hour=0), None, "usage_day"),
        (["workspace"], NOON_TIME + timedelta(minutes=1), None, "usage_raw"),
        (["month"], None, {"workspace": "a"}, "usage_day"),
        (["user"], None, None, "usage_user_day"),
        (["user", "hour"], None, None, "usage_raw"),
        (["user", "request_type"], None, None, "usage_raw"),
        (["task"], None, None, "usage_task"),
        (["task", "day"], None, None, "usage_raw"),
        ([], None, {"task": "t"}, "usage_task"),
        ([], None, {"task": ""}, "usage_raw"),
        (["trackable", "model"], None, None, "usage_trackable"),
        (["tag:team"], None, None, "usage_raw"),
        (["api_key"], None, None, "usage_raw"),
        (["quality"], None, None, "usage_total"),
        (["user", "quality"], None, None, "usage_user_day"),
        (["operation"], None, None, "usage_raw"),
        ([], None, {"kind": "vision"}, "usage_raw"),
    ],
)
def test_the_cheapest_table_that_has_it_is_read(
    groups: list[str], start: datetime | None, filters: dict[str, str] | None, table: str
) -> None:
    assert build(groups, start, None, filters).table == table


NASTY = [
    "'; DROP TABLE usage_raw; --",
    "{filter_0:String}",
    "%s %(x)s %%",
    'a\\b"c`d',
    "\\",
    "Ж 漢字 🙂",
    "a' OR '1'='1",
]


@pytest.mark.parametrize("name", NASTY)
def test_injection_strings_are_data(clickhouse: ClickHouseServer, name: str) -> None:
    admin = clickhouse.client()
    database = f"reports_injection_{os.getpid()}"
    admin.command(f"DROP DATABASE IF EXISTS {database}")
    client = clickhouse.client()
    try:
        figures = Figures(client, database, clickhouse.url)
        event = UsageEvent(
            provider="openai",
            response_model="gpt-4o",
            usage=Usage(input_tokens=10, output_tokens=1),
            workspace_id=name,
            user_id=name,
            task_id=name,
            tags={name: name},
        )
        figures.load([Sent(name, NOON, NOON, event)])
        for group in ("workspace", "user", "task", f"tag:{name}"):
            assert report(client, [group])[0][group] == name
            assert report(client, [], filters={group: name})[0]["requests"] == 1
            assert report(client, [], filters={group: f"{name}x"})[0]["requests"] == 0
        assert alerts(client, name) == []
        assert overage(client, name) == []
    finally:
        client.close()
        admin.command(f"DROP DATABASE IF EXISTS {database}")
        admin.close()


def test_dead_letters_are_there_byte_for_byte(client: Client) -> None:
    rows = dead_letters(client)
    values = {row["value_base64"] for row in rows}
    assert values == {
        base64.b64encode(b"\x00\xff{").decode(),
        base64.b64encode(b"[]").decode(),
        None,
    }
    assert {row["key_base64"] for row in rows} == {base64.b64encode(b"k\xff").decode()}
    headers = {h["name"]: base64.b64decode(h["value_base64"]) for h in rows[0]["headers"]}
    assert headers["ce_id"] == b"bad"
    assert rows[0].keys() >= {"reason", "detail", "topic", "partition", "offset"}
    assert dead_letter_counts(client) == {"invalid_utf8": 1, "not_an_object": 1, "tombstone": 1}
    assert [r["reason"] for r in dead_letters(client, "tombstone")] == ["tombstone"]


def test_alerts_overage_and_summary(client: Client) -> None:
    credit = [row for row in alerts(client) if row["kind"] == "credit_threshold"]
    assert credit
    assert {row["amount"] for row in credit} == {"0.1"}
    total = summary(client)
    assert total["requests"] == len(EVENTS)
    assert total["workspaces"] == 5
    assert sum(total["alerts"].values()) == len(alerts(client))
    billed: dict[tuple[str, str], Decimal] = {}
    for row in overage(client):
        key = (row["workspace_id"], row["period"])
        billed[key] = max(billed.get(key, Decimal(0)), Decimal(row["to_cumulative_usd"]))
    assert sum(billed.values()) == Decimal(total["overage_usd"])
