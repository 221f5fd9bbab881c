"""`spendstream partitions`: which stand still and why, and how an operator lets them go on."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.console import CommandError, out, print_json, say, styled, working
from spendstream.deploy.settings import load

if TYPE_CHECKING:
    from spendstream.streams.losses import Loss

app = typer.Typer(
    help="The workers' partitions: which stand still, and accepting what is lost.",
    no_args_is_help=True,
)

Partition = Annotated[int, typer.Argument(min=0, help="Its number.")]


@app.command()
def show(json: Json = False) -> None:
    """How far each partition is, whether it can go on, and what was accepted before.

    Exit code 1 where one cannot go on.
    """
    from spendstream.schemas.topics import USAGE_EVENTS
    from spendstream.streams.reading import partition_count
    from spendstream.streams.topics_check import check_topics

    servers = bootstrap_servers(load())
    with working("reading checkpoints") as step:
        count = partition_count(servers, USAGE_EVENTS)
        check_topics(servers, count)
        found = []
        for partition in range(count):
            step(f"partition {partition + 1} of {count}")
            found.append(_seen(servers, partition))
    if json:
        print_json(found)
    else:
        _print(found)
    if any(one["halted"] for one in found):
        raise typer.Exit(failures.NOT_RIGHT)


@app.command()
def accept(
    partition: Partition,
    reason: Annotated[str, typer.Option(help="Kept in the audit.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Let a halted partition go on without what it lost; kept in its checkpoint for ever.

    A worker looks again by itself, within half a minute. Where nothing is lost,
    nothing is written.
    """
    from spendstream.schemas.topics import USAGE_EVENTS
    from spendstream.streams.accept import accept as accept_losses
    from spendstream.streams.accept import look
    from spendstream.streams.reading import partition_count
    from spendstream.streams.topics_check import check_topics

    settings = load()
    servers = bootstrap_servers(settings)
    count = partition_count(servers, USAGE_EVENTS)
    if partition >= count:
        raise CommandError(f"there are partitions 0 to {count - 1}", failures.WRONG_INPUT)
    check_topics(servers, count)
    losses = look(servers, partition).losses
    for loss in losses:
        say(f"{loss.why}\n  lost: {loss.cost}")
    if losses and not yes:
        _confirm(partition)
    accepted = accept_losses(servers, settings.worker_group, partition, getpass.getuser(), reason)
    if json:
        print_json({"partition": partition, "accepted": [_plain(loss) for loss in accepted]})
    elif accepted:
        say(f"partition {partition}: accepted; its worker goes on within half a minute")
    else:
        say(f"partition {partition} has lost nothing: nothing was written")


def _confirm(partition: int) -> None:
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked here: --yes accepts this", failures.WRONG_INPUT)
    typer.confirm(f"Let partition {partition} go on without it?", abort=True, err=True)


def _seen(servers: str, partition: int) -> dict[str, Any]:
    """A partition as JSON; `halted` is the kind of what stops it."""
    from spendstream.streams.accept import look
    from spendstream.streams.errors import CheckpointLost

    one: dict[str, Any] = {"partition": partition, "batch": None, "inputs": {}, "halted": None}
    one |= {"why": [], "losses": [], "accepted": []}
    try:
        checkpoint, losses = look(servers, partition)
    except CheckpointLost as error:
        return one | {"halted": type(error).__name__, "why": [str(error)]}
    if checkpoint is not None:
        one["batch"] = checkpoint.batch
        one["inputs"] = {topic: position.upto for topic, position in checkpoint.inputs.items()}
        one["accepted"] = msgspec.to_builtins(checkpoint.accepted)
    if losses:
        one["halted"] = losses[0].kind.__name__
        one["why"] = [loss.why for loss in losses]
        one["losses"] = [_plain(loss) for loss in losses]
    return one


def _plain(loss: Loss) -> dict[str, Any]:
    return {**msgspec.to_builtins(loss.moved), "kind": loss.kind.__name__, "cost": loss.cost}


def _print(found: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("partition", "batch", "events", "commands", "accepted", "worker"):
        table.add_column(column, justify="left" if column == "worker" else "right")
    for one in found:
        positions = [str(upto) for upto in one["inputs"].values()] or ["–", "–"]
        halted = styled(f"halted: {one['halted']}", "red") if one["halted"] else "can go on"
        batch = "–" if one["batch"] is None else str(one["batch"])
        times = str(len(one["accepted"]))
        table.add_row(str(one["partition"]), batch, *positions, times, halted)
    out.print(table)
    for one in found:
        for why in one["why"]:
            say(why)
        for loss in one["losses"]:
            say(f"  lost: {loss['cost']}")
        if one["losses"]:
            say(f"  `spendstream partitions accept {one['partition']}` goes on without it")
