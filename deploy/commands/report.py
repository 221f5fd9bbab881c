"""`spendstream report`: who spent what, grouped."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy.commands.options import Json, Timeout, bootstrap_servers, wait
from spendstream.deploy.console import out, print_json, working
from spendstream.deploy.settings import load

NUMBERS = ("requests", "input_tokens", "output_tokens", "total_tokens")
AT_OR_AFTER = "Only calls at or after it, like 2026-11-22 or 2026-11-22T10:00; UTC."
MONEY = ("cost_usd", "charge_usd")


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
            "trackable, api_key, quality, tag:<key>, hour, day, month."
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
        out.print(table_of(rows, groups))


def table_of(rows: list[dict[str, Any]], groups: list[str]) -> Table:
    """The biggest charge first; money to the cent here only, exact in `--json`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in groups:
        table.add_column(name.replace("_", " "), overflow="fold")
    for name in (*NUMBERS, *MONEY):
        # short heads leave the room to the names
        head = name.removesuffix("_usd").removesuffix("_tokens")
        table.add_column(head, justify="right", no_wrap=True)
    by_charge = sorted(rows, key=lambda row: Decimal(row["charge_usd"]), reverse=True)
    periods = [name for name in groups if name in ("hour", "day", "month")]
    for row in rows if periods else by_charge:
        names = [str(row[name]) if row[name] is not None else "–" for name in groups]
        numbers = [f"{row[name]:,}" for name in NUMBERS]
        table.add_row(*names, *numbers, *(dollars(row[name]) for name in MONEY))
    return table


def dollars(amount: str) -> str:
    """`$1,234.57` of an exact decimal string, for people."""
    from spendstream.schemas.money import cents_display, pico_from_usd

    return cents_display(pico_from_usd(amount))
