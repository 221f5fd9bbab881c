"""`spendstream plans list|show|history|diff`: what plans there are, and what they differ in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json, bootstrap_servers
from spendstream.deploy.console import CommandError, out, print_json, say, styled, working
from spendstream.deploy.moments import day, minute, now_ms
from spendstream.deploy.settings import load

if TYPE_CHECKING:
    from spendstream.api.plans.versions import Standing
    from spendstream.schemas import PlanVersion

DEFAULT = "default"
FILE = f"YAML: under `plans:`, a plan for each workspace named, or for `{DEFAULT}`."

Workspace = Annotated[
    str | None, typer.Argument(help=f"Id of a workspace; `{DEFAULT}` where not given.")
]


def id_of(workspace: str) -> str | None:
    return None if workspace == DEFAULT else workspace


def read() -> list[PlanVersion]:
    """Every version ever written."""
    from spendstream.api.jobs.control import read_versions

    with working("reading the plans"):
        return read_versions(bootstrap_servers(load()))


def list_plans(json: Json = False) -> None:
    """The default plan, and every workspace with a plan of its own.

    A version that takes effect later has a line of its own, and says from when.
    """
    from spendstream.api.plans.file import render_plan
    from spendstream.api.plans.versions import plan_of
    from spendstream.deploy.plan_view import essentials, name_of, version_json

    rows = list(_held(read()))
    if json:
        print_json(
            [
                version_json(version, standing) | {"plan": render_plan(plan_of(version))}
                for version, standing in rows
            ]
        )
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("workspace", overflow="fold")
    table.add_column("version", justify="right")
    table.add_column("since", no_wrap=True)
    table.add_column("by", overflow="fold")
    table.add_column("sets", overflow="fold")
    for version, standing in rows:
        if version is None:
            table.add_row(DEFAULT, "–", "built in", "", essentials(plan_of(None)))
            continue
        start = day(max(version.effective_from_ms, version.written_at_ms))
        table.add_row(
            name_of(version.workspace_id),
            str(version.version),
            start if standing == "in force" else styled(f"from {start}", "yellow"),
            version.author,
            essentials(version.plan),
        )
    out.print(table)


def show(
    workspace: Workspace = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="This version; 0 is the built-in default.")
    ] = None,
    json: Json = False,
) -> None:
    """The plan in force for a workspace, as the YAML that `plans set` takes."""
    from spendstream.api.jobs.control_writer import head_of
    from spendstream.api.plans.file import render_plan
    from spendstream.api.plans.text import plan_text
    from spendstream.api.plans.versions import plan_of, standings
    from spendstream.deploy.plan_view import version_json

    versions = read()
    found = _found(versions, workspace, version)
    name = workspace or (DEFAULT if found is None else found.workspace_id or DEFAULT)
    standing: Standing = (
        "in force" if found is None else standings(versions, now_ms())[found.version]
    )
    if json:
        own = found is not None and found.workspace_id is not None
        later = [one.version for one in _later(versions, name)]
        print_json(
            version_json(found, standing)
            | {"workspace": name, "own": own, "later": later, "plan": render_plan(plan_of(found))}
        )
        return
    command = f"spendstream plans set FILE --expected-version {head_of(versions)}"
    text = plan_text(name, plan_of(found), [*about(versions, name, found), f"To set it: {command}"])
    for line in text.splitlines():
        style = "dim" if line.lstrip().startswith("#") else ""
        out.print(styled(line, style), soft_wrap=True)


def about(versions: Sequence[PlanVersion], name: str, found: PlanVersion | None) -> Iterator[str]:
    """Which version of whose plan it is, by whom, and what will take its place."""
    from spendstream.api.plans.versions import standings
    from spendstream.deploy.plan_view import BUILT_IN, since

    which = BUILT_IN
    if found is not None:
        standing = standings(versions, now_ms())[found.version]
        which = f"version {found.version}, {since(found, standing)}"
    if name == DEFAULT:
        yield f"The default plan: {which}."
    elif found is not None and found.workspace_id is not None:
        yield f"Plan of {name}: {which}."
    else:
        yield f"{name} has no plan of its own. This is the default plan: {which}."
    if found is not None:
        reason = f": {found.reason}" if found.reason else ""
        yield f"Written {minute(found.written_at_ms)} UTC by {found.author}{reason}"
    for later in _later(versions, name):
        if later != found:
            start = since(later, "later")
            yield f"Version {later.version} {start}; what is set now goes before it."


def history(
    workspace: Annotated[
        str | None, typer.Argument(help=f"Only of this workspace, or of `{DEFAULT}`.")
    ] = None,
    json: Json = False,
) -> None:
    """Every version: when, by whom, from when on, why, and what it changed."""
    from spendstream.api.plans.versions import history_of
    from spendstream.deploy.plan_view import changes_json, name_of, show_written, version_json

    rows = [
        row
        for row in history_of(read(), now_ms())
        if workspace in (None, name_of(row.version.workspace_id))
    ]
    if json:
        print_json(
            [
                version_json(row.version, row.standing)
                | {
                    "against": row.against.version if row.against else 0,
                    "changes": changes_json(row.changes),
                }
                for row in rows
            ]
        )
        return
    for number, row in enumerate(rows):
        if number:
            out.print()
        show_written(row)
    if not rows:
        say("nobody has written a plan" + (f" of {workspace}" if workspace else ""))


def diff(
    first: Annotated[str, typer.Argument(metavar="FILE|A", help=f"{FILE} With B: a version.")],
    second: Annotated[
        int | None, typer.Argument(metavar="B", min=0, help="Another version's number.")
    ] = None,
    json: Json = False,
) -> None:
    """What a file would change of what is in force, or what two versions differ in."""
    from spendstream.api.plans.changes import changes_between
    from spendstream.api.plans.file import read_plans
    from spendstream.api.plans.versions import edits_of, plan_of
    from spendstream.deploy.plan_view import (
        changes_json,
        edits_json,
        name_of,
        numbered,
        show_changes,
        show_edits,
        version_json,
    )

    if second is None:
        wanted = read_plans(Path(first))
        edits = edits_of(read(), wanted, now_ms())
        if json:
            print_json({"changes": edits_json(edits)["changes"]})
            return
        show_edits(edits)
        if not edits:
            say("nothing differs from what is in force")
        return
    if not first.isdecimal():
        raise CommandError(f"{first!r} is no version; a file stands alone", failures.WRONG_INPUT)
    versions = read()
    pair = [_found(versions, None, number) for number in (int(first), second)]
    changes = changes_between(*map(plan_of, pair))
    if json:
        from spendstream.api.plans.versions import standings

        standing = standings(versions, now_ms())
        print_json(
            {
                name: version_json(one, standing[one.version] if one else "in force")
                for name, one in zip(("before", "after"), pair, strict=True)
            }
            | {"changes": changes_json(changes)}
        )
        return
    said = (numbered(one) + (f" of {name_of(one.workspace_id)}" if one else "") for one in pair)
    out.print(styled(" → ".join(said), "bold"))
    show_changes(changes)


def _held(versions: list[PlanVersion]) -> Iterator[tuple[PlanVersion | None, Standing]]:
    """In force and later, the default plan first; it is always there."""
    from spendstream.api.plans.versions import in_force, standings

    standing = standings(versions, now_ms())
    if None not in in_force(versions, now_ms()):
        yield None, "in force"
    for version in sorted(versions, key=lambda v: (v.workspace_id or "", v.version)):
        if standing[version.version] in ("in force", "later"):
            yield version, standing[version.version]


def _found(
    versions: Sequence[PlanVersion], workspace: str | None, number: int | None
) -> PlanVersion | None:
    """A version by its number, else that in force; None is the built-in default."""
    from spendstream.api.jobs.control_writer import head_of
    from spendstream.api.plans.versions import governing

    if number is None:
        return governing(versions, id_of(workspace or DEFAULT), now_ms())
    if number == 0:
        return None
    found = next((version for version in versions if version.version == number), None)
    if found is None:
        raise CommandError(
            f"there is no version {number}: the newest is {head_of(versions)}",
            failures.WRONG_INPUT,
        )
    if workspace is not None and id_of(workspace) != found.workspace_id:
        whose = found.workspace_id or "the default plan"
        raise CommandError(f"version {number} is of {whose}", failures.WRONG_INPUT)
    return found


def _later(versions: Sequence[PlanVersion], name: str) -> list[PlanVersion]:
    from spendstream.api.plans.versions import standings

    standing = standings(versions, now_ms())
    return [
        version
        for version in versions
        if version.workspace_id == id_of(name) and standing[version.version] == "later"
    ]
