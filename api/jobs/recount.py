"""The same figures, worked out a second time by someone who has not seen how the first was done.

Plain Python and Decimal over what the senders say they sent (manifests) and over the published
prices (genai-prices, in recount_prices.py). The two import nothing else of spendstream, so that a
mistake in our types, price table, period arithmetic or rounding shows as a difference and is not
made twice. An import contract keeps it so; what they need from elsewhere comes in as plain dicts.

The rules, written down again:

- The first event of a (workspace, id) counts, in the order given.
- What it costs is in recount_prices.py.
- A month is a calendar month in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from spendstream.api.jobs.recount_prices import EXACT, PICO, ZERO, Prices


class ManifestError(ValueError):
    """A manifest was changed by somebody else; the message says where."""


class Counted(NamedTuple):
    """One event that counts. `cost` in USD; None: unpriced."""

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


@dataclass(slots=True)
class Sums:
    """`cost` in USD, of the priced requests."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = ZERO
    unpriced: int = 0

    def add(self, event: Counted) -> None:
        self.requests += 1
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        if event.cost is None:
            self.unpriced += 1
        else:
            self.cost = EXACT.add(self.cost, event.cost)


@dataclass(slots=True)
class Recount:
    """What the events come to. Months are named `2026-11`."""

    events: dict[tuple[str, str], Counted] = field(default_factory=dict)
    repeated: int = 0
    totals: dict[str, Sums] = field(default_factory=dict)
    months: dict[tuple[str, str], Sums] = field(default_factory=dict)


class Standing(NamedTuple):
    """A workspace's month against its plan, in USD."""

    credit: Decimal
    charge: Decimal
    remaining: Decimal
    overage: Decimal


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


def recount(events: Iterable[Mapping[str, Any]]) -> Recount:
    """Count events; each a mapping with the fields of a manifest line (see `Counted`).

    `input_tokens` of None means that the usage is unknown. Times are milliseconds since 1970.
    """
    prices = Prices()
    result = Recount()
    for event in events:
        key = (event["workspace_id"], event["id"])
        if key in result.events:
            result.repeated += 1
            continue
        counted = result.events[key] = Counted(
            *key,
            event["time_ms"],
            event.get("user_id"),
            event["provider"],
            event["model"],
            event.get("request_type"),
            event.get("status") or "ok",
            event.get("input_tokens") or 0,
            event.get("output_tokens") or 0,
            prices.cost(event),
        )
        result.totals.setdefault(counted.workspace_id, Sums()).add(counted)
        month = (counted.workspace_id, month_of(counted.time_ms))
        result.months.setdefault(month, Sums()).add(counted)
    return result


def month_of(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m")


def standing(charge: Decimal, plan: Mapping[str, Any]) -> Standing:
    """A month's charge against a plan `{"credit_pico": …, "overage": …}`."""
    credit = EXACT.multiply(Decimal(plan["credit_pico"]), PICO)
    beyond = EXACT.subtract(charge, credit)
    return Standing(
        credit,
        charge,
        max(ZERO, -beyond),
        max(ZERO, beyond) if plan["overage"] else ZERO,
    )
