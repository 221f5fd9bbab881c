"""`spendstream worker`: count, price and judge events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spendstream.deploy.commands.options import bootstrap_servers
from spendstream.deploy.settings import load


def worker(
    group: Annotated[str | None, typer.Option(help="Consumer group.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Touched when every assigned partition runs.")
    ] = None,
    session_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds after which a silent worker loses its partitions."),
    ] = 10.0,
) -> None:
    """Run one stream worker until SIGTERM. Several share the partitions."""
    from spendstream.streams.worker import WorkerConfig, run

    settings = load()
    run(
        WorkerConfig(
            bootstrap_servers=bootstrap_servers(settings),
            group=group or settings.worker_group,
            ready_file=ready_file,
            session_timeout_s=session_timeout,
        )
    )
