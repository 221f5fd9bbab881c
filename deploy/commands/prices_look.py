"""`spendstream prices show|explain|check`: prices in force, one event's sum, what to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from spendstream.schemas.period import iso_seconds

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from spendstream.schemas.prices.version import PriceVersion

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
    from spendstream.api.prices.words import lines_of, source_of
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
        "batch": batch,
        "service_tier": tier,
        "region": region,
        "at": iso_seconds(at_ms),
        "rule": prices.rule,
        "source": source_of(prices.rule),
        "exact": prices.exact,
        "price_version": book.version,
        "prices": lines_of(prices),
    }
    if json:
        print_json(found)
    else:
        show_prices(found)


def show_prices(found: dict[str, Any]) -> None:
    """The lines, and what holds for what is in none of them."""
    lines, kind = found["prices"], _kind(found)
    say(f"{_name(found)}{f' ({kind})' if kind else ''} at {found['at']}")
    say(f"by {found['rule']} of {found['source']}; price version {found['price_version']}")
    if not found["exact"]:
        say(f"such calls ({kind}) are estimates: not all of that has a price of its own")
    above = ("of calls with an input above",) if any("input_above" in one for one in lines) else ()
    table = _table("what", "USD", "for", *above)
    for line in lines:
        what = " ".join(filter(None, (line["leaf"], line.get("size"), line.get("quality"))))
        start = f"{line['input_above']:,} tokens" if "input_above" in line else ""
        table.add_row(what, line["price_usd"], line["per"], *(start for _ in above))
    out.print(table)
    say(
        "Cached, reasoning, audio, image and video tokens that are not listed cost what the input "
        "or output around them costs; a call that uses anything else that is not listed is "
        "unpriced."
    )


def explain(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    workspace: Annotated[str | None, typer.Option(help="Where several have the id.")] = None,
    json: Json = False,
) -> None:
    """One event's sum, line by line: quantity, price, rule, source; and how it was charged."""
    from spendstream.api.jobs import control
    from spendstream.api.prices.explain import explain as explained
    from spendstream.deploy.clickhouse import reading

    settings = load()
    servers = _servers(settings)
    with reading(settings) as (_, client), working("looking it up"):
        plans = (
            control.read_versions(servers)
            if servers
            else [record.version for record in control.mirrored_versions(client)]
        )
        prices = _prices(client, servers)
        found = explained(client, event, workspace, {v.version: v.plan for v in plans}, prices)
    if json:
        print_json(found)
    else:
        show_sum(found)


def show_sum(found: dict[str, Any]) -> None:
    """The lines, then what becomes of their sum."""
    said = _kind(found)
    say(
        f"{found['event']} of {found['workspace']}, {found['time']}: "
        f"{found['provider']}/{found['model']}{f' ({said})' if said else ''}, {found['status']}"
    )
    table = _sum_table(found["model"], found["lines"])
    for name, amount in (
        ("computed cost", found["computed_cost_usd"]),
        ("reported cost", found["reported_cost_usd"]),
        (f"cost ({found['quality']})", found["cost_usd"]),
        (f"charge ({found['charge_is']})", found["charge_usd"]),
    ):
        if amount is not None:
            table.add_row(name, "", "", "", amount)
    out.print(table)
    if found["rule"]:
        say(f"{_all_by(found['lines'])}price version {found['price_version']}")
    if found["charge_lines"]:
        say("\nthe charge, line by line:")
        out.print(_sum_table(found["model"], found["charge_lines"]))
        say(f"{_all_by(found['charge_lines'])}without markup\n")
    if found["why_no_charge_lines"]:
        say(f"the charge's lines cannot be shown: {found['why_no_charge_lines']}")
    if found["why_unpriced"]:
        say(f"no cost: {found['why_unpriced']}")
    say(f"plan version {found['plan_version']}, booked to {found['billing_period']}")


def _sum_table(model: str, lines: list[dict[str, Any]]) -> Table:
    own = () if _all_by(lines) else ("rule", "source")
    table = _table("what", "quantity", "price", "for", "USD", *own)
    for line in lines:
        other = "" if line["model"] == model else f" ({line['model']})"
        table.add_row(
            line["leaf"] + other,
            f"{line['quantity']:,}",
            line["price_usd"],
            line["per"],
            line["cost_usd"],
            *(line[name] for name in own),
        )
    return table


def _all_by(lines: list[dict[str, Any]]) -> str:
    """The rule of all lines; empty where they have several, which the table then shows."""
    rules = {f"by {line['rule']} of {line['source']}; " for line in lines}
    return rules.pop() if len(rules) == 1 else ""


