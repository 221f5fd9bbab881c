"""`spendstream plans`: set, show, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.console import out, print_json, say, working
from spendstream.deploy.moments import iso, now_ms
from spendstream.deploy.settings import load
from spendstream.schemas.money import cents_display

app = typer.Typer(help="What workspaces may spend: set, show, list.", no_args_is_help=True)

DEFAULT = "default"
FILE = f"YAML: under `plans:`, a plan for each workspace named, or for `{DEFAULT}`."


@app.command("set")
def set_plans(
    file: Annotated[Path, typer.Argument(help=FILE)],
    expect: Annotated[
        int | None, typer.Option(min=0, help="Write only if the newest version is this one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the plans of a file. Workspaces that it does not name keep theirs."""
    from spendstream.api.jobs.control import apply_plans, diff, read_versions
    from spendstream.api.plans.file import read_plans

    wanted = read_plans(file)
    servers = bootstrap_servers(load())
    with working("reading the plans in force"):
        changes = diff(read_versions(servers), wanted)
    written: list[int] = []
    if changes and not dry_run:
        with working("writing"):
            versions = apply_plans(servers, wanted, expected_version=expect)
        written = [version.version for version in versions]
    if json:
        print_json(
            {
                "changes": [
                    {
                        "workspace": change.workspace_id or DEFAULT,
                        "field": change.field,
                        "before": change.before,
                        "after": change.after,
                    }
                    for change in changes
                ],
                "versions": written,
            }
        )
        return
    for change in changes:
        say(f"  {change}")
    if not changes:
        say("nothing changes")
    elif dry_run:
        say("nothing was written (--dry-run)")
    else:
        say(f"written as version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}")


@app.command()
def show(
    workspace: Annotated[str, typer.Argument(help=f"Id of a workspace, or `{DEFAULT}`.")] = DEFAULT,
    json: Json = False,
) -> None:
    """The plan in force for a workspace, with every default written out."""
    from spendstream.api.jobs.control import in_force, read_versions
    from spendstream.api.plans.file import render_plan
    from spendstream.schemas import DEFAULT_PLAN

    with working("reading"):
        held = in_force(read_versions(bootstrap_servers(load())), now_ms())
    own = held.get(None if workspace == DEFAULT else workspace)
    version = own or held.get(None)
    plan = render_plan(version.plan if version else DEFAULT_PLAN)
    about = {
        "workspace": workspace,
        "own": own is not None and workspace != DEFAULT,
        "version": version.version if version else 0,
    }
    if json:
        print_json(about | {"plan": plan})
        return
    source = "its own plan" if about["own"] else "the default plan"
    say(f"{workspace}: {source}, version {about['version']}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in plan.items():
        table.add_row(name, _shown(value))
    out.print(table)


@app.command("list")
def list_plans(json: Json = False) -> None:
    """Every workspace with a plan of its own, and the default plan."""
    from spendstream.api.jobs.control import newest, read_versions
    from spendstream.api.plans.file import render_plan

    with working("reading"):
        versions = newest(read_versions(bootstrap_servers(load())))
    if json:
        print_json(
            [
                {
                    "workspace": name or DEFAULT,
                    "version": version.version,
                    "effective_from": iso(version.effective_from_ms),
                    "author": version.author,
                    "plan": render_plan(version.plan),
                }
                for name, version in versions.items()
            ]
        )
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("workspace", "version", "credit", "beyond it", "limits", "from", "author"):
        right = column in ("version", "credit")
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=right or column == "beyond it",
            overflow="fold",
        )
    for name, version in versions.items():
        plan = render_plan(version.plan)
        table.add_row(
            name or DEFAULT,
            str(version.version),
            cents_display(version.plan.credit_pico),
            "overage" if plan["overage"] else str(plan["exhausted_action"]),
            _shown(plan["limits"]),
            iso(version.effective_from_ms),
            version.author,
        )
    out.print(table)
    if None not in versions:
        say("all others: the default plan, as `spendstream plans show` prints it")


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    lines = []
    for item in value:
        if "percent" in item:
            lines.append(f"{item['percent']} % {item['severity']}")
        elif "valid_from" in item:
            said = ", ".join(f"{leaf} {usd}" for leaf, usd in item.get("prices", {}).items())
            since = item["valid_from"][:10]
            lines.append(f"{item['provider']}/{item['model']} from {since}: {said} USD")
        else:
            unit = "USD" if item["measure"] == "charge" else item["measure"]
            lines.append(f"{item['amount']} {unit} a {item['window']}, {item['action']}")
    return "\n".join(lines) or "none"
