"""`spendstream demo`: an hour of generated calls through the whole pipeline, shown and proven."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, wait
from spendstream.deploy.commands.verify import show as show_verdict
from spendstream.deploy.console import CommandError, out, print_json, progress, say, working
from spendstream.deploy.home import Home
from spendstream.deploy.settings import Settings, load

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from spendstream.deploy.demo_page import Speed

SETTLE_S = 60.0


def demo(
    seed: Annotated[int, typer.Option(help="Another number makes other calls.")] = 2023,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
    json: Json = False,
) -> None:
    """Start the stack, send an hour of calls at full speed, show the figures and prove them.

    The data stays: `spendstream report` works after it, and another demo adds
    another hour. Exit code 1 where any figure differs from the recount, or the
    stack could not store all at its end.
    """
    from spendstream.deploy import background

    settings = load()
    home = Home(settings.home)
    running = home.running()
    if running is None:
        began = time.monotonic()
        with working("starting") as tell:
            running = background.start(settings, tell)
        say(f"the stack is up after {time.monotonic() - began:.1f} s")
        started = True
    else:
        started = False
    stop = background.Stop(was_running=False)
    try:
        exact = _run(settings, running.bootstrap_servers, seed, json)
    finally:
        if started and not keep:
            with working("stopping the stack"):
                stop = background.stop(home)
    if stop.fault is not None:
        raise CommandError(f"the stack was stopped, but {stop.fault}", failures.NOT_RIGHT)
    if keep or not started:
        say("the stack is running: `spendstream down` stops it")
    say("next: `spendstream report --group-by workspace,model`, `spendstream deadletters`")
    if not exact:
        raise typer.Exit(failures.NOT_RIGHT)


def _run(settings: Settings, servers: str, seed: int, json: bool) -> bool:
    """Send, wait, show, verify; whether all figures are exact."""
    from spendstream.api.jobs.control import apply_plans
    from spendstream.api.jobs.verify import verify
    from spendstream.api.summary import summary
    from spendstream.deploy import demo_events
    from spendstream.deploy.clickhouse import reading

    apply_plans(servers, demo_events.plans(), author="demo")
    with reading(settings) as (_, client):
        speed = _send(settings, servers, client, seed)
        if not json:
            _show(servers, client, speed)
        with working("recounting") as tell:
            result = verify(client, servers, Home(settings.home).manifests, tell)
        totals = summary(client)
    if json:
        figures = {"sent": speed.sent, "sent_s": speed.sent_s, "end_to_end_s": speed.end_to_end_s}
        latency = {f"latency_p{percent}_ms": speed.latency(percent) for percent in (50, 99)}
        print_json({"verify": result, "summary": totals, "speed": {**figures, **latency}})
    else:
        out.print()
        show_verdict(dict(result))
    return result["ok"]


def _send(settings: Settings, servers: str, client: Client, seed: int) -> Speed:
    from spendstream.deploy import demo_events
    from spendstream.deploy.demo_broken import send_broken
    from spendstream.deploy.demo_page import Speed
    from spendstream.deploy.feed import feed
    from spendstream.deploy.live import latencies_ms
    from spendstream.deploy.manifest import writing

    now_ms = time.time_ns() // 1_000_000
    run = f"{now_ms:x}"
    with working("generating an hour of calls"):
        calls = demo_events.calls(run, now_ms, seed)
    bulk, live = calls[: -demo_events.LIVE], calls[-demo_events.LIVE :]
    with writing(Home(settings.home).manifests, "demo") as manifest:
        began = time.monotonic()
        with progress("sending", len(bulk)) as bar:
            fed = feed(
                bulk,
                servers,
                manifest,
                source="demo",
                on_progress=lambda sent: bar.update(bar.task_ids[0], completed=sent),
            )
        send_broken(servers, run, now_ms)
        wait(servers, client, SETTLE_S)
        end_to_end_s = time.monotonic() - began
        with working("measuring the latency, call by call"):
            latencies = latencies_ms(live, servers, client, manifest)
        wait(servers, client, SETTLE_S)
    return Speed(fed.events, fed.seconds, end_to_end_s, latencies)


def _show(servers: str, client: Client, speed: Speed) -> None:
    from spendstream.api.records import alerts
    from spendstream.api.reports import report
    from spendstream.api.state import read_worker_state, read_workspace_states
    from spendstream.api.summary import summary
    from spendstream.deploy.demo_page import page
    from spendstream.schemas.topics import USAGE_EVENTS

    with working("adding up"):
        checkpoints = read_worker_state(servers).checkpoints.values()
        outcomes = {
            name: sum(checkpoint.outcomes[USAGE_EVENTS].get(name, 0) for checkpoint in checkpoints)
            for name in ("priced", "duplicate", "dead")
        }
        shown = page(
            report(client, ["workspace"]),
            report(client, ["model"]),
            read_workspace_states(servers),
            alerts(client),
            summary(client),
            outcomes,
            speed,
            out.width,
        )
    out.print()
    out.print(shown)
