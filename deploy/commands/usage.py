"""`spendstream usage`: what is left of a workspace's credit and limits; what a task has used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, Timeout, bootstrap_servers, wait
from spendstream.deploy.commands.report import Shown, dollars, rests_on, table_of
from spendstream.deploy.console import (
    CommandError,
    credit_bar,
    out,
    print_json,
    styled,
    visible,
    working,
)
from spendstream.deploy.home import Home
from spendstream.deploy.settings import load
from spendstream.schemas import WorkspaceState
from spendstream.schemas.money import cents_display, usd_string
from spendstream.schemas.period import iso

_DECISION = {"allow": "green", "warn": "yellow", "block": "red"}


def usage(
    workspace: Annotated[str, typer.Argument(help="Id of the workspace.")],
    task: Annotated[
        str | None, typer.Option(metavar="ID", help="What this task of it has used and cost.")
    ] = None,
    trackable: Annotated[
        str | None, typer.Option(metavar="TYPE/ID", help="The same of a trackable.")
    ] = None,
    settled: Annotated[
        bool, typer.Option("--settled", help="First wait until all that was sent is counted.")
    ] = False,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """Credit, overage and limits of a workspace, as the worker decides by them.

    With --task or --trackable instead its totals, from the first call to the
    last, as they are stored.
    """
    if task is not None and trackable is not None:
        raise typer.BadParameter("--task and --trackable: one of them")
    if task is not None:
        print_lifetime(workspace, "task", task, settled, timeout, json)
    elif trackable is not None:
        print_lifetime(workspace, "trackable", trackable, settled, timeout, json)
    else:
        print_state(workspace, settled, timeout, json)


def print_state(workspace: str, settled: bool, timeout: float, json: bool) -> None:
    from spendstream.api.restore import read_stored_states
    from spendstream.api.settled import wait_published
    from spendstream.api.state import read_workspace_states
    from spendstream.deploy.clickhouse import reading

    settings = load()
    running = Home(settings.home).running()
    servers = settings.bootstrap_servers or (running.bootstrap_servers if running else None)
    if servers and settled:
        with reading(settings) as (_, client):
            wait(servers, client, timeout)
        wait_published(servers, workspace, timeout)
    with working("reading"):
        if servers:
            states = read_workspace_states(servers, workspace)
        else:
            with reading(settings) as (_, client):
                states = read_stored_states(client, workspace)
    if workspace not in states:
        raise CommandError(f"workspace {workspace!r} never used anything", failures.UNAVAILABLE)
    if json:
        print_json(as_json(states[workspace]))
    else:
        show(states[workspace])


def print_lifetime(
    workspace: str,
    what: Literal["task", "trackable"],
    name: str,
    settled: bool,
    timeout: float,
    json: bool,
) -> None:
    from spendstream.api.lifetimes import lifetime
    from spendstream.deploy.clickhouse import reading

    settings = load()
    with reading(settings) as (_, client):
        if settled:
            wait(bootstrap_servers(settings), client, timeout)
        with working("adding up"):
            found = lifetime(client, workspace, what, name)
    if found is None:
        raise CommandError(
            f"workspace {workspace!r} has no call of {what} {name!r}", failures.UNAVAILABLE
        )
    if json:
        print_json(found)
    else:
        show_lifetime(found, what)


def show_lifetime(found: dict[str, Any], what: str) -> None:
    """Its costs by model, and all of it."""
    charge = styled(dollars(found["charge_usd"]), "bold")
    name = styled(found[what], "bold")
    requests = f"  for {found['requests']:,} requests"
    out.print(Text.assemble(name, f"  {what} of {visible(found['workspace'])}  ", charge, requests))
    out.print(table_of(found["by_model"], ["provider", "model"], Shown.COSTS))
    out.print(
        f"{found['input_tokens']:,} input and {found['output_tokens']:,} output tokens, "
        f"{found['first_call']} to {found['last_call']}",
        style="dim",
    )
    if told := rests_on([found]):
        out.print(told, style="dim")


def as_json(state: WorkspaceState) -> dict[str, Any]:
    """Money as exact decimal strings of USD; counts as they are."""
    values = state.model_dump(exclude={"kind", "limits", "as_of_ms"})
    for name in [name for name in values if name.endswith("_pico")]:
        values[f"{name.removesuffix('_pico')}_usd"] = usd_string(int(values.pop(name)))
    values["as_of"] = iso(state.as_of_ms)
    values["limits"] = []
    for limit in state.limits:
        shown = limit.model_dump()
        for name in ("amount", "used", "remaining"):
            amount = int(shown[name])
            shown[name] = usd_string(amount) if limit.measure == "charge" else amount
        values["limits"].append(shown)
    return values


def show(state: WorkspaceState) -> None:
    """A bar for the credit and each limit."""
    name = styled(state.workspace_id, "bold")
    decision = (state.decision, _DECISION[state.decision])
    out.print(Text.assemble(name, "  ", decision, f"  {state.period}"))
    credit, charge = int(state.credit_pico), int(state.charge_pico)
    overage, remaining = int(state.overage_pico), int(state.remaining_pico)
    table = Table(box=None, show_header=False, pad_edge=False)
    left = f"{cents_display(charge)} of {cents_display(credit)}, {cents_display(remaining)} left"
    table.add_row("credit", credit_bar(charge, credit, 30), left)
    if overage:
        table.add_row("overage", Text(), styled(cents_display(overage), "red"))
    for limit in state.limits:
        used, amount = int(limit.used), int(limit.amount)
        figures = f"{used:,} of {amount:,} {limit.measure}"
        if limit.measure == "charge":
            figures = f"{cents_display(used)} of {cents_display(amount)}"
        table.add_row(limit.name, credit_bar(used, amount, 30), figures)
    out.print(table)
    tokens = f"{state.input_tokens:,} input and {state.output_tokens:,} output tokens"
    out.print(f"{state.requests:,} requests, {tokens}", style="dim")
    out.print(f"as of {iso(state.as_of_ms)}, plan version {state.plan_version}", style="dim")
