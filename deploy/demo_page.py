"""What the demo shows: who spent what, what went wrong, how fast it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spendstream.deploy.console import credit_bar
from spendstream.schemas import WorkspaceState
from spendstream.schemas.money import cents_display, pico_from_usd

SHOWN: Final = 12
WIDE: Final = 100
"""Columns that the page takes where it may."""
_DECISION: Final = {
    "allow": ("", "green"),
    "warn": ("warn", "yellow"),
    "block": ("block", "red"),
}
_SEVERITY: Final = {"info": "cyan", "warning": "yellow", "danger": "red", "exceeded": "bold red"}


@dataclass(frozen=True, slots=True)
class Speed:
    """How the run went. `end_to_end_s`: from the first event sent until the last was stored."""

    sent: int
    sent_s: float
    end_to_end_s: float
    latencies_ms: Sequence[float]

    def latency(self, percent: int) -> float:
        """Milliseconds; 0 where nothing was measured."""
        if not self.latencies_ms:
            return 0.0
        last = len(self.latencies_ms) - 1
        return self.latencies_ms[min(last, len(self.latencies_ms) * percent // 100)]


def page(
    workspaces: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    states: Mapping[str, WorkspaceState],
    alerts: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    outcomes: Mapping[str, int],
    speed: Speed,
    width: int = WIDE,
) -> Group:
    """The whole page; figures are those of `api`. `width`: columns of the terminal."""
    wide = width >= WIDE
    return Group(
        _headline(summary),
        _titled("Spend by workspace", _workspaces(workspaces, states, 20 if wide else 8)),
        Padding(_beside(_models(models), _alerts(alerts), wide), (1, 0)),
        _beside(_pipeline(outcomes, speed), _refused(summary["dead_letters"]), wide),
    )


def _beside(left: RenderableType, right: RenderableType, wide: bool) -> RenderableType:
    """Two blocks, one below the other where the terminal is narrow."""
    if not wide:
        return Group(left, "", right)
    grid = Table.grid(padding=(0, 4))
    grid.add_row(left, right)
    return grid


def _headline(summary: Mapping[str, Any]) -> RenderableType:
    tokens = _short(summary["total_tokens"])
    text = Text.assemble(
        (_dollars(summary["charge_usd"]), "bold"),
        f" for {summary['requests']:,} calls and {tokens} tokens"
        f" of {summary['workspaces']} workspaces",
    )
    if summary["unpriced_requests"]:
        text.append(f", {summary['unpriced_requests']} calls without a cost", "dim")
    return Padding(text, (0, 0, 1, 0))


def _workspaces(
    rows: Sequence[Mapping[str, Any]], states: Mapping[str, WorkspaceState], bar: int
) -> RenderableType:
    table = _table("workspace", ">requests", ">tokens", ">charge", "credit", ">", ">overage", "")
    ordered = sorted(rows, key=lambda row: Decimal(row["charge_usd"]), reverse=True)
    for row in ordered[:SHOWN]:
        state = states.get(row["workspace"])
        if state is None:
            continue
        used, credit = int(state.charge_pico), int(state.credit_pico)
        overage = int(state.overage_pico)
        table.add_row(
            row["workspace"],
            f"{row['requests']:,}",
            _short(row["total_tokens"]),
            _dollars(row["charge_usd"]),
            credit_bar(used, credit, bar),
            Text(f"{100 * used // credit if credit else 0} % of {cents_display(credit)}"),
            Text(cents_display(overage) if overage else "", style="red"),
            Text(*_DECISION[state.decision]),
        )
    rest = ordered[SHOWN:]
    if rest:
        table.add_row(
            f"{len(rest)} more",
            f"{sum(row['requests'] for row in rest):,}",
            _short(sum(row["total_tokens"] for row in rest)),
            _dollars(str(sum(Decimal(row["charge_usd"]) for row in rest))),
            style="dim",
        )
    table.add_section()
    overages = sum(int(state.overage_pico) for state in states.values())
    table.add_row(
        "all",
        f"{sum(row['requests'] for row in rows):,}",
        _short(sum(row["total_tokens"] for row in rows)),
        _dollars(str(sum(Decimal(row["charge_usd"]) for row in rows))),
        "",
        "",
        Text(cents_display(overages)),
        style="bold",
    )
    return table


def _models(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = _table("model", ">requests", ">tokens", ">cost")
    for row in sorted(rows, key=lambda row: Decimal(row["cost_usd"]), reverse=True)[:SHOWN]:
        table.add_row(
            row["model"],
            f"{row['requests']:,}",
            _short(row["total_tokens"]),
            _dollars(row["cost_usd"]),
        )
    return _titled("By model", table)


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Newest first, as many lines as fit beside the models."""
    table = _table("newest", "workspace", "")
    for alert in alerts[:8]:
        table.add_row(
            Text(str(alert["severity"]), style=_SEVERITY[alert["severity"]]),
            alert["workspace_id"],
            _told(alert),
        )
    if len(alerts) > 8:
        table.add_row(Text(f"{len(alerts) - 8} more", style="dim"))
    counts = Counter(str(alert["severity"]) for alert in alerts)
    told = ", ".join(f"{counts[name]} {name}" for name in reversed(_SEVERITY) if counts[name])
    return _titled(f"Alerts: {told or 'none'}", table)


def _told(alert: Mapping[str, Any]) -> str:
    if alert["kind"] == "credit_threshold":
        return f"{alert['threshold_percent']} % of the credit"
    if alert["kind"] == "overage_started":
        return "overage began"
    return f"over {alert['amount']} {alert['limit']}"


def _pipeline(outcomes: Mapping[str, int], speed: Speed) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    rate = round(speed.sent / speed.sent_s)
    stored = round(speed.sent / speed.end_to_end_s)
    for name, value in (
        ("sent", f"{speed.sent:,} events, {rate:,} a second"),
        ("stored", f"{stored:,} a second, end to end"),
        ("latency", f"p50 {speed.latency(50):,.0f} ms, p99 {speed.latency(99):,.0f} ms"),
        ("counted", f"{outcomes['priced']:,}"),
        ("duplicates", f"{outcomes['duplicate']:,}"),
        ("refused", f"{outcomes['dead']:,}"),
    ):
        table.add_row(name, value)
    return _titled("Pipeline", table)


def _refused(reasons: Mapping[str, int]) -> RenderableType:
    counts = Counter(reasons).most_common()
    names = ", ".join(f"{name} {count}" if count > 1 else name for name, count in counts)
    total = sum(reasons.values())
    return _titled(f"Dead letters: {total}, kept byte for byte", Text(names, style="dim"))


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold cyan"), body)


def _table(*columns: str) -> Table:
    """`>` in front: right-aligned."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", no_wrap=True
        )
    return table


def _dollars(amount: str) -> str:
    return cents_display(pico_from_usd(amount))


def _short(count: int) -> str:
    """`8.1 M`, `412 k`: a table for people."""
    if count >= 10_000_000:
        return f"{count // 1_000_000:,} M"
    if count >= 1_000_000:
        return f"{count // 100_000 / 10:.1f} M"
    return f"{count // 1000:,} k" if count >= 10_000 else f"{count:,}"
