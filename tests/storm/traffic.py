"""What is sent: each event from the seed and its number alone; and what is set: plans, prices.

Emitters, harness and recount make the same event from the same number, so nobody has to remember
what was sent, also not an emitter that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from tests.support.oracle import USD, LimitFact, PlanFact
from tests.support.oracle_prices import cost_of
from tests.support.records import Call

WORKSPACES: Final = 200
HOUR_MS: Final = 3_600_000
BAD_HEADER: Final = "storm-bad"
"""On records that must be refused: the reason that must be given."""
ASTRAY_HEADER: Final = "storm-astray"
"""On events that were sent to any partition but by their key."""
_MODELS: Final = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "unheard-of"),
)


class _Dice:
    """Numbers from a seed, each throw another."""

    def __init__(self, *seed: object) -> None:
        self._left = int.from_bytes(blake2b(repr(seed).encode(), digest_size=64).digest())

    def __call__(self, sides: int) -> int:
        self._left, thrown = divmod(self._left, sides)
        return thrown


@dataclass(frozen=True, slots=True)
class Sending:
    """How an emitter sends what stands at a place of its sequence."""

    number: int
    shift_ms: int
    way: str = "emit"
    """`emit`; `astray`: to `partition` whatever its key is; `keyless`; `bad`: spoilt."""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """`late` is the share of events in ten thousand that claim to be over a day old."""

    seed: int
    events: int
    late: int = 0

    def call(self, number: int, now_ms: int, shift_ms: int = 0) -> Call:
        """The event of that number, as of `now_ms` by a clock that is `shift_ms` wrong."""
        dice = _Dice(self.seed, number)
        workspace = dice(1_000_000) ** 3 * WORKSPACES // 10**18
        provider, model = _MODELS[dice(len(_MODELS))]
        tokens: int | None = 200 + dice(3_000)
        cached = dice(150) if dice(3) == 0 else 0
        written = dice(50) if provider == "anthropic" and dice(3) == 0 else 0
        output = dice(400)
        status = ("ok", "blocked", "error")[(dice(50) == 0) + (dice(60) == 0)]
        if dice(40) == 0:
            tokens, cached, written, output = None, 0, 0, 0
        more: dict[str, Any] = {"request_type": ("chat", "grading", "summary")[dice(3)]}
        if user := dice(30):
            more["user_id"] = f"u{user}"
        if task := dice(100) % 60:
            more["task_id"] = f"t{task}"
        if dice(3):
            more["trackable"] = {"type": "doc", "id": str(dice(40))}
        if self.late and dice(10_000) < self.late:
            shift_ms -= (25 + dice(24)) * HOUR_MS
        if status == "ok" and dice(6) == 0:
            more["reported_cost_pico"] = str(1 + dice(10**10))
        return Call(
            f"s{self.seed}-{number}",
            now_ms + shift_ms,
            f"ws-{workspace}",
            provider,
            model,
            tokens,
            output,
            cached,
            written,
            status,
            more,
        )

    def number(self, event_id: str) -> int:
        """Of an id that `call` made. Raises ValueError."""
        seed, _, number = event_id.removeprefix("s").partition("-")
        if seed != str(self.seed):
            raise ValueError(f"not of this storm: {event_id}")
        return int(number)

    def sendings(self, number: int) -> list[Sending]:
        """What is sent when an event's turn has come: it, and maybe a repeat or something bad."""
        dice = _Dice(self.seed, "sending", number)
        skew = (0, 0, 0, -17 * 60_000, 40 * 60_000)[number % 5]
        first = Sending(number, skew + dice(2_000) - 1_000)
        if dice(100) == 0:
            first = Sending(number, 0, "astray" if dice(3) else "keyless", dice(1_000))
        made = [first]
        if dice(100) < 4:
            again = dice(number + 1) if dice(2) else max(0, number - dice(50))
            way = "astray" if dice(20) == 0 else "emit"
            made.append(Sending(again, dice(7_200_000) - 3_600_000 - 2_000, way, dice(1_000)))
        if dice(100) == 0:
            made.append(Sending(number, 0, "bad", dice(1_000)))
        return made


def plans(traffic: Traffic) -> list[PlanFact]:
    """Of some workspaces, in proportion to what they will spend: whatever the number of events,
    credits run out and limits are violated. Some charge more than the cost, or by prices of their
    own, or count what was reported."""
    made: list[PlanFact] = []
    sample = [traffic.call(n, 0) for n in range(2_000)]
    mean = sum(cost_of(call) or 0 for call in sample) // len(sample)
    for n in range(0, WORKSPACES, 2):
        share = ((n + 1) / WORKSPACES) ** (1 / 3) - (n / WORKSPACES) ** (1 / 3)
        events = max(4, int(share * traffic.events))
        limits: tuple[LimitFact, ...] = ()
        if n % 3 == 0:
            limits = (
                LimitFact("monthly", "requests", "month", events // 2, "block"),
                LimitFact("tokens", "tokens", "month", events * 500),
            )
        elif n % 3 == 1:
            limits = (LimitFact("rate", "requests", "minute", max(2, events // 40)),)
        credit = max(USD // 1_000, mean * events // 3)
        number = len(made) + 1
        made.append(
            PlanFact(
                number,
                f"ws-{n}",
                0,
                credit,
                limits,
                overage=n % 4 == 0,
                markup="12.5" if number % 3 == 0 else "0",
                own=(("openai", "gpt-4o", "2", "9.5"),) if number % 5 == 0 else (),
                reported=number % 7 in (2, 3),
            )
        )
    return made


EDITED: Final = ("openai", "gpt-4o-mini")


def edit(version: int) -> tuple[str, str, None, str]:
    """What EDITED costs from a version of `control.prices` on, as the oracle has prices."""
    usd = Decimal(15 + version) / 100
    return str(usd), str(usd / 2), None, str(usd * 4)
