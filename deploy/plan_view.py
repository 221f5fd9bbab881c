"""Plans, their versions and what changes in them: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spendstream.api.plans.changes import Change
from spendstream.api.plans.fields import fields_of
from spendstream.api.plans.file import DEFAULT
from spendstream.api.plans.render import render_field
from spendstream.api.plans.text import flow
from spendstream.api.plans.versions import Edit, Standing, Written
from spendstream.deploy.console import out, styled
from spendstream.deploy.moments import minute
from spendstream.schemas import Plan, PlanVersion
from spendstream.schemas.period import iso_seconds

BUILT_IN: Final = "the built-in default"


def name_of(workspace_id: str | None) -> str:
    return DEFAULT if workspace_id is None else workspace_id


def numbered(version: PlanVersion | None) -> str:
    return BUILT_IN if version is None else f"version {version.version}"


def version_json(version: PlanVersion | None, standing: Standing = "in force") -> dict[str, Any]:
    """None is the built-in default, version 0."""
    return {
        "workspace": DEFAULT if version is None else name_of(version.workspace_id),
        "version": 0 if version is None else version.version,
        "standing": standing,
        "effective_from": None if version is None else iso_seconds(version.effective_from_ms),
        "written_at": None if version is None else iso_seconds(version.written_at_ms),
        "author": None if version is None else version.author,
        "reason": None if version is None else version.reason,
    }


def edits_json(edits: Iterable[Edit], written: Iterable[int] = ()) -> dict[str, Any]:
    return {
        "changes": [
            {
                "workspace": name_of(edit.workspace_id),
                "own": edit.against is not None and edit.against.workspace_id == edit.workspace_id,
                "against": edit.against.version if edit.against else 0,
                "instead_of": [version.version for version in edit.instead_of],
                "fields": changes_json(edit.changes),
            }
            for edit in edits
        ],
        "versions": list(written),
    }


def changes_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [change._asdict() for change in changes]


def since(version: PlanVersion, standing: Standing) -> str:
    """From when it holds, or held."""
    start = f"{minute(max(version.effective_from_ms, version.written_at_ms))} UTC"
    return {
        "in force": f"in force since {start}",
        "later": f"takes effect at {start}",
        "replaced": f"in force from {start}, replaced since",
        "withdrawn": f"was to take effect at {start}, replaced before",
    }[standing]


def essentials(plan: Plan) -> str:
    """What it sets otherwise than the built-in default does."""
    said = []
    for field in fields_of(type(plan)):
        value = getattr(plan, field.name)
        if field.is_default(plan):
            continue
        if isinstance(value, bool):
            said.append(field.written if value else f"no {field.written}")
        elif isinstance(value, tuple | dict):
            name = field.written.removesuffix("s") if len(value) == 1 else field.written
            said.append(f"{len(value) or 'no'} {name}")
        else:
            said.append(f"{field.written} {_short(render_field(field, plan))}")
    return ", ".join(said) or "all as built in"


def show_edits(edits: Sequence[Edit]) -> None:
    for edit in edits:
        out.print(Text.assemble(styled(name_of(edit.workspace_id), "bold"), f": {_against(edit)}"))
        for version in edit.instead_of:
            told = f"instead of version {version.version}, which {since(version, 'later')}"
            _print(styled(told, "yellow"), 2)
        show_changes(edit.changes)


def show_changes(changes: Sequence[Change], indent: int = 2) -> None:
    if not changes:
        _print("no field changes", indent)
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", max_width=32)
    table.add_column(overflow="fold")
    told = ""
    for change in changes:
        table.add_row("" if change.field == told else change.field, _move(change))
        told = change.field
    _print(table, indent)


def show_written(written: Written) -> None:
    """A version as history tells it."""
    version, standing = written.version, written.standing
    style = {"in force": "green", "later": "yellow"}.get(standing, "dim")
    out.print(
        Text.assemble(
            styled(f"version {version.version}  {name_of(version.workspace_id)}", "bold"),
            "  ",
            styled(standing, style),
        )
    )
    told = [f"written {minute(version.written_at_ms)} UTC by {version.author}"]
    if version.effective_from_ms > version.written_at_ms or standing == "withdrawn":
        told.append(since(version, standing))
    if version.reason:
        told.append(f"reason: {version.reason}")
    if written.against is None or written.against.workspace_id != version.workspace_id:
        of = "" if written.against is None else "the default plan, "
        told.append(f"its first, compared with {of}{numbered(written.against)}")
    for line in told:
        _print(line, 2)
    show_changes(written.changes, indent=4)


def _print(what: Table | Text | str, indent: int) -> None:
    out.print(Padding(what, (0, 0, 0, indent), expand=False))


def _against(edit: Edit) -> str:
    of_all = "every workspace without a plan of its own; " if edit.workspace_id is None else ""
    if edit.workspace_id is None or (edit.against and edit.against.workspace_id is not None):
        return f"{of_all}compared with {numbered(edit.against)}"
    of = "" if edit.against is None else "the default plan, "
    return f"its first plan of its own, compared with {of}{numbered(edit.against)}"


def _move(change: Change) -> Text:
    if change.before is None:
        return styled(f"+ {_short(change.after)}", "green")
    if change.after is None:
        return styled(f"− {_short(change.before)}", "red")
    return Text.assemble(
        styled(_short(change.before), "red"), " → ", styled(_short(change.after), "green")
    )


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        "nothing"
        if value is None
        else flow(value)
        if isinstance(value, list | dict)
        else str(value)
    )
