"""`spendstream verify`: prove every figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, Timeout, wait
from spendstream.deploy.console import out, print_json, working
from spendstream.deploy.home import Home
from spendstream.deploy.settings import load

SHOWN = 20


def verify(
    settled: Annotated[
        bool,
        typer.Option(help="First wait until all that was sent is stored."),
    ] = True,
    manifests: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Of what was sent; default those of the home directory for the broker.",
        ),
    ] = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """Recount everything in plain decimals and compare. Exit code 1 on any difference.

    What was sent is recounted from its manifests. Raw rows, roll-ups, the
    workers' counters, credit and overage must all come to the same figures.
    With the stack stopped, what the workers stored last is compared.
    """
    from spendstream.api.jobs.verify import verify as verified
    from spendstream.deploy.clickhouse import reading

    settings = load()
    home = Home(settings.home)
    running = home.running()
    servers = settings.bootstrap_servers or (running.bootstrap_servers if running else None)
    of_broker = home.manifests_of(settings.bootstrap_servers)
    with reading(settings) as (_, client):
        if settled and servers:
            wait(servers, client, timeout)
        with working("recounting") as tell:
            result = verified(client, servers, manifests or of_broker, tell)
    if json:
        print_json(result)
    else:
        show(dict(result))
    if not result["ok"]:
        raise typer.Exit(failures.NOT_RIGHT)


def show(result: dict[str, Any]) -> None:
    """The verdict, and the first differences."""
    events = f"{result['events']:,} events"
    if result["ok"]:
        told = f"  {events}: no difference, to the pico-dollar"
        out.print(Text.assemble(("✓ exact", "bold green"), told))
    else:
        differences = result["differences"]
        verdict = f"✗ {len(differences):,} differences"
        out.print(Text.assemble((verdict, "bold red"), f" in {events}"))
        out.print(table_of(differences[:SHOWN]))
        if len(differences) > SHOWN:
            out.print(f"… and {len(differences) - SHOWN:,} more: --json shows all", style="dim")
    out.print(f"  basis: {result['basis']}", style="dim", soft_wrap=True)


def table_of(differences: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("what", "where", "expected", "found"):
        table.add_column(column, overflow="fold")
    for item in differences:
        where = ", ".join(
            f"{name} {value}"
            for name, value in item.items()
            if name not in ("what", "expected", "found")
        )
        cells = (item["what"], where, item["expected"], item["found"])
        table.add_row(*map(str, cells))
    return table
