"""What one event cost, as its stored row has it: line by line, and how the charge came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.prices.rows import CALL, Row, by_model, price_again, stored_leaves
from spendstream.api.prices.words import per, source_of, usd_of
from spendstream.api.reports import plain
from spendstream.schemas import DEFAULT_PLAN, Plan
from spendstream.schemas.charge import charge_of, parts_of
from spendstream.schemas.money import pico_from_usd, usd_string
from spendstream.schemas.period import iso
from spendstream.schemas.prices.compile import compile_book
from spendstream.schemas.prices.leaves import PricedLeaf
from spendstream.schemas.prices.version import PriceVersion, overrides_of, record_number

_MORE: Final = (
    "workspace_id", "event_id", "status", "leaves", "reported_cost", "computed_cost", "cost",
    "charge", "cost_quality", "price_rule", "price_version", "plan_version", "billing_period",
)  # fmt: skip
_COLUMNS: Final = {**CALL, **{name: name for name in _MORE}}


class NoSuchEvent(LookupError):
    """No row, or rows of several workspaces, have the id."""


class _Charge(NamedTuple):
    """How a charge came about, its lines where it is a sum, and why there are none."""

    how: str
    lines: list[dict[str, Any]]
    why_no_lines: str | None


def explain(
    client: Client,
    event_id: str,
    workspace_id: str | None,
    plans: Mapping[int, Plan],
    prices: Sequence[PriceVersion],
) -> dict[str, Any]:
    """The event's sum.

    Args:
        workspace_id: needed where several have an event of the id.
        plans: by version, as far as they are known.
        prices: all records of `control.prices`.

    Raises:
        NoSuchEvent: says what to do.
    """
    where = "" if workspace_id is None else " AND workspace_id = {workspace:String}"
    rows = client.query(
        f"SELECT {', '.join(_COLUMNS.values())} FROM usage_raw "
        f"WHERE event_id = {{event:String}}{where} ORDER BY workspace_id LIMIT 100",
        parameters={"event": event_id, "workspace": workspace_id or ""},
    ).result_rows
    if not rows:
        raise NoSuchEvent(
            f"no row of usage_raw has the id {event_id!r}: it is not stored yet, was refused "
            "(`spendstream deadletters`), or its retention has ended"
        )
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    if len(found) > 1:
        names = ", ".join(sorted({str(row["workspace_id"]) for row in found}))
        raise NoSuchEvent(f"several workspaces have an event {event_id!r}: {names}; name one")
    (row,) = found
    charge = _charge(row, plans, prices)
    return {
        "event": row["event_id"],
        "workspace": row["workspace_id"],
        "time": iso(int(row["time_ms"])),
        "provider": row["provider"],
        "model": row["model"],
        "status": row["status"],
        "batch": bool(row["batch"]),
        "service_tier": row["service_tier"] or None,
        "region": row["region"] or None,
        "lines": _lines(row, stored_leaves(row), row["price_rule"]),
        "computed_cost_usd": _usd(row["computed_cost"]),
        "reported_cost_usd": _usd(row["reported_cost"]),
        "cost_usd": _usd(row["cost"]),
        "quality": row["cost_quality"],
        "rule": row["price_rule"] or None,
        "source": source_of(row["price_rule"]),
        "price_version": row["price_version"],
        "charge_usd": _usd(row["charge"]),
        "charge_is": charge.how,
        "charge_lines": charge.lines,
        "why_no_charge_lines": charge.why_no_lines,
        "plan_version": row["plan_version"],
        "billing_period": row["billing_period"],
        "why_unpriced": _why(row),
    }


def _lines(row: Row, leaves: Sequence[PricedLeaf], rule: str) -> list[dict[str, Any]]:
    parts = by_model(row, leaves)
    rules = _rules([model for model, _ in parts], rule)
    return [
        {
            "model": model,
            "leaf": leaf,
            "quantity": quantity,
            "price_usd": usd_of(leaf, price),
            "per": per(leaf),
            "cost_usd": usd_string(cost),
            "rule": rules[model],
            "source": source_of(rules[model]),
        }
        for model, own in parts
        for leaf, quantity, price, cost in own
    ]


def _rules(models: list[str], rule: str) -> dict[str, str]:
    """Each model's rule: a row names the different ones, in the order of the models.

    Where they are fewer than the models, several share one, and which is not said: theirs are all.
    """
    different = list(dict.fromkeys(models))
    rules = rule.split(", ")
    if len(rules) == len(different):
        return dict(zip(different, rules, strict=True))
    known = {models[0]: rules[0]} if len(rules) < len(different) else {}
    return dict.fromkeys(different, rule) | known


def _charge(row: Row, plans: Mapping[int, Plan], prices: Sequence[PriceVersion]) -> _Charge:
    """How it came of the cost, or of the plan's own prices, by which it is worked out again."""
    version = int(row["plan_version"])
    plan = DEFAULT_PLAN if version == 0 else plans.get(version)
    if row["charge"] is None:
        return _Charge("unknown", [], None)
    charge = pico_from_usd(row["charge"])
    if plan is None:
        return _Charge(f"by version {version} of control.plans, which is not there", [], None)
    if row["status"] == "blocked":
        return _Charge("the cost", [], None)
    marked_up = _marked_up(row, plan, charge)
    if not plan.prices:
        return _Charge(marked_up or "the cost", [], None)
    records = record_number(row["price_version"])
    book = compile_book(overrides_of(prices[:records])).only(plan.prices)
    own = price_again(row, book)
    if own is not None and own.pico == charge:
        lines = _lines(row, own.leaves, own.rule)
        lines = [line | {"source": "control.plans"} for line in lines]
        return _Charge("the workspace's own prices", lines, None)
    if own is None and marked_up is not None:
        return _Charge(marked_up, [], None)
    return _Charge(
        marked_up or "the workspace's own prices",
        [],
        _why_not_again(row, own and own.pico, records, len(prices)),
    )


def _marked_up(row: Row, plan: Plan, charge: int) -> str | None:
    """In words, how the charge is the cost with the plan's markup; None: it is not."""
    if row["cost"] is None:
        return None
    if charge != charge_of(pico_from_usd(row["cost"]), parts_of(plan.markup_percent)):
        return None
    markup = Decimal(plan.markup_percent)
    return f"the cost and {markup.normalize():f} %" if markup else "the cost"


def _why_not_again(row: Row, pico: int | None, records: int, known: int) -> str:
    again = "have no price for it" if pico is None else f"come to {usd_string(pico)} USD"
    because = (
        f"control.prices has {known} of the {records} records that it was priced with"
        if known < records
        else f"it was priced with {row['price_version']}, and which models are the same may have "
        "changed since"
    )
    return f"worked out again, the prices of plan version {row['plan_version']} {again}: {because}"


def _why(row: Mapping[str, Any]) -> str | None:
    if row["cost"] is not None:
        return None
    if row["input_tokens"] is None:
        return "the response held no usage"
    return "the model, or something that was used, had no price then (`spendstream prices check`)"


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
