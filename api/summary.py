"""One page of figures: what came in, what it cost, what went wrong."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from spendstream.api.records import dead_letter_counts
from spendstream.api.reports import Row, plain, report


def summary(client: Client) -> Row:
    """Sums over everything stored, and how many alerts, late and refused records there are.

    Returns:
        The sums of `report` without a group, `workspaces`, `alerts` (by severity),
        `overage_usd` (the newest cumulative of every workspace and period, summed),
        `dead_letters` (by reason), `late` (records).
    """
    totals = report(client, [])[0]
    workspaces = client.query("SELECT uniqExact(workspace_id) FROM usage_total").result_rows
    severities = client.query(
        "SELECT severity, count() FROM alerts GROUP BY severity ORDER BY severity"
    ).result_rows
    overage = client.query(
        "SELECT sum(cumulative) FROM (SELECT argMax(to_cumulative, seq) AS cumulative "
        "FROM overage GROUP BY workspace_id, period)"
    ).result_rows
    late = client.query("SELECT count() FROM late").result_rows
    return totals | {
        "workspaces": int(workspaces[0][0]),
        "alerts": {str(severity): int(count) for severity, count in severities},
        "overage_usd": plain(overage[0][0] or 0),
        "dead_letters": dead_letter_counts(client),
        "late": int(late[0][0]),
    }
