"""Verify is clean where all is right, and finds each kind of difference that is put in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.checks.difference import MAX_OF_A_KIND
from spendstream.api.jobs.verify import Verification, verify
from spendstream.schemas import Plan, UsageEvent
from spendstream.schemas.usage import OtherModel, Usage
from tests.integration.stored import (
    CHARGED,
    NOON,
    PRICES,
    Figures,
    Sent,
    refused,
    some_events,
    write_manifest,
)
from tests.servers.clickhouse import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("verify")]

# 20 days from 2026-11-22: over the end of a month, so that a period closes and a final row is sent
EVENTS = some_events(400, step_ms=4_320_000)
PLANS: dict[str | None, Plan] = {
    None: Plan(credit_pico=5 * 10**10, overage=True),
    "ws-1": Plan(credit_pico=10**12),
    "ws-2": Plan(credit_pico=0, overage=True),
    **CHARGED,
}


PICO = "toDecimal128('0.000000000001', 12)"

# xdist workers share the server
TEMPLATE = f"verify_template_{os.getpid()}"
OWN = f"verify_own_{os.getpid()}"


@pytest.fixture(scope="module")
def figures(clickhouse: ClickHouseServer) -> Iterator[Figures]:
    admin = clickhouse.client()
    admin.command(f"DROP DATABASE IF EXISTS {TEMPLATE}")
    template = Figures(clickhouse.client(), TEMPLATE, clickhouse.url)
    template.set_plans(PLANS)
    fill(template)
    yield template
    template.client.close()
    admin.command(f"DROP DATABASE {TEMPLATE}")
    admin.close()


@pytest.fixture
def own(clickhouse: ClickHouseServer) -> Iterator[Figures]:
    """A database of the test's own, to spoil."""
    admin = clickhouse.client()
    admin.command(f"DROP DATABASE IF EXISTS {OWN}")
    spoiled = Figures(clickhouse.client(), OWN, clickhouse.url)
    spoiled.set_plans(PLANS)
    fill(spoiled)
    yield spoiled
    spoiled.client.close()
    admin.command(f"DROP DATABASE {OWN}")
    admin.close()


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    write_manifest(tmp_path, EVENTS)
    return tmp_path


def fill(figures: Figures) -> None:
    half, third = len(EVENTS) // 2, len(EVENTS) // 3
    figures.load(EVENTS[:third])
    figures.add_prices(PRICES)
    figures.load(EVENTS[third:half], [(0, refused(NOON, b"{"))])
    figures.load([*EVENTS[half - 5 : half], *EVENTS[half:]])  # five of them again


def whats(found: Verification) -> set[str]:
    assert found["ok"] == (not found["differences"])
    return {difference["what"] for difference in found["differences"]}


def spoil(client: Client, sql: str) -> None:
    client.command(sql, settings={"mutations_sync": 2})


def test_clean_from_manifests(figures: Figures, manifests: Path) -> None:
    found = verify(figures.client, None, manifests)
    assert found["differences"] == []
    assert (found["ok"], found["events"], found["outside_manifests"]) == (True, 400, 0)
    assert found["basis"] == "manifests"
    json.dumps(found)


def test_clean_from_raw_rows_and_says_so(figures: Figures, tmp_path: Path) -> None:
    found = verify(figures.client, None, tmp_path)
    assert found["differences"] == []
    assert "no manifest" in found["basis"]


def test_rows_that_no_manifest_knows_are_recounted(figures: Figures, tmp_path: Path) -> None:
    write_manifest(tmp_path, EVENTS[:100])
    found = verify(figures.client, None, tmp_path)
    assert found["differences"] == []
    assert (found["manifest_events"], found["outside_manifests"]) == (100, 300)
    assert "300 rows that no manifest knows" in found["basis"]


def test_the_figures_have_something_to_get_wrong(figures: Figures) -> None:
    """A check over nothing finds nothing: overage, finals, thresholds and months are all there."""
    query = figures.client.query
    assert query("SELECT uniqExact(billing_period) FROM usage_raw").result_rows[0][0] == 2
    assert min(query("SELECT countIf(final), countIf(not final) FROM overage").result_rows[0]) > 0
    assert query("SELECT count() FROM alerts WHERE kind = 'credit_threshold'").result_rows[0][0] > 5
    assert query("SELECT count() FROM dead_letters").result_rows[0][0] == 1
    assert query("SELECT countIf(cost_quality = 'unpriced') FROM usage_raw").result_rows[0][0] > 10


