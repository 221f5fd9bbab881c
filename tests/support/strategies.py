"""Hypothesis strategies: the life of a partition, with everything in it that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.support.oracle import DAY, HOUR, USD, LimitFact, PlanFact
from tests.support.records import NOON, Call, Record, month_start

WORKSPACES = ("ws-1", "ws-2", "кошка")
START = month_start("2026-12") - 2 * HOUR
"""Near the end of a month, so that most lives see one close."""

MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("nobody", "unheard-of"),
)
GAPS = st.one_of(
    st.integers(0, 3_000),
    st.integers(0, 90_000),
    st.integers(0, 2 * HOUR),
    st.sampled_from((999, 1_000, 59_999, 60_000, 60_001, HOUR, 25 * HOUR, 26 * HOUR)),
    st.integers(0, 40 * DAY),
)
AGES = st.one_of(
    st.just(0),
    st.integers(0, 2_000),
    st.integers(0, 3 * 60_000),
    st.integers(0, 26 * HOUR),
    st.sampled_from((-HOUR, -HOUR - 1, DAY, DAY + 1, 35 * DAY, 35 * DAY + 1)),
)
LIMITS = (
    LimitFact("rpm", "requests", "minute", 2),
    LimitFact("tpm", "tokens", "minute", 900_000, "block"),
    LimitFact("spend-a-minute", "charge", "minute", 2 * USD),
    LimitFact("a-month", "requests", "month", 5),
    LimitFact("spend-a-month", "charge", "month", 6 * USD, "block"),
    LimitFact("none", "tokens", "minute", 0),
)

MARKUPS = ("0", "0", "20", "0.000001", "33.333333", "1000")
OWN = ((), (("openai", "gpt-4o", "3", "12.5"),), (("nobody", "unheard-of", "0.1", "0"),))


@dataclass(frozen=True)
class Step:
    """A record's arrival and what it is: a call, or bytes that are none."""

    arrival_ms: int
    call: Call
    malformed: bool = False

    def record(self, offset: int) -> Record:
        record = self.call.record(offset, self.arrival_ms)
        return record._replace(value=b"{" + (record.value or b"")) if self.malformed else record


@st.composite
def lives(draw: st.DrawFn, max_size: int = 40) -> list[Step]:
    """Arrivals in order; ids come back, times lie, some records are broken."""
    arrival = START
    steps = []
    for _ in range(draw(st.integers(1, max_size))):
        arrival += draw(GAPS)
        provider, model = draw(st.sampled_from(MODELS))
        call = Call(
            f"e{draw(st.integers(0, 30))}",
            arrival - draw(AGES),
            draw(st.sampled_from(WORKSPACES)),
            provider,
            model,
            draw(st.sampled_from((0, 1_000, 100_001, 400_003, 3_000_000, None))),
            draw(st.sampled_from((0, 7, 50_000))),
            status=draw(st.sampled_from(("ok", "ok", "ok", "error", "blocked"))),
            more=draw(st.sampled_from(({}, {}, {"reported_cost_pico": "1500000000001"}))),
        )
        steps.append(Step(arrival, call, malformed=draw(st.integers(0, 19)) == 0))
    return steps


@st.composite
def plan_changes(draw: st.DrawFn) -> list[PlanFact]:
    """Versions in the order written, some in force from a moment within the life."""
    facts = []
    for version in range(1, draw(st.integers(0, 5)) + 1):
        limits = tuple(limit for limit in LIMITS if draw(st.booleans()))
        facts.append(
            PlanFact(
                version,
                draw(st.sampled_from((None, *WORKSPACES))),
                draw(st.sampled_from((0, NOON, START + 1_000, START + HOUR, START + 3 * HOUR)))
                + draw(st.integers(0, 10_000)),
                draw(st.sampled_from((0, 1, USD, 5 * USD + 1, 10 * USD))),
                limits,
                draw(st.booleans()),
                draw(st.sampled_from(MARKUPS)),
                draw(st.sampled_from(OWN)),
                draw(st.booleans()),
            )
        )
    return facts
