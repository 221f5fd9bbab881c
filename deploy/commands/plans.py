"""`spendstream plans`: list, show, set, edit, history, diff."""

from __future__ import annotations

import typer

from spendstream.deploy.commands import plans_edit, plans_look

app = typer.Typer(help="What workspaces may spend: look, set, edit, compare.", no_args_is_help=True)
app.command("list")(plans_look.list_plans)
app.command("show")(plans_look.show)
app.command("set")(plans_edit.set_plans)
app.command("edit")(plans_edit.edit)
app.command("history")(plans_look.history)
app.command("diff")(plans_look.diff)
