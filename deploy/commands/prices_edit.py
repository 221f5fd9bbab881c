"""`spendstream prices set|import|diff|history`: the operator's own prices, which are only added."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy.commands.options import (
    DryRun,
    Expected,
    Json,
    Reason,
    bootstrap_servers,
)
from spendstream.deploy.console import out, print_json, say, working
from spendstream.deploy.moments import iso
from spendstream.deploy.settings import load

if TYPE_CHECKING:
    from spendstream.schemas.prices.overrides import Overrides

FILE = "YAML: `prices:` and `aliases:`, as in schemas/README.md."

Provider = Annotated[str, typer.Argument(help="As events name it, or genai-prices.")]
Model = Annotated[str, typer.Argument(help="As events name it; `*` is any text.")]


def named_price(text: str) -> tuple[str, str]:
    """`input=0.01`."""
    leaf, equals, usd = text.partition("=")
    if not equals or not leaf or not usd:
        raise typer.BadParameter(f"{text!r} is not leaf=USD, like input=2.50")
    return leaf, usd


def set_price(
    provider: Provider,
    model: Model,
    prices: Annotated[
        list[Any],
        typer.Argument(
            parser=named_price, metavar="LEAF=USD…", help="Like input=2.50 output=10: all there is."
        ),
    ],
    valid_from: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="UTC; now where not given.")
    ] = None,
    tokens_per: Annotated[
        int, typer.Option(help="Token prices are for so many: 1000 or 1000000.")
    ] = 1_000_000,
    batch: Annotated[bool, typer.Option("--batch", help="Of calls in a batch.")] = False,
    tier: Annotated[str | None, typer.Option(help="Of this service tier.")] = None,
    region: Annotated[str | None, typer.Option(help="Of this region.")] = None,
    expect: Expected = None,
    why: Reason = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Add one model's prices. What was priced before stays as it is.

    They are all that the model costs from then on: what is not named has no price,
    and a call that used it is unpriced. Long contexts, images by size, hours of the
    day and aliases: `spendstream prices import`.
    """
    from spendstream.schemas.prices.overrides import parse_overrides

    when: dict[str, object] = {"tier": tier, "region": region}
    if batch:
        when["batch"] = True
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {
        "provider": provider,
        "model": model,
        "valid_from": valid_from or now,
        "when": {name: value for name, value in when.items() if value is not None},
        "tokens_per": tokens_per,
        "prices": dict(prices),
    }
    _add(parse_overrides({"prices": [entry]}), expect, why, dry_run, json)


def import_prices(
    file: Annotated[Path, typer.Argument(help=FILE)],
    expect: Expected = None,
    why: Reason = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Add what a file has and the prices have not. Nothing is taken away."""
    from spendstream.api.prices.file import read_overrides

    _add(read_overrides(file), expect, why, dry_run, json)


def diff(file: Annotated[Path, typer.Argument(help=FILE)], json: Json = False) -> None:
    """What importing a file would add, and each model's prices before and after."""
    from spendstream.api.prices.file import read_overrides

    _add(read_overrides(file), None, None, True, json)


def history(
    model: Annotated[
        str | None, typer.Argument(help="Only of models with this in their name.")
    ] = None,
    json: Json = False,
) -> None:
    """Every price and alias that was added: when, by whom, and why."""
    from spendstream.api.jobs.control_prices import read_versions
    from spendstream.api.prices.edits import described

    with working("reading"):
        versions = read_versions(bootstrap_servers(load()))
    rows: list[dict[str, Any]] = [
        {
            "version": one.version,
            "written_at": iso(one.written_at_ms),
            "author": one.author,
            "reason": one.reason,
            "adds": described(one.said),
        }
        for one in versions
        if model is None or model.lower() in one.said.model.lower()
    ]
    if json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("version", "written at", "author", "what", "why"):
        table.add_column(column, justify="right" if column == "version" else "left")
    for row in rows:
        table.add_row(
            str(row["version"]),
            str(row["written_at"]),
            str(row["author"]),
            _in_words(row["adds"]),
            str(row["reason"] or ""),
        )
    out.print(table)
    if not rows:
        say("the operator has added no price: genai-prices' hold")


def _add(wanted: Overrides, expect: int | None, why: str | None, dry_run: bool, json: bool) -> None:
    from spendstream.api.jobs.control_prices import add_prices, added, read_versions
    from spendstream.api.prices.edits import effects

    servers = bootstrap_servers(load())
    with working("reading the prices"):
        held = read_versions(servers)
        changes = effects(held, added(held, wanted), time.time_ns() // 1_000_000)
    written: list[int] = []
    if changes and not dry_run:
        with working("writing"):
            versions = add_prices(servers, wanted, expected_version=expect, reason=why)
        written = [version.version for version in versions]
    if json:
        print_json({"changes": changes, "versions": written})
        return
    for change in changes:
        say(f"  {_in_words(change['adds'])}")
        for line in _moves(change):
            say(f"    {line}")
    if not changes:
        say("nothing is added: all of it is there")
    elif dry_run:
        say("nothing was written")
    else:
        say(f"written as version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}")


def _in_words(said: Mapping[str, Any]) -> str:
    since = said["valid_from"].removesuffix("T00:00:00Z")
    name = f"{said['provider']}/{said['model']} from {since}"
    if "same_as" in said:
        return f"{name}: same as {said['same_as']['provider']}/{said['same_as']['model']}"
    when = ", ".join(
        name if value is True else f"{name} {'-'.join(value) if name == 'between' else value}"
        for name, value in said.get("when", {}).items()
    )
    prices = [f"{leaf} {usd}" for leaf, usd in said.get("prices", {}).items()]
    prices += [f"image {image['price']}" for image in said.get("images", ())]
    prices += [
        f"above {step['input_above']:,}: "
        + ", ".join(f"{leaf} {usd}" for leaf, usd in step["prices"].items())
        for step in said.get("long_context", ())
    ]
    unit = " a thousand tokens" if said.get("tokens_per") == 1000 else ""
    return f"{name}{f' ({when})' if when else ''}: {', '.join(prices)} USD{unit}"


def _moves(change: Mapping[str, Any]) -> list[str]:
    """Before and after, by leaf; nothing for a pattern."""
    if "after" not in change:
        return []
    before, after = (
        {} if found is None else {_place(line): line["price_usd"] for line in found["prices"]}
        for found in (change["before"], change["after"])
    )
    return [
        f"{place}: {before.get(place, 'no price')} → {after.get(place, 'no price')}"
        for place in dict.fromkeys((*before, *after))
        if before.get(place) != after.get(place)
    ]


def _place(line: Mapping[str, Any]) -> str:
    above = f" above {line['input_above']:,}" if "input_above" in line else ""
    kind = " ".join(str(line[name]) for name in ("size", "quality") if line.get(name))
    return f"{line['leaf']}{above}{f' {kind}' if kind else ''}, {line['per']}"
