"""`spendstream worker`: count, price and judge events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spendstream.deploy.commands.options import MetricsHost, MetricsPort, bootstrap_servers
from spendstream.deploy.endpoint import LOOPBACK, watcher
from spendstream.deploy.settings import load


def worker(
    group: Annotated[str | None, typer.Option(help="Kafka consumer group; default as set.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File that is made when it works on all its partitions.")
    ] = None,
    session_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds of silence after which others take its partitions."),
    ] = 10.0,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Count, price and judge events until SIGTERM. Start several: they share the partitions."""
    from spendstream.streams.worker import WorkerConfig, run

    settings = load()
    watch = watcher(metrics_host, metrics_port)
    run(
        WorkerConfig(
            bootstrap_servers=bootstrap_servers(settings),
            group=group or settings.worker_group,
            ready_file=ready_file,
            session_timeout_s=session_timeout,
        ),
        watch,
    )
