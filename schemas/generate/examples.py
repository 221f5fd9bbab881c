"""Golden examples: one small story, told in the records that it leaves in every topic.

`acme` has 25 USD of credit a month and overage. On 22 November a call of 1,189 input tokens, most
of them cached, takes it across 80 percent; three days later it is through its credit. Around that,
one event comes a day late, one is refused for holding a prompt, one has no key.

Every value is computed by the code that computes it in production, and nothing depends on the
clock, so that the files change only when the meaning does.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel

from spendstream.schemas import topics
from spendstream.schemas.event import (
    CONTENT_TYPE,
    EVENT_TYPE,
    SPEC_VERSION,
    STRUCTURED_CONTENT_TYPE,
    UsageEvent,
)
from spendstream.schemas.money import PICO_PER_USD
from spendstream.schemas.parse import parse_event
from spendstream.schemas.partition import partition_of
from spendstream.schemas.period import iso, month_of, to_ms
from spendstream.schemas.plan import Limit, Plan, PlanVersion
from spendstream.schemas.prices.book import Prices, Rates
from spendstream.schemas.prices.details import cost_by
from spendstream.schemas.prices.overrides import Entry, When
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.reasons import InvalidEvent
from spendstream.schemas.records import (
    Alert,
    DeadLetter,
    DuplicateLate,
    ForwardedEvent,
    Header,
    LateUsage,
    Leaf,
    Overage,
    PricedUsage,
    ReadmitLate,
    alert_id,
    overage_id,
)
from spendstream.schemas.state import Heartbeat, LimitState, WorkspaceState

WORKSPACE: Final = "acme"
PARTITION: Final = partition_of(WORKSPACE, topics.DEFAULT_PARTITIONS)
ELSEWHERE: Final = (PARTITION + 1) % topics.DEFAULT_PARTITIONS
SOURCE: Final = "/services/support-bot"
EVENT_ID: Final = "01JD9S5Q3V8W2K7X4M6N0P1R5T"
CALLED_MS: Final = to_ms(datetime(2026, 11, 22, 10, 0, 0, 123_000, UTC))
ARRIVED_MS: Final = CALLED_MS + 41
PERIOD: Final = month_of(CALLED_MS)

PRICES: Final = Prices(
    "openai/gpt-4o",
    Rates(
        input=2_500_000_000_000,
        cache_read=1_250_000_000_000,
        cache_write=None,
        output=10_000_000_000_000,
    ),
)
PRICE_VERSION: Final = "genai-prices 0.2.3 d37fb8762cf6"

EVENT: Final = UsageEvent.model_validate_json(b"""{
    "provider": "openai",
    "request_model": "gpt-4o",
    "response_model": "gpt-4o-2024-08-06",
    "response_id": "chatcmpl-BQ7cXk2mN4",
    "usage": {"input_tokens": 1189, "output_tokens": 129, "cache_read_input_tokens": 1024},
    "workspace_id": "acme",
    "user_id": "user-7",
    "request_type": "chat",
    "trackable": {"type": "ticket", "id": "T-4711"},
    "tags": {"team": "support", "env": "production"},
    "metadata": {"prompt_version": 12},
    "duration_ms": 1840,
    "time_to_first_token_ms": 420
}""")

PLAN: Final = PlanVersion(
    version=3,
    workspace_id=WORKSPACE,
    plan=Plan(
        credit_pico=25 * PICO_PER_USD,
        limits=(
            Limit(name="rpm", measure="requests", window="minute", amount=60, action="block"),
            Limit(
                name="monthly-spend",
                measure="charge",
                window="month",
                amount=40 * PICO_PER_USD,
                action="block",
            ),
        ),
        overage=True,
    ),
    effective_from_ms=PERIOD.start_ms,
    written_at_ms=PERIOD.start_ms - 86_400_000,
    author="ops@example.com",
    reason="contract of 2026-11",
)

PRICE: Final = PriceVersion(
    version=1,
    entry=Entry(
        provider="openai",
        model="gpt-4o",
        valid_from=datetime(2026, 12, 1, tzinfo=UTC),
        when=When(tier="priority"),
        prices={"input": "4", "cache_read": "2", "output": "16"},
    ),
    written_at_ms=PERIOD.start_ms,
    author="ops@example.com",
    reason="contract of 2026-11",
)

CHARGED_BEFORE: Final = 19_999_100_000_000
"""Pico-USD booked to November before the call: 0.0009 USD below 80 percent."""


def examples() -> dict[str, dict[str, Any]]:
    """File stem → a Kafka record: topic, key, headers where it has some, value."""
    leaves = _leaves()
    cost = sum(int(leaf.cost_pico) for leaf in leaves)
    return {
        "usage_event": _record(
            topics.USAGE_EVENTS, WORKSPACE, _wire(EVENT), _binary_headers(EVENT_ID, CALLED_MS)
        ),
        "usage_event.structured": _record(
            topics.USAGE_EVENTS,
            WORKSPACE,
            {
                "specversion": SPEC_VERSION,
                "id": EVENT_ID,
                "source": SOURCE,
                "type": EVENT_TYPE,
                "time": iso(CALLED_MS),
                "datacontenttype": CONTENT_TYPE,
                "data": _wire(EVENT),
            },
            {"content-type": STRUCTURED_CONTENT_TYPE},
        ),
        "priced_usage": _row(topics.USAGE_PRICED, WORKSPACE, _priced(leaves, cost)),
        "alert": _row(topics.USAGE_ALERTS, WORKSPACE, _alert(cost)),
        "overage": _row(topics.USAGE_OVERAGE, WORKSPACE, _overage()),
        "late_usage": _row(topics.USAGE_LATE, WORKSPACE, _late()),
        "dead_letter": _row(topics.USAGE_DEAD, WORKSPACE, _dead()),
        "forwarded_event": _row(topics.WORKSPACE_COMMANDS, WORKSPACE, _forwarded()),
        "readmit_late": _row(topics.WORKSPACE_COMMANDS, WORKSPACE, _readmit()),
        "duplicate_late": _row(topics.WORKSPACE_COMMANDS, WORKSPACE, _duplicate()),
        "plan_version": _row(topics.CONTROL_PLANS, WORKSPACE, PLAN),
        "price_version": _row(topics.CONTROL_PRICES, "openai/gpt-4o", PRICE),
        "workspace_state": _row(topics.WORKSPACE_STATE, WORKSPACE, _state(cost)),
        "heartbeat": _row(
            topics.WORKSPACE_STATE,
            "",
            Heartbeat(
                kind="heartbeat",
                partition=PARTITION,
                as_of_ms=ARRIVED_MS + 4_000,
                offset=88_215,
                late_resolved=1,
            ),
        ),
    }


def _leaves() -> tuple[Leaf, ...]:
    usage = EVENT.usage
    assert usage is not None
    priced = cost_by(PRICES, usage)
    assert priced is not None
    return tuple(
        Leaf.model_validate(
            {
                "leaf": name,
                "quantity": quantity,
                "price_atto": str(price_atto),
                "cost_pico": str(cost_pico),
            }
        )
        for name, quantity, price_atto, cost_pico in priced.leaves
    )


def _priced(leaves: tuple[Leaf, ...], cost: int) -> PricedUsage:
    return PricedUsage(
        seq=88_190,
        partition=PARTITION,
        topic=topics.USAGE_EVENTS,
        offset=88_214,
        arrival_ms=ARRIVED_MS,
        time_ms=CALLED_MS,
        counted_ms=min(CALLED_MS, ARRIVED_MS),
        judged_ms=ARRIVED_MS,
        event_id=EVENT_ID,
        source=SOURCE,
        event=EVENT,
        leaves=leaves,
        computed_cost_pico=str(cost),
        cost_pico=str(cost),
        charge_pico=str(cost),
        cost_quality="measured",
        price_rule=PRICES.rule,
        price_version=PRICE_VERSION,
        plan_version=PLAN.version,
        billing_period=PERIOD.name,
        origin_period=None,
    )


def _alert(cost: int) -> Alert:
    credit = PLAN.plan.credit_pico
    used = CHARGED_BEFORE + cost
    crossed = [
        threshold
        for threshold in PLAN.plan.thresholds
        if CHARGED_BEFORE * 100 < threshold.percent * credit <= used * 100
    ]
    (threshold,) = crossed
    return Alert(
        seq=17,
        partition=PARTITION,
        id=alert_id(WORKSPACE, "credit", "workspace", threshold.percent, PERIOD.name),
        kind="credit_threshold",
        workspace_id=WORKSPACE,
        at_ms=ARRIVED_MS,
        limit="credit",
        scope="workspace",
        measure="charge",
        window="month",
        threshold_percent=threshold.percent,
        severity=threshold.severity,
        action="warn",
        used=str(used),
        amount=str(credit),
        episode=PERIOD.name,
        event_id=EVENT_ID,
        plan_version=PLAN.version,
    )


def _overage() -> Overage:
    start, end = 0, 412_537_500
    return Overage(
        seq=4,
        partition=PARTITION,
        id=overage_id(WORKSPACE, PERIOD.name, 0, start, end),
        workspace_id=WORKSPACE,
        period=PERIOD.name,
        revision=0,
        from_cumulative_pico=str(start),
        to_cumulative_pico=str(end),
        at_ms=ARRIVED_MS + 3 * 86_400_000,
        final=False,
        plan_version=PLAN.version,
    )


def _late() -> LateUsage:
    return LateUsage(
        seq=2,
        partition=PARTITION,
        topic=topics.USAGE_EVENTS,
        offset=88_216,
        arrival_ms=ARRIVED_MS,
        time_ms=ARRIVED_MS - topics.ID_HORIZON_MS - 7_200_000,
        event_id="01JD73F8ZC6Q9YB2T5H1VWE4KA",
        source=SOURCE,
        priced_seq=88_190,
        event=EVENT,
    )


def _dead() -> DeadLetter:
    value = (
        b'{"provider":"openai","request_model":"gpt-4o","workspace_id":"acme",'
        b'"usage":{"input_tokens":3,"output_tokens":1},"prompt":"What is our revenue?"}'
    )
    try:
        parse_event(value)
    except InvalidEvent as error:
        reason, detail = error.reason, error.detail
    return DeadLetter(
        seq=5,
        partition=PARTITION,
        topic=topics.USAGE_EVENTS,
        offset=88_217,
        arrival_ms=ARRIVED_MS,
        reason=reason,
        detail=detail,
        key_base64=_base64(WORKSPACE.encode()),
        value_base64=_base64(value),
        headers=_header_list("01JD9S6B4HXKZ8Q2M7V5T3W9YC"),
    )


def _forwarded() -> ForwardedEvent:
    value = (
        b'{"provider":"openai","request_model":"gpt-4o","workspace_id":"acme",'
        b'"usage":{"input_tokens":3,"output_tokens":1}}'
    )
    parse_event(value)
    return ForwardedEvent(
        kind="forwarded",
        topic=topics.USAGE_EVENTS,
        partition=ELSEWHERE,
        offset=90_112,
        arrival_ms=ARRIVED_MS,
        key_base64=None,
        value_base64=_base64(value),
        headers=_header_list("01JD9S7A0VE5R3NX8K6B2MJH4Q"),
    )


def _readmit() -> ReadmitLate:
    late = _late()
    return ReadmitLate(
        kind="readmit",
        late_seq=late.seq,
        checked_seq=88_201,
        topic=late.topic,
        offset=late.offset,
        arrival_ms=late.arrival_ms,
        time_ms=late.time_ms,
        event_id=late.event_id,
        source=late.source,
        event=late.event,
    )


def _duplicate() -> DuplicateLate:
    late = _late()
    return DuplicateLate(
        kind="duplicate",
        late_seq=late.seq,
        checked_seq=88_201,
        workspace_id=late.event.workspace_id,
        event_id=late.event_id,
    )


def _state(cost: int) -> WorkspaceState:
    charge = CHARGED_BEFORE + cost
    used = {"requests": 12, "charge": charge}
    plan = PLAN.plan
    return WorkspaceState(
        kind="workspace",
        workspace_id=WORKSPACE,
        as_of_ms=ARRIVED_MS,
        offset=88_215,
        plan_version=PLAN.version,
        period=PERIOD.name,
        requests=5_127,
        input_tokens=5_912_004,
        output_tokens=744_318,
        charge_pico=str(charge),
        credit_pico=str(plan.credit_pico),
        remaining_pico=str(max(0, plan.credit_pico - charge)),
        overage_pico=str(max(0, charge - plan.credit_pico)),
        decision="allow",
        limits=tuple(
            LimitState(
                name=limit.name,
                measure=limit.measure,
                window=limit.window,
                action=limit.action,
                amount=str(limit.amount),
                used=str(used[limit.measure]),
                remaining=str(max(0, limit.amount - used[limit.measure])),
                exceeded=used[limit.measure] > limit.amount,
            )
            for limit in plan.limits
        ),
    )


def _record(
    topic: str, key: str, value: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    record: dict[str, Any] = {"topic": topic, "key": key}
    if headers is not None:
        record["headers"] = headers
    return {**record, "value": value}


def _row(topic: str, key: str, row: BaseModel) -> dict[str, Any]:
    value = row.model_dump(mode="json")
    if "event" in value:
        value["event"] = _wire(EVENT)
    return _record(topic, key, value)


def _wire(event: UsageEvent) -> dict[str, Any]:
    """The event as its service sends it: defaults left out."""
    return event.model_dump(mode="json", exclude_defaults=True)


def _binary_headers(event_id: str, time_ms: int) -> dict[str, str]:
    return {
        "ce_specversion": SPEC_VERSION,
        "ce_id": event_id,
        "ce_source": SOURCE,
        "ce_type": EVENT_TYPE,
        "ce_time": iso(time_ms),
        "content-type": CONTENT_TYPE,
    }


def _header_list(event_id: str) -> tuple[Header, ...]:
    return tuple(
        Header(name=name, value_base64=_base64(value.encode()))
        for name, value in _binary_headers(event_id, CALLED_MS).items()
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
