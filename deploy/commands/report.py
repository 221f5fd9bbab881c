"""`spendstream report`: who spent what, grouped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from spendstream.deploy.commands.options import Json, Timeout, bootstrap_servers, wait
from spendstream.deploy.console import out, print_json, working
from spendstream.deploy.settings import load

AT_OR_AFTER = "Only calls at or after it, like 2026-11-22 or 2026-11-22T10:00; UTC."


class Shown(StrEnum):
    """What a table shows beside the groups: all of it would not fit into a terminal."""

    TOKENS = "tokens"
    COSTS = "costs"
    QUALITY = "quality"


COLUMNS: Final = {
    Shown.TOKENS: (
        ("requests", "requests"),
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("total", "total_tokens"),
        ("cost", "cost_usd"),
        ("charge", "charge_usd"),
    ),
    Shown.COSTS: (
        ("requests", "requests"),
        ("input", "input_cost_usd"),
        ("output", "output_cost_usd"),
        ("other", "other_cost_usd"),
        ("cost", "cost_usd"),
        ("charge", "charge_usd"),
    ),
}
"""Short heads, which leave the room to the names."""


def moment(text: str) -> datetime:
    """`2026-11-22`, `2026-11-22T10:00`, with an offset or in UTC."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a date or time like 2026-11-22 or 2026-11-22T10:00Z") from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def named_value(text: str) -> tuple[str, str]:
    """`workspace=northwind`; the value may be empty."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not name=value, like workspace=northwind")
    return name, value


def report(
    group_by: Annotated[
        str,
        typer.Option(
            help="Comma-separated: workspace, user, model, provider, request_type, task, "
            "trackable, api_key, quality, operation, kind, tag:<key>, hour, day, month."
        ),
    ] = "workspace",
    start: Annotated[
        Any, typer.Option("--from", parser=moment, metavar="TIME", help=AT_OR_AFTER)
    ] = None,
    end: Annotated[
        Any, typer.Option("--to", parser=moment, metavar="TIME", help="Only calls before it.")
    ] = None,
    filters: Annotated[
        list[Any] | None,
        typer.Option(
            "--filter",
            parser=named_value,
            metavar="NAME=VALUE",
            help="Only these. Repeat it for more names, or for more values of one.",
        ),
    ] = None,
    shown: Annotated[
        Shown,
        typer.Option(
            "--show", help="What the table shows: tokens, costs apart, or what the costs rest on."
        ),
    ] = Shown.TOKENS,
    settled: Annotated[
        bool, typer.Option("--settled", help="First wait until all that was sent is stored.")
    ] = False,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """Requests, tokens, cost and charge by group. Works with the stack stopped, too."""
    from spendstream.api.reports import build
    from spendstream.api.reports import report as grouped
    from spendstream.deploy.clickhouse import reading

    settings = load()
    groups = [name.strip() for name in group_by.split(",") if name.strip()]
    wanted: dict[str, list[str]] = {}
    for name, value in filters or []:
        wanted.setdefault(name, []).append(value)
    # mistakes are told before ClickHouse is looked for, or started
    build(groups, start, end, wanted)
    with reading(settings) as (_, client):
        if settled:
            wait(bootstrap_servers(settings), client, timeout)
        with working("adding up"):
            rows = grouped(client, groups, start, end, wanted)
    if json:
        print_json(rows)
    else:
        out.print(table_of(rows, groups, shown))
        if told := rests_on(rows):
            out.print(told, style="dim")


def table_of(rows: list[dict[str, Any]], groups: list[str], shown: Shown = Shown.TOKENS) -> Table:
    """The biggest charge first; money to the cent here only, exact in `--json`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in groups:
        table.add_column(name.replace("_", " "), overflow="fold")
    qualities = quality_names(rows)
    heads = qualities if shown is Shown.QUALITY else [head for head, _ in COLUMNS[shown]]
    for head in heads:
        table.add_column(head.replace("_", " "), justify="right", no_wrap=True)
    by_charge = sorted(rows, key=lambda row: Decimal(row["charge_usd"]), reverse=True)
    periods = [name for name in groups if name in ("hour", "day", "month")]
    for row in rows if periods else by_charge:
        names = [str(row[name]) if row[name] is not None else "–" for name in groups]
        if shown is Shown.QUALITY:
            figures = [_rests(row["by_quality"].get(name)) for name in qualities]
        else:
            figures = [_figure(name, row[name]) for _, name in COLUMNS[shown]]
        table.add_row(*names, *figures)
    return table


def quality_names(rows: list[dict[str, Any]]) -> list[str]:
    """Measured, and what else there is."""
    found = {name: None for row in rows for name, of in row["by_quality"].items() if of["requests"]}
    return ["measured", *(name for name in found if name != "measured")]


def rests_on(rows: list[dict[str, Any]]) -> str:
    """What all the rows together rest on, in words; empty where all of it was measured."""
    told = []
    for name in quality_names(rows):
        of = [row["by_quality"][name] for row in rows if name in row["by_quality"]]
        requests = sum(row["requests"] for row in of)
        cost = _sum(row["cost_usd"] for row in of)
        money = "" if name == "unpriced" else f" ({dollars(cost)})"
        told.append(f"{name.replace('_', ' ')} {requests:,}{money}")
    return "" if told[1:] == [] else f"requests, and their cost: {', '.join(told)}"


def _rests(of: dict[str, Any] | None) -> str:
    if of is None or not of["requests"]:
        return "–"
    return f"{of['requests']:,}  {dollars(of['cost_usd'])}"


def _figure(name: str, value: Any) -> str:
    return dollars(value) if name.endswith("_usd") else f"{value:,}"


def _sum(amounts: Iterable[str]) -> str:
    return f"{sum(map(Decimal, amounts), Decimal(0)):f}"


def dollars(amount: str) -> str:
    """`$1,234.57` of an exact decimal string, for people; what is too little for a cent is not
    shown as nothing."""
    from spendstream.schemas.money import cents_display, pico_from_usd

    pico = pico_from_usd(amount)
    shown = cents_display(pico)
    return "<$0.01" if pico > 0 and shown == "$0.00" else shown
