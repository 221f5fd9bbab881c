"""`spendstream prices show|explain|check`: prices in force, one event's sum, what to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.commands.prices_edit import Provider
from spendstream.deploy.commands.report import moment
from spendstream.deploy.console import CommandError, out, print_json, say, working
from spendstream.deploy.home import Home
from spendstream.deploy.moments import now_ms
from spendstream.deploy.settings import Settings, load

SHOWN = 20


def show(
    provider: Provider,
    model: Annotated[str, typer.Argument(help="As events name it.")],
    at: Annotated[
        Any, typer.Option(parser=moment, metavar="TIME", help="UTC; now where not given.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Of calls in a batch.")] = False,
    tier: Annotated[str | None, typer.Option(help="Of this service tier.")] = None,
    region: Annotated[str | None, typer.Option(help="Of this region.")] = None,
    json: Json = False,
) -> None:
    """A model's prices, each with its unit, and where they come from. Exit code 1: it has none."""
    from spendstream.api.jobs.control_prices import read_versions
    from spendstream.api.prices.words import lines_of
    from spendstream.schemas.period import to_ms
    from spendstream.schemas.prices.compile import compile_book
    from spendstream.schemas.prices.context import context_of
    from spendstream.schemas.prices.version import overrides_of

    with working("reading"):
        book = compile_book(overrides_of(read_versions(bootstrap_servers(load()))))
    at_ms = now_ms() if at is None else to_ms(at)
    prices = book.resolve(provider, model, at_ms, context_of(batch, tier, region))
    if prices is None:
        raise CommandError(
            f"{provider}/{model} has no price: its calls are unpriced. `spendstream prices set` "
            "gives it one, an alias in `spendstream prices import` that of another model",
            failures.NOT_RIGHT,
        )
    found = {
        "provider": provider,
        "model": model,
        "rule": prices.rule,
        "exact": prices.exact,
        "price_version": book.version,
        "prices": lines_of(prices),
    }
    if json:
        print_json(found)
        return
    say(f"{prices.rule}; {book.version}")
    if not prices.exact:
        say("an estimate: a condition of the call has no price of its own")
    table = _table("leaf", "above input", "USD", "for")
    for line in lines_of(prices):
        above = f"{line['input_above']:,}" if "input_above" in line else ""
        kind = " ".join(filter(None, (line["leaf"], line.get("size"), line.get("quality"))))
        table.add_row(kind, above, line["price_usd"], line["per"])
    out.print(table)


def explain(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    workspace: Annotated[str | None, typer.Option(help="Where several have the id.")] = None,
    json: Json = False,
) -> None:
    """One event's sum, line by line: quantity, price, rule, source; and how it was charged."""
    from spendstream.api.jobs.control import mirrored_versions, read_versions
    from spendstream.api.prices.explain import explain as explained
    from spendstream.deploy.clickhouse import reading

    settings = load()
    servers = _servers(settings)
    with reading(settings) as (_, client), working("looking it up"):
        versions = (
            read_versions(servers)
            if servers
            else [record.version for record in mirrored_versions(client)]
        )
        found = explained(client, event, workspace, {v.version: v.plan for v in versions})
    if json:
        print_json(found)
    else:
        show_sum(found)


def show_sum(found: dict[str, Any]) -> None:
    """The lines, then what becomes of their sum."""
    said = ", ".join(
        [*(["batch"] if found["batch"] else []),
         *(found[name] for name in ("service_tier", "region") if found[name])]
    )  # fmt: skip
    say(
        f"{found['event']} of {found['workspace']}, {found['time']}: "
        f"{found['provider']}/{found['model']}{f' ({said})' if said else ''}, {found['status']}"
    )
    table = _table("what", "quantity", "price", "for", "USD")
    for line in found["lines"]:
        other = "" if line["model"] == found["model"] else f" ({line['model']})"
        table.add_row(
            line["leaf"] + other,
            f"{line['quantity']:,}",
            line["price_usd"],
            line["per"],
            line["cost_usd"],
        )
    for name, amount in (
        ("computed cost", found["computed_cost_usd"]),
        ("reported cost", found["reported_cost_usd"]),
        (f"cost ({found['quality']})", found["cost_usd"]),
        (f"charge ({found['charge_is']})", found["charge_usd"]),
    ):
        if amount is not None:
            table.add_row(name, "", "", "", amount)
    out.print(table)
    if found["why_unpriced"]:
        say(f"no cost: {found['why_unpriced']}")
    if found["rule"]:
        say(f"by {found['rule']} of {found['source']}; {found['price_version']}")
    say(f"plan version {found['plan_version']}, booked to {found['billing_period']}")


def check(
    data: Annotated[
        Path | None, typer.Option(help="A newer genai-prices' data.json, to compare with.")
    ] = None,
    json: Json = False,
) -> None:
    """Models without a price, retired ones, prices that changed. Exit code 1 if there are any.

    Prices that changed are those of the last call that another version priced: its
    row stays, re-rating would move it. Published prices that are finer than an
    atto-dollar, and are rounded, are listed with --json.
    """
    from spendstream.api.jobs.control_prices import mirrored_records, read_versions
    from spendstream.api.prices.check import check_prices
    from spendstream.deploy.clickhouse import reading
    from spendstream.schemas.prices.compile import compile_book
    from spendstream.schemas.prices.version import overrides_of

    newer = None if data is None else _providers(data)
    settings = load()
    servers = _servers(settings)
    with reading(settings) as (_, client), working("comparing"):
        versions = (
            read_versions(servers)
            if servers
            else [record.version for record in mirrored_records(client)]
        )
        book = compile_book(overrides_of(versions))
        found = check_prices(client, book, now_ms(), newer)
    if json:
        print_json(found)
    else:
        show_check(found)
    if not found["ok"]:
        raise typer.Exit(failures.NOT_RIGHT)


def show_check(found: dict[str, Any]) -> None:
    """What there is to look at, a table each."""
    tables = {
        "unpriced": ("provider", "model", "events", "last", "priced_now"),
        "retired": ("provider", "model"),
        "changed_since_priced": ("provider", "model", "leaf", "then_usd", "now_usd", "per"),
        "changed_in_newer_data": ("provider", "model", "leaf", "installed_usd", "newer_usd", "per"),
    }
    for name, columns in tables.items():
        rows = found[name]
        if not rows:
            continue
        say(f"{name.replace('_', ' ')}: {len(rows)}")
        table = _table(*(column.removesuffix("_usd").replace("_", " ") for column in columns))
        for row in rows[:SHOWN]:
            table.add_row(*("–" if row[c] is None else str(row[c]) for c in columns))
        out.print(table)
        if len(rows) > SHOWN:
            say(f"… and {len(rows) - SHOWN:,} more: --json shows all")
    verdict = "nothing to look at" if found["ok"] else "to be looked at"
    say(
        f"{found['models_seen']:,} models seen, {verdict}; {len(found['cleaned']):,} published "
        f"prices are rounded to the atto-dollar; {found['price_version']}"
    )


def _providers(data: Path) -> list[Any]:
    from spendstream.schemas.prices.compile import read_providers

    try:
        return read_providers(data.read_bytes())
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(
            f"{data}: no data file of genai-prices: {error}", failures.WRONG_INPUT
        ) from error


def _servers(settings: Settings) -> str | None:
    """None: no broker runs, and what is mirrored in ClickHouse counts."""
    running = Home(settings.home).running()
    return settings.bootstrap_servers or (running.bootstrap_servers if running else None)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    numbers = ("above input", "quantity", "USD", "price", "events", "then", "now")
    for column in columns:
        right = column in (*numbers, "installed", "newer")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table
