"""`spendstream sink`: load the workers' rows into ClickHouse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spendstream.deploy.commands.options import (
    MetricsHost,
    MetricsPort,
    bootstrap_servers,
    clickhouse_url,
)
from spendstream.deploy.endpoint import LOOPBACK, watcher
from spendstream.deploy.settings import load


def sink(
    group: Annotated[str | None, typer.Option(help="Kafka consumer group; default as set.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File that is made when it loads.")
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Keep the workers' state in ClickHouse, too: for a broker that forgets.",
        ),
    ] = False,
    session_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds of silence after which others take its partitions."),
    ] = 10.0,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Load the workers' rows into ClickHouse until SIGTERM. Start several: they share them.

    Its tables are created and updated first. A ClickHouse that does not answer
    is waited for.
    """
    from spendstream.sinks.clickhouse.config import LoaderConfig
    from spendstream.sinks.clickhouse.loader import run

    settings = load()
    watch = watcher(metrics_host, metrics_port)
    run(
        LoaderConfig(
            bootstrap_servers=bootstrap_servers(settings),
            clickhouse_url=clickhouse_url(settings),
            database=settings.clickhouse_database,
            group=group or settings.sink_group,
            ready_file=ready_file,
            mirror=mirror,
            session_timeout_s=session_timeout,
        ),
        watch,
    )
