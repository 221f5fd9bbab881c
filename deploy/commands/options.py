"""Options that several commands share, and where they find the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spendstream.deploy import failures
from spendstream.deploy.console import CommandError, progress
from spendstream.deploy.home import Home
from spendstream.deploy.settings import Settings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Serve /metrics (Prometheus) and /healthz on this port."),
]
MetricsHost = Annotated[
    str, typer.Option(help="Address for --metrics-port; 0.0.0.0 lets other machines ask.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds that --settled waits at most.")]
Expected = Annotated[
    int | None,
    typer.Option(
        "--expected-version",
        "--expect",
        min=0,
        help="Write only if nobody has changed it since this version.",
    ),
]
Reason = Annotated[str | None, typer.Option("--reason", "--why", help="Why, kept with the edit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]


def bootstrap_servers(settings: Settings) -> str:
    """The broker of the settings, else the running stack's. Raises CommandError."""
    if settings.bootstrap_servers:
        return settings.bootstrap_servers
    running = Home(settings.home).running()
    if running is None:
        raise CommandError(
            f"no stack runs on {Home(settings.home).path}, and SPENDSTREAM_BOOTSTRAP_SERVERS "
            "is not set. `spendstream up --detach` starts one.",
            failures.UNAVAILABLE,
        )
    return running.bootstrap_servers


def clickhouse_url(settings: Settings) -> str:
    """The ClickHouse of the settings, else the running stack's. Raises CommandError."""
    if settings.clickhouse_url:
        return settings.clickhouse_url
    running = Home(settings.home).running()
    if running is None:
        raise CommandError(
            f"no stack runs on {Home(settings.home).path}, and SPENDSTREAM_CLICKHOUSE_URL "
            "is not set. `spendstream up --detach` starts one.",
            failures.UNAVAILABLE,
        )
    return running.clickhouse_url


def wait(servers: str, client: Client, timeout: float) -> None:
    """Until all that was sent is stored; a bar shows how much is missing. Raises NotSettled."""
    from spendstream.api.settled import Behind, wait_settled

    most = 0

    def show(behind: list[Behind]) -> None:
        nonlocal most
        missing = sum(item.missing for item in behind)
        most = max(most, missing)
        bar.update(bar.task_ids[0], total=most, completed=most - missing)

    with progress("waiting until all is stored", total=1) as bar:
        wait_settled(servers, client, timeout, show)