TEXT = Usage(input_tokens=1_000, output_tokens=100)
WRITTEN = Usage(
    input_tokens=1_000,
    output_tokens=100,
    cache_write_input_tokens=300,
    cache_write_5m_input_tokens=100,
    cache_write_1h_input_tokens=200,
    web_searches=2,
    web_fetches=1,
)
HEARD = Usage(
    input_tokens=1_000,
    output_tokens=100,
    cache_read_input_tokens=300,
    audio_input_tokens=500,
    cache_read_audio_input_tokens=200,
)
ADVISED = TEXT.model_copy(
    update={
        "other_models": (
            OtherModel(model="claude-haiku-4-5", input_tokens=9_000, output_tokens=7),
            OtherModel(model="claude-haiku-4-5", input_tokens=3, output_tokens=1),
        )
    }
)
CONDITIONS: list[tuple[str, Usage, dict[str, Any], str]] = [
    ("openai/gpt-4o", TEXT, {"batch": True}, "measured"),
    ("openai/gpt-4o", TEXT, {"service_tier": "priority"}, "measured"),
    ("openai/gpt-4o", TEXT, {"service_tier": "flex"}, "estimated"),
    ("azure.ai.openai/gpt-4o", TEXT, {"batch": True}, "estimated"),
    ("anthropic/claude-opus-4-6", WRITTEN, {"region": "us", "batch": True}, "measured"),
    ("anthropic/claude-opus-4-6", ADVISED, {"region": "us"}, "measured"),
    ("gcp.gemini/gemini-2.5-flash", HEARD, {}, "measured"),
    (
        "groq/whisper-large-v3",
        Usage(input_tokens=0, output_tokens=0, audio_input_ms=3_000),
        {},
        "measured",
    ),
    ("mistral_ai/mistral-ocr-latest", TEXT.model_copy(update={"pages": 3}), {}, "measured"),
    ("openai/text-embedding-3-small", TEXT, {}, "measured"),
    ("openai/gpt-4o", TEXT.model_copy(update={"search_units": 1}), {}, "unpriced"),
]
"""Model, usage, what else the event says, and what its cost rests on."""


def test_every_condition_of_a_price(own: Figures, manifests: Path, tmp_path: Path) -> None:
    begun = EVENTS[-1].time_ms + 1_000
    sent = [
        Sent(
            f"price-{n}",
            begun + n,
            begun + n + 20,
            UsageEvent(
                provider=model.partition("/")[0],
                response_model=model.partition("/")[2],
                workspace_id="ws-1",
                usage=usage,
                **said,
            ),
        )
        for n, (model, usage, said, _) in enumerate(CONDITIONS)
    ]
    own.load(sent)
    found = own.client.query(
        "SELECT cost_quality FROM usage_raw WHERE startsWith(event_id, 'price-') ORDER BY time"
    ).result_rows
    assert [quality for (quality,) in found] == [quality for *_, quality in CONDITIONS]
    write_manifest(manifests, sent)
    assert verify(own.client, None, manifests)["differences"] == []
    empty = tmp_path / "none"
    empty.mkdir()
    assert verify(own.client, None, empty)["differences"] == []


def test_what_was_charged_is_not_always_what_it_cost(figures: Figures) -> None:
    counts = figures.client.query(
        "SELECT countIf(charge != cost), countIf(isNull(cost) AND charge > 0), "
        "countIf(cost != computed_cost), countIf(cost_quality = 'provider_reported'), "
        "countIf(startsWith(price_rule, 'override')), uniqExact(price_version) FROM usage_raw"
    ).result_rows[0]
    assert all(count > 1 for count in counts), counts


def test_prices_that_are_taken_back_are_found(own: Figures, tmp_path: Path) -> None:
    (version,) = own.client.query(
        "SELECT price_version FROM usage_raw ORDER BY seq LIMIT 1"
    ).result_rows[0]
    spoil(
        own.client,
        f"ALTER TABLE usage_raw UPDATE price_version = '{version}' WHERE event_id = 'e-398'",
    )
    assert "prices of an event" in whats(verify(own.client, None, tmp_path))


def test_a_lost_price_is_found(own: Figures, tmp_path: Path) -> None:
    spoil(
        own.client,
        "ALTER TABLE mirror_control DELETE WHERE topic = 'control.prices' AND offset = 0",
    )
    found = whats(verify(own.client, None, tmp_path))
    assert {"control.prices: versions", "an event's cost", "an event's charge"} <= found


