"""`spendstream partitions`: which lost something and what, and how an operator lets them go on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, bootstrap_servers, clickhouse_url
from spendstream.deploy.console import CommandError, print_json, say, working
from spendstream.deploy.settings import Settings, load

if TYPE_CHECKING:
    from spendstream.sinks.clickhouse.config import LoaderConfig

app = typer.Typer(
    help="Partitions that lost something: which, what, and letting them go on.",
    no_args_is_help=True,
)

Partition = Annotated[int, typer.Argument(min=0, help="Its number.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
WorkerGroup = Annotated[
    str | None, typer.Option("--group", help="The workers' consumer group; default as set.")
]
SinkGroup = Annotated[
    str | None, typer.Option("--group", help="The sinks' consumer group; default as set.")
]


@app.command()
def show(json: Json = False) -> None:
    """How far each partition is, what topics and ClickHouse lost, and what was accepted.

    What else stops a worker or a sink, and whether they run, say their
    /healthz and logs. Exit code 1 where something is lost, 3 where a partition
    could not be looked at.
    """
    from spendstream.deploy import partition_view as view

    settings = load()
    servers = bootstrap_servers(settings)
    sink = _sink(settings, servers)
    with working("reading checkpoints") as step:
        count = view.checked_count(servers)
        found = []
        for partition in range(count):
            step(f"partition {partition + 1} of {count}")
            one = view.seen(servers, partition)
            one["sink"] = view.seen_of_sink(sink, partition) if sink is not None else None
            found.append(one)
    if json:
        print_json(found)
    else:
        view.show(found)
    if any(one["halted"] or (one["sink"] and one["sink"]["stopped"]) for one in found):
        raise typer.Exit(failures.NOT_RIGHT)
    if any(one["why"] or (one["sink"] and one["sink"]["why"]) for one in found):
        raise typer.Exit(failures.UNAVAILABLE)


@app.command()
def accept(
    partition: Partition,
    reason: Annotated[str, typer.Option(help="Kept in the audit.")] = "",
    group: WorkerGroup = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Let a halted partition go on without what it lost; kept in its checkpoint for ever.

    A worker looks again by itself, within half a minute. Where nothing is lost,
    or more than was shown, nothing is written.
    """
    from spendstream.api.author import os_user
    from spendstream.deploy import partition_view as view
    from spendstream.streams.accept import accept as accept_losses
    from spendstream.streams.accept import look

    settings = load()
    servers = bootstrap_servers(settings)
    _see_that_it_exists(partition, view.checked_count(servers))
    losses = look(servers, partition).losses
    for loss in losses:
        say(f"{loss.why}\n  lost: {loss.cost}")
    if losses and not yes:
        _confirm(f"Let partition {partition} go on without it?")
    workers = group or settings.worker_group
    accepted = accept_losses(servers, workers, partition, os_user(), reason, losses)
    if json:
        print_json({"partition": partition, "accepted": [view.plain(loss) for loss in accepted]})
    elif accepted:
        say(f"partition {partition}: accepted; its worker goes on within half a minute")
    else:
        say(f"partition {partition} has lost nothing: nothing was written")


@app.command()
def reload(
    partition: Partition, group: SinkGroup = None, yes: Yes = False, json: Json = False
) -> None:
    """Let the sink load again what ClickHouse has lost and Kafka still has.

    It reads from where the topics begin, and drops what is stored. Where Kafka
    does not have all of it, nothing is written. Afterwards restart the sink:
    one that stopped this partition may run on with others, and does not look
    again.
    """
    from spendstream.deploy import partition_view as view
    from spendstream.sinks.clickhouse.reload import behind
    from spendstream.sinks.clickhouse.reload import reload as reload_rows

    settings = load()
    servers = bootstrap_servers(settings)
    config = _config(settings, servers, clickhouse_url(settings), group)
    _see_that_it_exists(partition, view.checked_count(servers))
    lost = behind(config, partition)
    for one in lost:
        say(f"{one.topic}/{partition}: loaded to seq {one.intent.seq}, stored to {one.stored.seq}")
    if lost and not yes:
        _confirm("Load the difference again?")
    done = reload_rows(config, partition)
    if json:
        print_json({"partition": partition, "reloads": {one.topic: one.stored.seq for one in done}})
    elif done:
        say(f"partition {partition}: restart its sink, which then loads it again")
    else:
        say(f"partition {partition}: ClickHouse has all that was loaded; nothing was written")


def _sink(settings: Settings, servers: str) -> LoaderConfig | None:
    """None where no ClickHouse is set and no stack runs: the worker's side is shown all the same"""
    try:
        return _config(settings, servers, clickhouse_url(settings))
    except CommandError:
        return None


def _config(settings: Settings, servers: str, url: str, group: str | None = None) -> LoaderConfig:
    from spendstream.sinks.clickhouse.config import LoaderConfig

    return LoaderConfig(servers, url, settings.clickhouse_database, group or settings.sink_group)


def _see_that_it_exists(partition: int, count: int) -> None:
    if partition >= count:
        raise CommandError(f"there are partitions 0 to {count - 1}", failures.WRONG_INPUT)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked here: --yes goes on", failures.WRONG_INPUT)
    typer.confirm(question, abort=True, err=True)
