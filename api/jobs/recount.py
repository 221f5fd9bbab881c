"""The same figures, worked out a second time by someone who has not seen how the first was done.

Plain Python and Decimal over what the senders say they sent (manifests) and over the published
prices (genai-prices, in recount_prices.py). The two import nothing else of spendstream, so that a
mistake in our types, price table, period arithmetic or rounding shows as a difference and is not
made twice. An import contract keeps it so; what they need from elsewhere comes in as plain dicts.

The rules, written down again:

- The first event of a (workspace, id) counts, in the order given.
- What it costs is in recount_prices.py. Where a plan lets the reported cost count, that one does,
  if there is one.
- What is charged for it is what the plan's own prices make of it, if every model in it has one;
  else the cost and the plan's markup, rounded half-even to a pico-dollar once.
- A month is a calendar month in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from spendstream.api.jobs.recount_overrides import NOBODY, Operator
from spendstream.api.jobs.recount_prices import EXACT, PICO, ZERO, Prices


class ManifestError(ValueError):
    """A manifest was changed by somebody else; the message says where."""


class Counted(NamedTuple):
    """One event that counts. Money in USD; None: unpriced, not charged.

    `cost` is the one that counts, `computed` the one by prices; where these are the same its parts
    of input and output are known, else 0.
    """

    workspace_id: str
    id: str
    time_ms: int
    user_id: str | None
    provider: str
    model: str
    request_type: str | None
    status: str
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    charge: Decimal | None
    computed: Decimal | None
    input_cost: Decimal
    output_cost: Decimal


class Judge(NamedTuple):
    """By what an event is judged.

    Attributes:
        operator: whose prices go before the published ones.
        own: the workspace's own prices, with the operator's aliases; None: it has none.
        markup_percent: exact.
        reported: whether a reported cost counts.
    """

    operator: Operator = NOBODY
    own: Operator | None = None
    markup_percent: Decimal = ZERO
    reported: bool = False


PLAIN: Final = Judge()


@dataclass(slots=True)
class Sums:
    """`cost` in USD, of the priced requests; `charge` of those that are charged."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = ZERO
    charge: Decimal = ZERO
    unpriced: int = 0

    def add(self, event: Counted) -> None:
        self.requests += 1
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        if event.charge is not None:
            self.charge = EXACT.add(self.charge, event.charge)
        if event.cost is None:
            self.unpriced += 1
        else:
            self.cost = EXACT.add(self.cost, event.cost)


Recount: TypeAlias = dict[tuple[str, str], Counted]
"""The events that count, by workspace and id."""


def read_manifests(directory: Path) -> Iterator[dict[str, Any]]:
    """Events of all manifests, oldest file first.

    Raises:
        ManifestError: a line is not an event; a torn last line (its writer was killed) is left out.
    """
    for path in sorted(directory.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith("\n"):
                    continue
                try:
                    event = json.loads(line)
                    event["workspace_id"], event["id"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ManifestError(f"{path}, line {number}: not an event") from error
                yield event


def recount(
    events: Iterable[Mapping[str, Any]],
    judge: Callable[[str, str], Judge] = lambda workspace_id, event_id: PLAIN,
) -> Recount:
    """Count events; each a mapping with the fields of a manifest line (see `Counted`).

    `input_tokens` of None means that the usage is unknown. Times are milliseconds since 1970.

    Args:
        judge: of a workspace's event; which prices and plan were in force when it was priced is
            known to its row alone.
    """
    prices = Prices()
    result: Recount = {}
    for event in events:
        key = (event["workspace_id"], event["id"])
        if key in result:
            continue
        result[key] = counted(key, event, judge(*key), prices)
    return result


def counted(
    key: tuple[str, str], event: Mapping[str, Any], judge: Judge, prices: Prices
) -> Counted:
    """The event of a (workspace, id), priced and charged."""
    cost, charge, computed, input_cost, output_cost = judged(event, judge, prices)
    return Counted(
        *key,
        event["time_ms"],
        event.get("user_id"),
        event["provider"],
        event["model"],
        event.get("request_type"),
        event.get("status") or "ok",
        event.get("input_tokens") or 0,
        event.get("output_tokens") or 0,
        cost,
        charge,
        computed,
        input_cost,
        output_cost,
    )


def judged(
    event: Mapping[str, Any], judge: Judge, prices: Prices
) -> tuple[Decimal | None, Decimal | None, Decimal | None, Decimal, Decimal]:
    """(cost, charge, computed cost, input's part of the cost, output's) in USD."""
    parts = prices.cost(event, judge.operator)
    computed = cost = None if parts is None else parts.total
    if event.get("status") == "blocked":
        return cost, cost, computed, ZERO, ZERO
    if judge.reported and event.get("reported_cost_pico") is not None:
        cost = EXACT.multiply(Decimal(event["reported_cost_pico"]), PICO)
    own = None if judge.own is None else prices.cost(event, judge.own, listed=False)
    charge = None if own is None else own.total
    if charge is None and cost is not None:
        times = EXACT.add(Decimal(1), EXACT.divide(judge.markup_percent, Decimal(100)))
        charge = EXACT.multiply(cost, times).quantize(PICO, ROUND_HALF_EVEN, EXACT)
    if parts is None or cost != computed:
        return cost, charge, computed, ZERO, ZERO
    return cost, charge, computed, parts.input, parts.output


def month_of(time_ms: int) -> str:
    """`2026-11`, in UTC."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m")


def overage(charge: Decimal, plan: Mapping[str, Any]) -> Decimal:
    """What of a month's charge is beyond the credit of `{"credit_pico": …, "overage": …}`, USD."""
    if not plan["overage"]:
        return ZERO
    credit = EXACT.multiply(Decimal(plan["credit_pico"]), PICO)
    return max(ZERO, EXACT.subtract(charge, credit))
