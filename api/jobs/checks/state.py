"""The workers' own counters, credit and overage against the recount."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.jobs.checks.difference import Difference, difference
from spendstream.api.jobs.checks.events import Expected
from spendstream.api.jobs.recount import Sums, overage
from spendstream.schemas.money import pico_from_usd, usd_string
from spendstream.schemas.period import month_named
from spendstream.streams.core.credit import OVERAGE_STEP_PICO, OVERAGE_WAIT_MS
from spendstream.streams.core.schedule import KEEP_MONTHS_MS
from spendstream.streams.core.state import Counters, Month, Saved

PlanOf = Mapping[str, Any]
"""`version`, `credit_pico`, `overage`, `thresholds` (percents) of a plan, as plain values."""

MEASURES: Final = ("requests", "input_tokens", "output_tokens", "cost", "charge", "unpriced")


class OverageRow(NamedTuple):
    """A row of the overage table, in pico-USD."""

    seq: int
    revision: int
    start: int
    end: int
    final: bool
    plan_version: int


def check_counters(
    workspaces: Mapping[str, Saved], expected: Expected, now_ms: int
) -> Iterator[Difference]:
    """Requests, tokens, cost, charge: in total, by month; and what is booked to each month."""
    for workspace in sorted(workspaces.keys() | expected.totals.keys()):
        state = workspaces.get(workspace)
        total = state.total if state else Counters()
        yield from _compare(
            "total", expected.totals.get(workspace, Sums()), total, {"workspace": workspace}
        )
        months = state.months if state else {}
        names = {m for w, m in (*expected.months, *expected.booked) if w == workspace}
        for name in sorted(names | months.keys()):
            month = months.get(name)
            if month is None and now_ms >= month_named(name).closes_ms + KEEP_MONTHS_MS:
                continue  # forgotten, as it should be
            where = {"workspace": workspace, "month": name}
            counted = month.counted if month else Counters()
            sums = expected.months.get((workspace, name), Sums())
            yield from _compare("month", sums, counted, where)
            booked = pico_from_usd(expected.booked.get((workspace, name), Decimal(0)))
            if booked != (month.booked if month else 0):
                yield difference(
                    "state: booked",
                    usd_string(booked),
                    usd_string(month.booked if month else 0),
                    **where,
                )


def check_credit(
    client: Client,
    workspaces: Mapping[str, Saved],
    expected: Expected,
    plans: Mapping[str, PlanOf],
    versions: Mapping[int, PlanOf],
    now_ms: int,
) -> Iterator[Difference]:
    """Overage rows form a chain that ends where charge, credit and plan say; alerts likewise.

    Args:
        plans: the plan in force, by workspace.
        versions: every version of any plan, by its number.
    """
    rows = _overage_rows(client)
    alerted = _alerted(client)
    for workspace, state in sorted(workspaces.items()):
        for name, month in sorted(state.months.items()):
            where = {"workspace": workspace, "month": name}
            chain = rows.pop((workspace, name), [])
            yield from _check_chain(chain, month, where)
            plan = plans[workspace]
            if month.final and chain:
                plan = versions.get(chain[-1].plan_version, plan)
            booked = expected.booked.get((workspace, name), Decimal(0))
            yield from _check_overage(month, booked, plan, now_ms, where)
            judged_by = expected.plan_versions.get((workspace, name), set())
            unchanged = judged_by == {plan["version"]}
            sent = alerted.pop((workspace, name), [])
            yield from _check_thresholds(month, booked, plan, unchanged, sent, where)
    for (workspace, name), chain in sorted(rows.items()):
        if chain and now_ms < month_named(name).closes_ms + KEEP_MONTHS_MS:
            yield difference(
                "overage rows of a month that the worker does not know",
                0,
                len(chain),
                workspace=workspace,
                month=name,
            )
    for (workspace, name), percents in sorted(alerted.items()):
        if now_ms < month_named(name).closes_ms + KEEP_MONTHS_MS:
            what = "credit alerts of a month that the worker does not know"
            yield difference(what, [], percents, workspace=workspace, month=name)


def _compare(
    scope: str, sums: Sums, counters: Counters, where: Mapping[str, object]
) -> Iterator[Difference]:
    cost = pico_from_usd(sums.cost)
    charge = pico_from_usd(sums.charge)
    right = (sums.requests, sums.input_tokens, sums.output_tokens, cost, charge, sums.unpriced)
    for name, wanted in zip(MEASURES, right, strict=True):
        found: int = getattr(counters, name)
        if wanted != found:
            shown = usd_string if name in ("cost", "charge") else str
            yield difference(f"state: {name} in {scope}", shown(wanted), shown(found), **where)


def _check_chain(
    chain: list[OverageRow], month: Month, where: Mapping[str, object]
) -> Iterator[Difference]:
    """Each row begins where the last one ended; the last one is what the worker says it sent."""
    cumulative, revision = 0, 0
    for row in chain:
        if row.start != cumulative:
            yield difference(
                "overage: a row's from_cumulative",
                usd_string(cumulative),
                usd_string(row.start),
                **where,
                seq=row.seq,
            )
        lowered = row.end < row.start
        if row.revision != revision + lowered:
            yield difference(
                "overage: a row's revision", revision + lowered, row.revision, **where, seq=row.seq
            )
        cumulative, revision = row.end, row.revision
    if month.final and month.overage_emitted and not (chain and chain[-1].final):
        yield difference("overage: last row of a closed month is final", True, False, **where)
    if cumulative != month.overage_emitted:
        yield difference(
            "overage: sent by the worker, and stored",
            usd_string(month.overage_emitted),
            usd_string(cumulative),
            **where,
        )


def _check_overage(
    month: Month, booked: Decimal, plan: PlanOf, now_ms: int, where: Mapping[str, object]
) -> Iterator[Difference]:
    """What was sent plus what waits to be is the charge beyond the credit."""
    if not plan["overage"]:
        return  # what was sent before it was switched off stays as it was
    right = pico_from_usd(overage(booked, plan))
    pending = right - month.overage_emitted
    since_ms = month.overage_since_ms
    may_wait = since_ms is not None and not month.final
    # the worker is about to send it
    overdue = since_ms is not None and now_ms >= since_ms + OVERAGE_WAIT_MS
    if pending and (not may_wait or (pending >= OVERAGE_STEP_PICO and not overdue)):
        yield difference(
            "overage: charge beyond the credit, and sent",
            usd_string(right),
            usd_string(month.overage_emitted),
            **where,
        )


def _check_thresholds(
    month: Month,
    booked: Decimal,
    plan: PlanOf,
    unchanged: bool,
    sent: list[int],
    where: Mapping[str, object],
) -> Iterator[Difference]:
    """One alert for each threshold of the credit that was reached."""
    if sorted(month.crossed) != sorted(sent):
        yield difference(
            "credit alerts: thresholds crossed, and alerts stored",
            sorted(month.crossed),
            sorted(sent),
            **where,
        )
    if unchanged and booked:
        used = pico_from_usd(booked) * 100
        right = [p for p in plan["thresholds"] if used >= p * plan["credit_pico"]]
        if sorted(right) != sorted(month.crossed):
            what = "credit thresholds reached, and crossed in the state"
            yield difference(what, sorted(right), sorted(month.crossed), **where)


def _overage_rows(client: Client) -> dict[tuple[str, str], list[OverageRow]]:
    result = client.query(
        "SELECT workspace_id, period, seq, revision, from_cumulative, to_cumulative, final, "
        "plan_version FROM overage ORDER BY workspace_id, period, seq"
    )
    rows: dict[tuple[str, str], list[OverageRow]] = {}
    for workspace, period, seq, revision, start, end, final, version in result.result_rows:
        row = OverageRow(
            int(seq),
            int(revision),
            pico_from_usd(start),
            pico_from_usd(end),
            bool(final),
            int(version),
        )
        rows.setdefault((str(workspace), str(period)), []).append(row)
    return rows


def _alerted(client: Client) -> dict[tuple[str, str], list[int]]:
    """Percents of the credit that were alerted, by workspace and month."""
    result = client.query(
        "SELECT workspace_id, episode, threshold_percent FROM alerts "
        "WHERE kind = 'credit_threshold' ORDER BY workspace_id, episode, threshold_percent"
    )
    found: dict[tuple[str, str], list[int]] = {}
    for workspace, period, percent in result.result_rows:
        found.setdefault((str(workspace), str(period)), []).append(int(percent))
    return found
