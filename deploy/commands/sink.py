"""`spendstream sink`: load the workers' rows into ClickHouse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spendstream.deploy.commands.options import bootstrap_servers, clickhouse_url
from spendstream.deploy.settings import load

ANY_DATABASE = "default"


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
) -> None:
    """Load the workers' rows into ClickHouse until SIGTERM. Start several: they share them.

    Its tables are created and updated first.
    """
    from spendstream.api.stored import connect
    from spendstream.sinks.clickhouse.config import LoaderConfig
    from spendstream.sinks.clickhouse.loader import run
    from spendstream.sinks.clickhouse.migrate import migrate

    settings = load()
    url = clickhouse_url(settings)
    client = connect(url, ANY_DATABASE)
    try:
        migrate(client, settings.clickhouse_database)
    finally:
        client.close()
    run(
        LoaderConfig(
            bootstrap_servers=bootstrap_servers(settings),
            clickhouse_url=url,
            database=settings.clickhouse_database,
            group=group or settings.sink_group,
            ready_file=ready_file,
            mirror=mirror,
            session_timeout_s=session_timeout,
        )
    )
