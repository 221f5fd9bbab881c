"""`spendstream up`: the embedded stack, in the foreground or in the background."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from spendstream.deploy.commands.options import Json
from spendstream.deploy.console import print_json, say, working
from spendstream.deploy.home import Addresses
from spendstream.deploy.settings import load


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run in the background; return when ready.")
    ] = False,
    json: Json = False,
    kafka_port: Annotated[
        int | None,
        typer.Option(help="Port of the broker; as set, or a free one.", min=0, max=65535),
    ] = None,
    clickhouse_port: Annotated[
        int | None,
        typer.Option(help="Port of ClickHouse; as set, or a free one.", min=0, max=65535),
    ] = None,
    status_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start broker, ClickHouse, worker and sink on this machine. No Docker needed.

    Ctrl-C, SIGTERM or `spendstream down` stops them in order: everything sent is
    stored first, and where it cannot be, the reason is told, with exit code 1.
    A second Ctrl-C does not wait. Everything listens on 127.0.0.1 only.
    """
    from spendstream.deploy import background

    given = {"kafka_port": kafka_port, "clickhouse_port": clickhouse_port}
    settings = load().model_copy(update={k: v for k, v in given.items() if v is not None})
    if status_fd is not None:
        background.supervise_for(status_fd, settings)
    elif detach:
        with working("starting") as tell:
            addresses = background.start(settings, tell)
        if json:
            print_json(asdict(addresses))
        else:
            _show(addresses)
            say("`spendstream down` stops it.")
    else:

        def ready(addresses: Addresses) -> None:
            if json:
                print_json(asdict(addresses))
            else:
                _show(addresses)
                say("Ctrl-C stops it.")

        background.supervise(settings, say, ready)


def _show(addresses: Addresses) -> None:
    say("")
    say(f"  Kafka       {addresses.bootstrap_servers}")
    say(f"  ClickHouse  {addresses.clickhouse_url}")
    say(f"  data, logs  {addresses.home}")
    say("")
