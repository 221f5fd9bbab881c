"""`spendstream plans set|edit`: writing plans, from a file or in an editor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spendstream.deploy import failures
from spendstream.deploy.commands.options import DryRun, Expected, Json, Reason, bootstrap_servers
from spendstream.deploy.commands.plans_look import DEFAULT, FILE, about, id_of
from spendstream.deploy.commands.report import moment
from spendstream.deploy.console import CommandError, print_json, say, working
from spendstream.deploy.moments import minute, now_ms
from spendstream.deploy.settings import load

if TYPE_CHECKING:
    from spendstream.schemas import Plan

From = Annotated[
    Any,
    typer.Option("--from", parser=moment, metavar="TIME", help="In force from then on; UTC."),
]


def set_plans(
    file: Annotated[Path, typer.Argument(help=FILE)],
    effective_from: From = None,
    expect: Expected = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write the plans of a file. Workspaces that it does not name keep theirs."""
    from spendstream.api.plans.file import read_plans

    wanted = read_plans(file)
    servers = bootstrap_servers(load())
    _write(servers, wanted, _ms(effective_from), expect, reason, json, dry_run=dry_run)


def edit(
    workspace: Annotated[str, typer.Argument(help=f"Id of a workspace, or `{DEFAULT}`.")],
    effective_from: From = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Change a plan in $VISUAL or $EDITOR.

    Mistakes are shown above the text, which is opened again. What is left as it
    was writes nothing. Where somebody else has changed the plan meanwhile, the
    edit is refused, and its text kept in a file.
    """
    from spendstream.api.jobs.control import read_versions
    from spendstream.api.jobs.control_writer import head_of
    from spendstream.api.plans.text import plan_text
    from spendstream.api.plans.versions import governing, plan_of
    from spendstream.deploy.editor import draft

    servers = bootstrap_servers(load())
    from_ms = _ms(effective_from)
    with working("reading the plans"):
        versions = read_versions(servers)
    held = governing(versions, id_of(workspace), from_ms or now_ms())
    text = plan_text(workspace, plan_of(held), [*about(versions, workspace, held), *HELP])
    with draft(f"plan-{workspace}", text) as open_draft:
        wanted = open_draft.edited(lambda text: _only(workspace, text))
        if wanted is None:
            say("left as it was: nothing was written")
            if json:
                print_json({"changes": [], "versions": []})
            return
        _write(servers, wanted, from_ms, head_of(versions), reason, json)


HELP = (
    "Save and leave to write it; leave it as it is, or empty, to write nothing.",
    'Amounts are USD: whole numbers, or decimals in quotes ("12.50").',
)


def _write(
    servers: str,
    wanted: Mapping[str | None, Plan],
    from_ms: int | None,
    expected: int | None,
    reason: str | None,
    json: bool,
    *,
    dry_run: bool = False,
) -> None:
    """Say what changes, and write just that."""
    from spendstream.api.jobs.control import apply_plans, check_stale, read_versions
    from spendstream.api.plans.versions import edits_of
    from spendstream.deploy.plan_view import edits_json, show_edits

    with working("reading the plans in force"):
        versions = read_versions(servers)
    head = check_stale(versions, expected, wanted)
    edits = edits_of(versions, wanted, from_ms or now_ms())
    if not json:
        show_edits(edits)
    written: list[int] = []
    if edits and not dry_run:
        with working("writing"):
            done = apply_plans(
                servers,
                wanted,
                expected_version=head if expected is None else expected,
                reason=reason,
                effective_from_ms=from_ms,
            )
        written = [version.version for version in done]
    if json:
        print_json(edits_json(edits, written))
    elif not edits:
        say("nothing changes")
    elif dry_run:
        say("nothing was written (--dry-run)")
    else:
        said = f"written as version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}"
        say(said + (f", in force from {minute(from_ms)} UTC" if from_ms else ""))


def _ms(given: Any) -> int | None:
    from spendstream.schemas.period import to_ms

    if given is None:
        return None
    from_ms = to_ms(given)
    if from_ms < now_ms():
        raise CommandError(
            f"--from: {minute(from_ms)} UTC is past; what was judged since then stays as it is, "
            "leave it out for now",
            failures.WRONG_INPUT,
        )
    return from_ms


def _only(workspace: str, text: str) -> dict[str | None, Plan]:
    """The plan of that workspace. Raises PlansError."""
    from spendstream.api.plans.file import PlansError, parse_plans

    wanted = parse_plans(text)
    if set(wanted) != {id_of(workspace)}:
        raise PlansError([f"plans: this edit is of {workspace} alone; `plans set` takes several"])
    return wanted
