"""`spendstream prices`: show, set, import, diff, history, explain, check, calc."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands import prices_edit, prices_look
from spendstream.deploy.commands.options import Json
from spendstream.deploy.console import CommandError, out, print_json, say

app = typer.Typer(help="What calls cost: look, set, explain, check.", no_args_is_help=True)
app.command("show")(prices_look.show)
app.command("set")(prices_edit.set_price)
app.command("import")(prices_edit.import_prices)
app.command("diff")(prices_edit.diff)
app.command("history")(prices_edit.history)
app.command("explain")(prices_look.explain)
app.command("check")(prices_look.check)

LINES = "JSON lines: provider, model, timestamp, usage; their own prices and price_context."


@app.command()
def calc(
    file: Annotated[Path, typer.Argument(help=LINES)],
    overrides: Annotated[
        Path | None, typer.Option(help="YAML: the operator's prices, above those of genai-prices.")
    ] = None,
    json: Json = False,
) -> None:
    """Price the calls of a file, each with its parts; nothing is stored.

    A line that brings its own prices is priced by them, any other by genai-prices
    and the overrides, at its time.
    """
    from spendstream.api.prices.file import read_overrides
    from spendstream.schemas.prices.calc import answer
    from spendstream.schemas.prices.compile import compile_book
    from spendstream.schemas.prices.overrides import NO_OVERRIDES

    book = compile_book(NO_OVERRIDES if overrides is None else read_overrides(overrides))
    answers = [answer(book, line) for line in _lines(file)]
    if json:
        print_json(answers)
        return
    out.print(table_of(answers))
    refused = sum(found["quality"] == "refused" for found in answers)
    unpriced = sum(found["quality"] == "unpriced" for found in answers)
    say(f"{len(answers):,} lines, {unpriced:,} unpriced, {refused:,} refused; {book.version}")


def table_of(answers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("id")
    for part in ("cost", "input", "output", "other"):
        table.add_column(part, justify="right")
    table.add_column("rests on")
    table.add_column("by")
    for found in answers:
        parts = found.get("parts", {})
        table.add_row(
            str(found["id"]),
            found["cost_usd"],
            *(parts.get(side) for side in ("input", "output", "other")),
            found["quality"],
            found.get("rule") or found.get("error"),
        )
    return table


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = loads(line)
            except (ValueError, RecursionError):  # not UTF-8, no JSON, nested too deeply
                found = None
            if not isinstance(found, dict):
                raise CommandError(
                    f"{file}, line {number}: not a JSON object", failures.WRONG_INPUT
                )
            yield found
