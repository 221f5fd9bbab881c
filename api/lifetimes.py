"""What one task or trackable has used and cost, from its first call to its last."""

from __future__ import annotations

from typing import Literal

from clickhouse_connect.driver.client import Client

from spendstream.api.reports import Row, report


def lifetime(
    client: Client, workspace_id: str, what: Literal["task", "trackable"], name: str
) -> Row | None:
    """The totals of a task or trackable (`type/id`) of a workspace; None where it has no call.

    Returns:
        A row of `report` grouped by workspace and task or trackable, and its rows by provider and
        model as `by_model`.
    """
    only = {"workspace": workspace_id, what: name}
    rows = report(client, ["workspace", what], filters=only)
    if not rows:
        return None
    return rows[0] | {"by_model": report(client, ["provider", "model"], filters=only)}
