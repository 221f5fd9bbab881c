"""`spendstream topics`: list, create, check."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.console import out, print_json, say, styled, working
from spendstream.deploy.settings import load
from spendstream.schemas.topics import BY_NAME, DAY_MS, DEFAULT_PARTITIONS, FOREVER

app = typer.Typer(help="The topics in Kafka: list, create, check.", no_args_is_help=True)

Partitions = Annotated[int, typer.Option(min=1, max=10_000, help="Cannot be changed later.")]


@app.command("list")
def list_topics(json: Json = False) -> None:
    """What every topic is for, and what the broker has of it."""
    from spendstream.deploy.topics_admin import describe

    with working("asking the broker"):
        found = describe(bootstrap_servers(load()))
    if json:
        print_json([{**asdict(topic), "purpose": BY_NAME[topic.name].purpose} for topic in found])
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("topic", "partitions", "replicas", "kept", "purpose"):
        table.add_column(
            column, justify="right" if column in ("partitions", "replicas") else "left"
        )
    for topic in found:
        wanted = BY_NAME[topic.name]
        kept = "newest by key" if wanted.cleanup == "compact" else _days(wanted.retention_ms)
        partitions = str(topic.partitions) if topic.partitions else styled("missing", "red")
        table.add_row(topic.name, partitions, str(topic.replication), kept, wanted.purpose)
    out.print(table)


@app.command()
def create(
    partitions: Partitions = DEFAULT_PARTITIONS,
    replication: Annotated[int, typer.Option(min=1, max=100, help="Copies; 3 in production.")] = 1,
    json: Json = False,
) -> None:
    """Create what is missing. What exists stays as it is."""
    from spendstream.deploy.topics_admin import create as create_topics

    with working("creating"):
        created = create_topics(bootstrap_servers(load()), partitions, replication)
    if json:
        print_json({"created": created})
    else:
        say(f"created: {', '.join(created)}" if created else "all topics existed already")


@app.command()
def check(
    partitions: Annotated[
        int | None, typer.Option(min=1, help="How many are right; default as usage.events has.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare the broker's topics with what they should be. Exit code 1 where one differs."""
    from spendstream.deploy.topics_admin import check as check_topics

    with working("asking the broker"):
        mismatches = check_topics(bootstrap_servers(load()), partitions)
    if json:
        print_json({"ok": not mismatches, "mismatches": mismatches})
    else:
        say("\n".join(mismatches) or "all topics are as they should be")
    if mismatches:
        raise typer.Exit(failures.NOT_RIGHT)


def _days(retention_ms: int) -> str:
    return "for ever" if retention_ms == FOREVER else f"{retention_ms // DAY_MS} days"