def test_a_refused_event_explains_what_is_missing(own: Figures, manifests: Path) -> None:
    old = EVENTS[0].event
    sent = Sent("too-old", NOON, NOON + 40 * 86_400_000, old)
    own.load([sent])
    late = Sent("late", NOON, NOON + 3 * 86_400_000, old)
    own.load([late])
    write_manifest(manifests, [sent, late])
    assert verify(own.client, None, manifests)["differences"] == []
    write_manifest(manifests, [Sent("never-sent", NOON, NOON, old)])
    assert whats(verify(own.client, None, manifests)) == {"an event that was sent is not stored"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "ALTER TABLE usage_raw DELETE WHERE event_id = 'e-5'",
            {
                "an event that was sent is not stored",
                "seq: rows that are missing",
                "rollup usage_total: requests",
                "state: requests in total",
                "state: booked",
            },
        ),
        (
            "INSERT INTO usage_total SELECT * FROM usage_total LIMIT 1",
            {"rollup usage_total: requests", "rollup usage_total: cost"},
        ),
        (
            "ALTER TABLE usage_day DELETE WHERE workspace_id = 'ws-3' AND day = '2026-11-25'",
            {"rollup usage_day: requests", "rollup usage_day: input_tokens"},
        ),
        *(
            (
                f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1",
                {f"rollup {table}: requests"},
            )
            for table in (
                "usage_quarter",
                "usage_user_day",
                "usage_hour",
                "usage_task",
                "usage_trackable",
            )
        ),
        *(
            (
                f"ALTER TABLE {table} UPDATE {column} = {column} + {by} WHERE {column} {to}",
                {f"rollup {table}: {what}"},
            )
            for table, column, what, by, to in (
                ("usage_task", "first_call", "first call", "INTERVAL 1 SECOND", "< '2027-01-01'"),
                (
                    "usage_trackable",
                    "last_call",
                    "last call",
                    "INTERVAL 1 SECOND",
                    "> '2026-01-01'",
                ),
                ("usage_task", "input_cost", "input_cost", PICO, "!= 0"),
                ("usage_hour", "output_cost", "output_cost", PICO, "!= 0"),
            )
        ),
        (
            "ALTER TABLE usage_raw UPDATE input_cost = output_cost, output_cost = input_cost "
            "WHERE event_id = 'e-5'",
            {"an event's input cost", "an event's output cost", "rollup usage_total: input_cost"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE cost_quality = 'conflicting' WHERE event_id = 'e-5'",
            {f"rollup {table}: cost" for table in ("usage_total", "usage_hour", "usage_user_day")},
        ),
        ("INSERT INTO usage_ids SELECT * FROM usage_ids LIMIT 1", {"rollup usage_ids: rows"}),
        (
            "ALTER TABLE usage_unique_users DELETE WHERE workspace_id = 'ws-1'",
            {"rollup usage_unique_users: users"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE cost = cost + toDecimal128('0.000000000001', 12) "
            "WHERE event_id = 'e-5'",
            {"an event's cost", "raw rows: cost", "rollup usage_total: cost"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE charge = charge * 2 WHERE event_id = 'e-5'",
            {"an event's charge", "raw rows: charge", "rollup usage_total: charge"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE input_tokens = 1 WHERE event_id = 'e-5'",
            {"an event's input_tokens", "raw rows: input_tokens"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE user_id = 'mallory' WHERE event_id = 'e-5'",
            {"an event's user_id", "rollup usage_user_day: requests"},
        ),
        (
            "ALTER TABLE usage_raw UPDATE billing_period = '2026-12' WHERE event_id = 'e-5'",
            {"an event's billing period", "state: booked"},
        ),
        ("ALTER TABLE alerts DELETE WHERE seq = 1", {"seq: the first row"}),
        ("ALTER TABLE alerts DELETE WHERE seq = 2", {"seq: rows that are missing"}),
        (
            "ALTER TABLE dead_letters DELETE WHERE 1",
            {"seq: the last row (the worker's number, the stored one)"},
        ),
        (
            "INSERT INTO alerts SELECT * FROM alerts ORDER BY seq LIMIT 1",
            {"alerts: rows of one id", "seq: rows that are there twice"},
        ),
        (
            "ALTER TABLE alerts DELETE WHERE kind = 'credit_threshold' AND workspace_id = 'ws-0'",
            {"credit alerts: thresholds crossed, and alerts stored"},
        ),
        (
            "ALTER TABLE overage UPDATE to_cumulative = to_cumulative + 1 "
            "WHERE workspace_id = 'ws-2'",
            {"overage: sent by the worker, and stored"},
        ),
        (
            "ALTER TABLE overage DELETE WHERE final",
            {"overage: last row of a closed month is final"},
        ),
        (
            "CREATE TABLE usage_week (week Date) ENGINE = MergeTree ORDER BY week",
            {"a rollup that verify does not know"},
        ),
    ],
)
def test_a_spoiled_table_is_found(
    own: Figures, manifests: Path, sql: str, expected: set[str]
) -> None:
    spoil(own.client, sql)
    found = whats(verify(own.client, None, manifests))
    assert expected <= found, found - expected


@pytest.mark.parametrize(
    ("key", "path", "delta", "expected"),
    [
        ("ws-1", ("state", "total", "requests"), 1, "state: requests in total"),
        ("ws-1", ("state", "total", "input_tokens"), -1, "state: input_tokens in total"),
        ("ws-1", ("state", "total", "cost"), 1, "state: cost in total"),
        ("ws-1", ("state", "total", "charge"), 1, "state: charge in total"),
        ("ws-1", ("state", "total", "unpriced"), 1, "state: unpriced in total"),
        ("ws-1", ("state", "months", "2026-11", "counted", "cost"), 1, "state: cost in month"),
        ("ws-1", ("state", "months", "2026-11", "booked"), 1, "state: booked"),
        (
            "ws-2",
            ("state", "months", "2026-11", "overage_emitted"),
            1,
            "overage: sent by the worker, and stored",
        ),
        (
            "",
            ("outcomes", "usage.events", "duplicate"),
            1,
            "records read and records with an outcome",
        ),
        (
            "",
            ("seq", "usage.overage"),
            1,
            "seq: the last row (the worker's number, the stored one)",
        ),
        (
            "",
            ("outcomes", "usage.events", "forwarded"),
            1,
            "events forwarded and events taken over",
        ),
        ("", ("late_resolved",), 10, "late rows written, and how many of them are resolved"),
        ("", ("refused_commands",), 1, "events forwarded and events taken over"),
    ],
)
def test_a_state_that_is_off_by_one_is_found(
    figures: Figures, manifests: Path, key: str, path: tuple[str, ...], delta: int, expected: str
) -> None:
    full = json.dumps([key, "workspace" if key else "checkpoint"], separators=(",", ":"))
    partition, value, version = figures.client.query(
        "SELECT partition, value, version FROM mirror_checkpoint FINAL "
        "WHERE key = {key:String} ORDER BY partition",
        parameters={"key": full},
    ).result_rows[0]
    record = json.loads(value)
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] += delta
    put(figures, partition, full, json.dumps(record), version + 1)
    try:
        assert expected in whats(verify(figures.client, None, manifests))
    finally:
        put(figures, partition, full, value, version + 2)


def put(figures: Figures, partition: int, key: str, value: str, version: int) -> None:
    figures.store.put(
        "mirror_checkpoint",
        ["partition", "key", "value", "epoch", "offset", "version"],
        [[partition, key, value, "e", 0, version]],
    )


def test_a_wrong_manifest_is_found(figures: Figures, tmp_path: Path) -> None:
    changed = EVENTS[5].event.model_copy(update={"response_model": "gpt-4o-mini"})
    sent = list(EVENTS)
    sent[5] = Sent(sent[5].id, sent[5].time_ms, sent[5].arrival_ms, changed)
    write_manifest(tmp_path, sent)
    assert {"an event's model", "an event's cost"} <= whats(verify(figures.client, None, tmp_path))


def test_many_of_a_kind_are_counted_and_not_all_listed(own: Figures, manifests: Path) -> None:
    spoil(own.client, "ALTER TABLE usage_raw UPDATE user_id = 'mallory' WHERE 1")
    found = verify(own.client, None, manifests)["differences"]
    of_kind = [d for d in found if d["what"] == "an event's user_id"]
    assert len(of_kind) == MAX_OF_A_KIND
    assert {
        "what": "an event's user_id: there are 400 of these",
        "expected": 0,
        "found": 400,
    } in found
