"""By which prices and plan each row was judged, for the recount: as plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.recount import PLAIN, Judge
from spendstream.api.jobs.recount_overrides import Operator
from spendstream.schemas import Plan, PlanVersion
from spendstream.schemas.prices.version import PriceVersion, record_number


class Judges:
    """From what the versions in a row stand for to a `Judge`; each is made once."""

    def __init__(self, prices: Sequence[PriceVersion], plans: Sequence[PlanVersion]) -> None:
        self._prices = [version.model_dump(mode="json") for version in prices]
        self._plans = {version.version: version.plan for version in plans}
        self._operators: dict[int, Operator] = {}
        self._known: dict[tuple[int, int], Judge] = {}

    def of(self, price_version: str, plan_version: int) -> Judge:
        """Versions that are not known count as far as they are; verify names them otherwise."""
        key = (record_number(price_version), plan_version)
        judge = self._known.get(key)
        if judge is None:
            judge = self._known[key] = self._made(*key)
        return judge

    def of_rows(self, client: Client) -> Callable[[str, str], Judge]:
        """The judge of each event that is stored, unless it is PLAIN, which most are."""
        special = [v for v, plan in self._plans.items() if _charges_otherwise(plan)]
        rows = client.query(
            "SELECT workspace_id, event_id, price_version, plan_version FROM usage_raw "
            "WHERE position(price_version, '+') > 0 OR has({plans:Array(UInt64)}, plan_version)",
            parameters={"plans": special},
        ).result_rows
        found = {(str(w), str(e)): self.of(str(prices), int(plan)) for w, e, prices, plan in rows}
        return lambda workspace_id, event_id: found.get((workspace_id, event_id), PLAIN)

    def _made(self, records: int, plan_version: int) -> Judge:
        plan = self._plans.get(plan_version)
        operator = self._operator(records)
        if plan is None:
            return Judge(operator)
        own: list[dict[str, Any]] = [entry.model_dump(mode="json") for entry in plan.prices]
        return Judge(
            operator,
            Operator(own, operator.aliases) if own else None,
            Decimal(plan.markup_percent),
            plan.counted_cost == "reported",
        )

    def _operator(self, records: int) -> Operator:
        if records not in self._operators:
            said = self._prices[:records]
            self._operators[records] = Operator(
                [one["entry"] for one in said if one["entry"] is not None],
                [one["alias"] for one in said if one["alias"] is not None],
            )
        return self._operators[records]


def _charges_otherwise(plan: Plan) -> bool:
    return bool(plan.prices or plan.markup_percent != "0" or plan.counted_cost != "computed")
