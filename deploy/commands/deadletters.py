"""`spendstream deadletters`: what was refused, and why."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy.commands.options import Json, Timeout, bootstrap_servers, wait
from spendstream.deploy.console import out, print_json, say
from spendstream.deploy.settings import load
from spendstream.schemas.reasons import Reason

SHOWN = 50
ALL = 10_000_000


def reason_code(text: str) -> str:
    """`too_old`, as in `schemas.reasons`."""
    if text not in list(Reason):
        raise typer.BadParameter(f"{text!r} is not a reason code (there are {', '.join(Reason)})")
    return text


def deadletters(
    reason: Annotated[
        str | None,
        typer.Option(parser=reason_code, metavar="CODE", help="Only this one, like too_old."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"So many, the newest; default {SHOWN}, with --json all."),
    ] = None,
    settled: Annotated[
        bool, typer.Option("--settled", help="First wait until all that was sent is stored.")
    ] = False,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """Refused records, byte for byte, with a reason. They may hold prompts: for admins only."""
    from spendstream.api.records import dead_letter_counts, dead_letters
    from spendstream.deploy.clickhouse import reading

    settings = load()
    with reading(settings) as (_, client):
        if settled:
            wait(bootstrap_servers(settings), client, timeout)
        rows = dead_letters(client, reason, limit or (ALL if json else SHOWN))
        counts = dead_letter_counts(client)
    if json:
        print_json(rows)
        return
    if not rows:
        say("nothing was refused" if reason is None else f"nothing was refused as {reason}")
        return
    out.print(table_of(rows))
    total = sum(counts.values()) if reason is None else counts.get(reason, 0)
    say(f"{len(rows)} of {total:,} refused records")


def table_of(rows: list[dict[str, Any]]) -> Table:
    """One line a record; the value as far as it fits, unprintable bytes escaped."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    where = [f"{row['topic']}/{row['partition']}@{row['offset']}" for row in rows]
    # fixed widths, or a narrow terminal would take them from the two columns that fit
    table.add_column("reason", no_wrap=True, width=max(len(row["reason"]) for row in rows))
    table.add_column("where", no_wrap=True, width=max(map(len, where)))
    table.add_column("detail", ratio=3, overflow="ellipsis", no_wrap=True)
    table.add_column("value", ratio=2, overflow="ellipsis", no_wrap=True, style="dim")
    for row, place in zip(rows, where, strict=True):
        table.add_row(row["reason"], place, row["detail"], _shown(row))
    return table


def _shown(row: dict[str, Any]) -> str:
    encoded = row["value_base64"]
    if encoded is None:
        return "(none)"
    return ascii(base64.b64decode(encoded)[:200])[2:-1]