def check(
    data: Annotated[
        Path | None, typer.Option(help="A newer genai-prices' data.json, to compare with.")
    ] = None,
    json: Json = False,
) -> None:
    """Models without a price, retired ones, prices that changed.

    Exit code 1: there is something to do. Models have no price, retired ones
    were called within 31 days, or newer data has other prices.

    Also shown, with exit code 0: what the last call of each kind would cost
    otherwise by now, and what was unpriced and has a price by now. Their rows
    stay; re-rating would move them. With --json also: retired models that
    nobody calls any more, and published prices that are rounded.
    """
    from spendstream.api.prices.check import check_prices
    from spendstream.deploy.clickhouse import reading
    from spendstream.schemas.prices.compile import compile_book
    from spendstream.schemas.prices.version import overrides_of

    newer = None if data is None else _providers(data)
    settings = load()
    servers = _servers(settings)
    with reading(settings) as (_, client), working("comparing"):
        book = compile_book(overrides_of(_prices(client, servers)))
        found = check_prices(client, book, now_ms(), newer)
    if json:
        print_json(found)
    else:
        show_check(found)
    if not found["ok"]:
        raise typer.Exit(failures.NOT_RIGHT)


def show_check(found: dict[str, Any]) -> None:
    """What there is to do, then what is only to be known, a table each."""
    unpriced = [one for one in found["unpriced"] if not one["priced_now"]]
    priced_now = [one for one in found["unpriced"] if one["priced_now"]]
    called = [one for one in found["retired"] if one["still_called"]]
    _show_found(
        "Without a price",
        ("model", "kind", "calls", "last"),
        [(_name(one), _kind(one), f"{one['events']:,}", one["last"]) for one in unpriced],
        "Their calls are in no sum of costs. `spendstream prices set` gives them a price (with "
        "--from, from before the last call), an alias in `spendstream prices import` that of "
        "another model.",
    )
    _show_found(
        "Retired by their providers, and still called",
        ("model", "last called"),
        [(_name(one), one["last_day"]) for one in called],
        "Their providers may end them: whoever calls them should choose another.",
    )
    _show_found(
        "Other prices in the newer data",
        ("model", "kind", "from", "what", "installed", "newer", "for"),
        [
            (
                *(_name(one), one["calls"] or "", one["from"] or "now", _what(one)),
                *(one["installed_usd"], one["newer_usd"], one["per"]),
            )
            for one in found["changed_in_newer_data"]
        ],
        "They hold once that genai-prices is installed, or `spendstream prices set` has set them.",
    )
    _show_found(
        "Unpriced when they were counted, with a price by now",
        ("model", "kind", "calls", "last"),
        [(_name(one), _kind(one), f"{one['events']:,}", one["last"]) for one in priced_now],
        "Nothing to do: these calls stay unpriced until they are re-rated.",
    )
    _show_found(
        "Changed since calls were priced (the last call of each kind, priced again)",
        ("model", "kind", "what", "then", "now", "for", "calls", "priced with"),
        [
            (
                *(_name(one), _kind(one), _what(one), one["then_usd"], one["now_usd"], one["per"]),
                *(f"{one['events']:,}", one["price_version"]),
            )
            for one in found["changed_since_priced"]
        ],
        "Nothing to do: what was priced stays as it is until it is re-rated.",
    )
    say(
        f"{found['models_seen']:,} models seen, "
        f"{'nothing to do' if found['ok'] else 'something to do'}; {found['price_version']}"
    )


def _show_found(
    title: str, columns: tuple[str, ...], rows: list[tuple[str | None, ...]], hint: str
) -> None:
    """Nothing where there is nothing."""
    if not rows:
        return
    say(f"{title}: {len(rows):,}")
    table = _table(*columns)
    for row in rows[:SHOWN]:
        table.add_row(*("–" if cell is None else cell for cell in row))
    out.print(table)
    if len(rows) > SHOWN:
        say(f"… and {len(rows) - SHOWN:,} more: --json shows all")
    say(f"{hint}\n")


def _name(one: dict[str, Any]) -> str:
    return f"{one['provider']}/{one['model']}"


def _kind(one: dict[str, Any]) -> str:
    """Of calls: what else their prices depend on."""
    kinds = ["batch"] if one["batch"] else []
    return ", ".join([*kinds, *filter(None, (one["service_tier"], one["region"]))])


def _what(one: dict[str, Any]) -> str:
    above = f" above {one['input_above']:,}" if one.get("input_above") else ""
    other = one.get("priced_as", one["model"])
    return f"{one['leaf']}{above}{f' ({other})' if other != one['model'] else ''}"


def _providers(data: Path) -> list[Any]:
    from spendstream.schemas.prices.compile import read_providers

    try:
        return read_providers(data.read_bytes())
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(
            f"{data}: no data file of genai-prices: {error}", failures.WRONG_INPUT
        ) from error


def _prices(client: Client, servers: str | None) -> list[PriceVersion]:
    from spendstream.api.jobs.control_prices import mirrored_records, read_versions

    if servers:
        return read_versions(servers)
    return [record.version for record in mirrored_records(client)]


def _servers(settings: Settings) -> str | None:
    """None: no broker runs, and what is mirrored in ClickHouse counts."""
    running = Home(settings.home).running()
    return settings.bootstrap_servers or (running.bootstrap_servers if running else None)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    numbers = ("quantity", "USD", "price", "calls", "then", "now")
    for column in columns:
        right = column in (*numbers, "installed", "newer")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table
