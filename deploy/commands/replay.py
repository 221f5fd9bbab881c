"""`spendstream replay`: a CSV trace as usage events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.console import print_json, progress, say
from spendstream.deploy.home import Home
from spendstream.deploy.settings import load

MODELS = "openai/gpt-4o,anthropic/claude-sonnet-4-5,gcp.gemini/gemini-2.5-flash"


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0 < speed < 1e9:
        raise typer.BadParameter("a number above 0, or max")
    return speed


def replay(
    file: Annotated[Path, typer.Argument(help="CSV: TIMESTAMP, ContextTokens, GeneratedTokens.")],
    workspaces: Annotated[
        int, typer.Option(min=1, help="Rows are dealt out to so many, in turn.")
    ] = 50,
    users: Annotated[int, typer.Option(min=1, help="As with workspaces.")] = 400,
    models: Annotated[str, typer.Option(help="provider/model, comma-separated, in turn.")] = MODELS,
    speed: Annotated[
        Any,
        typer.Option(
            parser=_speed,
            metavar="N|max",
            help="So many times as fast as it happened; max: at once.",
        ),
    ] = "max",
    json: Json = False,
) -> None:
    """Send the calls of a trace, moved in time so that the last one is now.

    The ids come from the file's name and rows: sent again within a day, it
    changes nothing. Rows more than a day older than the last one are late: they
    are counted once they have been looked up, seconds later. Those over 35 days
    are refused.
    """
    from spendstream.deploy.feed import feed
    from spendstream.deploy.manifest import writing
    from spendstream.deploy.replay import calls_of, parse_models, too_old
    from spendstream.deploy.trace import read_trace

    settings = load()
    wanted = parse_models(models)
    rows = read_trace(file)
    calls = calls_of(
        rows,
        stem=file.stem,
        workspaces=workspaces,
        users=users,
        models=wanted,
        last_ms=time.time_ns() // 1_000_000,
    )
    servers = bootstrap_servers(settings)
    old = too_old(calls, speed)
    if old.late:
        say(f"{old.late:,} rows are over a day old: late, counted when they have been looked up")
    if old.refused:
        say(f"{old.refused:,} rows will be refused as too_old: they are over 35 days old")
    home = Home(settings.home)
    home.create()
    with (
        writing(home.manifests_of(settings.bootstrap_servers), file.stem) as manifest,
        progress(f"sending {file.name}", len(calls)) as bar,
    ):
        fed = feed(
            calls,
            servers,
            manifest,
            speed=speed,
            source=f"replay/{file.name}",
            on_progress=lambda sent: bar.update(bar.task_ids[0], completed=sent),
        )
    if json:
        print_json(
            {
                "file": str(file),
                "events": fed.events,
                "late": old.late,
                "refused": old.refused,
                "input_tokens": fed.input_tokens,
                "output_tokens": fed.output_tokens,
                "workspaces": min(workspaces, len(rows)),
                "users": min(users, len(rows)),
                "models": [f"{provider}/{model}" for provider, model in wanted],
                "seconds": round(fed.seconds, 3),
                "events_per_second": round(fed.events / fed.seconds),
                "retried": fed.retried,
                "manifest": str(manifest.path),
            }
        )
    else:
        rate = round(fed.events / fed.seconds)
        say(f"{fed.events:,} events sent in {fed.seconds:.1f} s ({rate:,}/s)")
        say(f"manifest: {manifest.path}")
