"""What `spendstream partitions show` shows: of each partition the worker's side and the sink's."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from spendstream.deploy.console import out, say, styled
from spendstream.schemas.topics import USAGE_EVENTS
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import LoaderError, Stop
from spendstream.sinks.clickhouse.reload import look as look_at_sink
from spendstream.streams.accept import look
from spendstream.streams.errors import CheckpointLost, Recoverable
from spendstream.streams.losses import Loss
from spendstream.streams.reading import partition_count
from spendstream.streams.topics_check import check_topics


def checked_count(servers: str) -> int:
    """How many partitions there are. Raises TopicsWrong where not all topics have so many."""
    count = partition_count(servers, USAGE_EVENTS)
    check_topics(servers, count, rights=False)
    return count


def seen(servers: str, partition: int) -> dict[str, Any]:
    """The worker's side as JSON; `halted` is the kind of what it lost. Without one, `why` says why
    it is not known."""
    one: dict[str, Any] = {"partition": partition, "batch": None, "inputs": {}, "halted": None}
    one |= {"why": [], "losses": [], "accepted": []}
    try:
        checkpoint, losses = look(servers, partition)
    except CheckpointLost as error:
        return one | {"halted": type(error).__name__, "why": [str(error)]}
    except Recoverable as error:
        return one | {"why": [str(error)]}
    if checkpoint is not None:
        one["batch"] = checkpoint.batch
        one["inputs"] = {topic: position.upto for topic, position in checkpoint.inputs.items()}
        one["accepted"] = msgspec.to_builtins(checkpoint.accepted)
    if losses:
        one["halted"] = losses[0].kind.__name__
        one["why"] = [loss.why for loss in losses]
        one["losses"] = [plain(loss) for loss in losses]
    return one


def seen_of_sink(config: LoaderConfig, partition: int) -> dict[str, Any]:
    """The sink's side: how far each topic is in ClickHouse, and what it lost of what was loaded.
    Without `stopped`, `why` says why that is not known."""
    stopped: dict[str, str] = {}
    try:
        loaded = look_at_sink(config, partition)
    except LoaderError as error:
        return {"loaded": {}, "stopped": None, "why": [str(error)]}
    for one in loaded:
        try:
            one.check(partition)
        except Stop as error:
            stopped[type(error).__name__] = str(error)
    return {
        "loaded": {one.topic: one.stored.upto for one in loaded},
        "stopped": next(iter(stopped), None),
        "why": list(stopped.values()),
    }


def plain(loss: Loss) -> dict[str, Any]:
    """For JSON."""
    return {**msgspec.to_builtins(loss.moved), "kind": loss.kind.__name__, "cost": loss.cost}


def show(found: list[dict[str, Any]]) -> None:
    """A line a partition, then each reason."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("partition", "batch", "events", "commands", "accepted", "worker", "sink"):
        left = column in ("worker", "sink")
        table.add_column(column, justify="left" if left else "right")
    for one in found:
        positions = [str(upto) for upto in one["inputs"].values()] or ["–", "–"]
        batch = "–" if one["batch"] is None else str(one["batch"])
        times = str(len(one["accepted"]))
        worker = _cell("halted", one["halted"], one["why"])
        sink = one["sink"]
        stored = _cell("stopped", sink["stopped"], sink["why"]) if sink else "not asked"
        table.add_row(str(one["partition"]), batch, *positions, times, worker, stored)
    out.print(table)
    for one in found:
        for why in one["why"]:
            say(why)
        for loss in one["losses"]:
            say(f"  lost: {loss['cost']}")
        if one["losses"]:
            say(f"  `spendstream partitions accept {one['partition']}` goes on without it")
        for why in one["sink"]["why"] if one["sink"] else ():
            say(why)


def _cell(stands: str, kind: str | None, why: list[str]) -> Text | str:
    """No more than was looked at: what else stops a worker or a sink only its process knows."""
    if kind is not None:
        return styled(f"{stands}: {kind}", "red")
    return styled("not known", "yellow") if why else "nothing lost"
