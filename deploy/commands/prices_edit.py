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
from spendstream.deploy.settings import load
from spendstream.schemas.period import iso_seconds

if TYPE_CHECKING:
    from spendstream.api.prices.words import Place
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
        list[Any] | None,
        typer.Argument(
            parser=named_price, metavar="LEAF=USD…", help="Like input=2.50 output=10: all there is."
        ),
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="UTC; now where not given.")
    ] = None,
    tokens_per: Annotated[
        int, typer.Option(help="Token prices are for so many: 1000 or 1000000.")
    ] = 1_000_000,
    batch: Annotated[bool, typer.Option("--batch", help="Of calls in a batch.")] = False,
    tier: Annotated[str | None, typer.Option(help="Of this service tier.")] = None,
    region: Annotated[str | None, typer.Option(help="Of this region.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="No price of yours: genai-prices' hold again.")
    ] = False,
    expect: Expected = None,
    why: Reason = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Add one model's prices. What was priced before stays as it is.

    They are all that the model costs from then on. Cached, reasoning and other
    parts of the tokens that are not named cost what is around them; a call that
    used anything else that is not named is unpriced. Long contexts, images by size, hours of the
    day and aliases: `spendstream prices import`.
    """
    from spendstream.schemas.prices.overrides import parse_overrides

    named = dict(prices or ())
    if len(named) < len(prices or ()):
        raise typer.BadParameter("a leaf is named twice")
    when: dict[str, object] = {"tier": tier, "region": region}
    if batch:
        when["batch"] = True
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry: dict[str, object] = {
        "provider": provider,
        "model": model,
        "valid_from": valid_from or now,
        "when": {name: value for name, value in when.items() if value is not None},
        "tokens_per": tokens_per,
        "prices": named,
    }
    if published:
        entry["published"] = True
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
            "written_at": iso_seconds(one.written_at_ms),
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
    if not rows:
        say(
            f"no price that was added is for a model with {model!r} in its name"
            if versions
            else "the operator has added no price: genai-prices' hold"
        )
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
    say(
        "Of several for the same model and conditions the latest `from` counts, of equals the "
        "latest version. `spendstream prices show PROVIDER MODEL` says what is in force."
    )


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
        for note in change["notes"]:
            say(f"    note: {note}")
    if not changes:
        say("nothing is added: all of it is there")
    elif dry_run:
        say("nothing was written")
    else:
        say(f"written as version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}")


def _in_words(said: Mapping[str, Any]) -> str:
    from spendstream.api.prices.words import per
    from spendstream.schemas.prices.units import TOKENS

    since = said["valid_from"].removesuffix("T00:00:00Z")
    name = f"{said['provider']}/{said['model']} from {since}"
    if "same_as" in said:
        return f"{name}: same as {said['same_as']['provider']}/{said['same_as']['model']}"
    when = ", ".join(
        name
        if value is True
        else f"{name} {'-'.join(value) + ' UTC' if name == 'between' else value}"
        for name, value in said.get("when", {}).items()
    )
    if said.get("published"):
        return f"{name}{f' ({when})' if when else ''}: genai-prices' hold again"
    prices = said.get("prices", {})
    unit = f"{said.get('tokens_per', 1_000_000):,} tokens"
    parts = [_tokens({leaf: usd for leaf, usd in prices.items() if leaf in TOKENS}, unit)]
    parts += [
        f"with an input above {step['input_above']:,}: {_tokens(step['prices'], unit)}"
        for step in said.get("long_context", ())
    ]
    parts += [
        f"{leaf} {usd} USD per {per(leaf)}" for leaf, usd in prices.items() if leaf not in TOKENS
    ]
    parts += [
        " ".join(filter(None, ("image", image.get("size"), image.get("quality"), image["price"])))
        + " USD"
        for image in said.get("images", ())
    ]
    return f"{name}{f' ({when})' if when else ''}: {'; '.join(filter(None, parts))}"


def _tokens(prices: Mapping[str, str], unit: str) -> str:
    said = ", ".join(f"{leaf} {usd}" for leaf, usd in prices.items())
    return f"{said} USD per {unit}" if said else ""


def _moves(change: Mapping[str, Any]) -> list[str]:
    """Before and after, by leaf; nothing for a pattern."""
    from spendstream.api.prices.words import moved, per

    if "after" not in change:
        return []
    before, after = (
        found["prices"] if found else () for found in (change["before"], change["after"])
    )
    return [
        f"{place}, {per(place.leaf)}: {old or _absent(place)} → {new or _absent(place)}"
        for place, old, new in moved(before, after)
    ]


def _absent(place: Place) -> str:
    """Of tokens the kind around them may have one, of a larger input the smaller."""
    from spendstream.schemas.prices.units import TOKENS

    whole = place.leaf not in TOKENS or (
        place.leaf in ("input", "output") and not place.input_above
    )
    return "no price" if whole else "no price of its own"
