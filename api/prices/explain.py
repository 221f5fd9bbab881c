"""What one event cost, as its stored row has it: line by line, and how the charge came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from spendstream.api.prices.words import per, usd_of
from spendstream.api.reports import plain
from spendstream.schemas import DEFAULT_PLAN, Plan
from spendstream.schemas.charge import charge_of, parts_of
from spendstream.schemas.money import pico_from_usd, usd_string
from spendstream.schemas.period import from_ms
from spendstream.schemas.prices.units import TOKENS

_COLUMNS: Final = (
    "workspace_id", "event_id", "provider", "model", "status", "batch", "service_tier",
    "region", "input_tokens", "other_models", "leaves", "reported_cost", "computed_cost", "cost",
    "charge", "cost_quality", "price_rule", "price_version", "plan_version", "billing_period",
)  # fmt: skip


class NoSuchEvent(LookupError):
    """No row, or rows of several workspaces, have the id."""


def explain(
    client: Client, event_id: str, workspace_id: str | None, plans: Mapping[int, Plan]
) -> dict[str, Any]:
    """The event's sum.

    Args:
        workspace_id: needed where several have an event of the id.
        plans: by version, as far as they are known.

    Raises:
        NoSuchEvent: says what to do.
    """
    where = "" if workspace_id is None else " AND workspace_id = {workspace:String}"
    rows = client.query(
        f"SELECT toUnixTimestamp64Milli(time) AS time_ms, {', '.join(_COLUMNS)} FROM usage_raw "
        f"WHERE event_id = {{event:String}}{where} ORDER BY workspace_id LIMIT 100",
        parameters={"event": event_id, "workspace": workspace_id or ""},
    ).result_rows
    if not rows:
        raise NoSuchEvent(
            f"no row of usage_raw has the id {event_id!r}: it is not stored yet, was refused "
            "(`spendstream deadletters`), or its retention has ended"
        )
    found = [dict(zip(("time_ms", *_COLUMNS), row, strict=True)) for row in rows]
    if len(found) > 1:
        names = ", ".join(sorted({str(row["workspace_id"]) for row in found}))
        raise NoSuchEvent(f"several workspaces have an event {event_id!r}: {names}; name one")
    (row,) = found
    return {
        "event": row["event_id"],
        "workspace": row["workspace_id"],
        "time": _iso(int(row["time_ms"])),
        "provider": row["provider"],
        "model": row["model"],
        "status": row["status"],
        "batch": bool(row["batch"]),
        "service_tier": row["service_tier"] or None,
        "region": row["region"] or None,
        "lines": _lines(row),
        "computed_cost_usd": _usd(row["computed_cost"]),
        "reported_cost_usd": _usd(row["reported_cost"]),
        "cost_usd": _usd(row["cost"]),
        "quality": row["cost_quality"],
        "rule": row["price_rule"] or None,
        "source": _source(row["price_rule"]),
        "price_version": row["price_version"],
        "charge_usd": _usd(row["charge"]),
        "charge_is": _charge(row, plans),
        "plan_version": row["plan_version"],
        "billing_period": row["billing_period"],
        "why_unpriced": _why(row),
    }


def _lines(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Other models' leaves stand last, in the models' order; and a model's tokens are all there."""
    lines = [
        {
            "model": row["model"],
            "leaf": leaf["leaf"],
            "quantity": int(leaf["quantity"]),
            "price_usd": usd_of(leaf["leaf"], int(leaf["price_atto"])),
            "per": per(leaf["leaf"]),
            "cost_usd": usd_string(int(leaf["cost_pico"])),
        }
        for leaf in map(_leaf, row["leaves"])
    ]
    end = len(lines)
    for other in map(json.loads, reversed(row["other_models"])):
        left = other["input_tokens"] + other["output_tokens"]
        while left > 0 and end > 0 and lines[end - 1]["leaf"] in TOKENS:
            end -= 1
            left -= lines[end]["quantity"]
            lines[end]["model"] = other["model"]
    return lines


def _leaf(leaf: Any) -> Mapping[str, Any]:
    names = ("leaf", "quantity", "price_atto", "cost_pico")
    return leaf if isinstance(leaf, Mapping) else dict(zip(names, leaf, strict=True))


def _source(rule: str) -> str | None:
    if not rule:
        return None
    return "control.prices" if rule.startswith("override ") else "genai-prices"


def _charge(row: Mapping[str, Any], plans: Mapping[int, Plan]) -> str:
    """How it came of the cost."""
    version = int(row["plan_version"])
    plan = DEFAULT_PLAN if version == 0 else plans.get(version)
    if row["charge"] is None:
        return "unknown"
    charge = pico_from_usd(row["charge"])
    if plan is None:
        return f"by version {version} of control.plans, which is not there"
    if row["cost"] is not None and row["status"] != "blocked":
        marked_up = charge_of(pico_from_usd(row["cost"]), parts_of(plan.markup_percent))
        if charge == marked_up:
            markup = Decimal(plan.markup_percent)
            return f"the cost and {markup.normalize():f} %" if markup else "the cost"
    return "the workspace's own prices" if plan.prices else "the cost"


def _why(row: Mapping[str, Any]) -> str | None:
    if row["cost"] is not None:
        return None
    if row["input_tokens"] is None:
        return "the response held no usage"
    return "the model, or something that was used, had no price then (`spendstream prices check`)"


def _iso(time_ms: int) -> str:
    return from_ms(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
