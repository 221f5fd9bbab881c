"""Between the sinks and ClickHouse: passes everything on, and misbehaves where a fault says so.

It knows of every insert what ClickHouse answered and what the sink was told, which is what a fault
shows as its evidence.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass

from spendstream.deploy.embedded.broker import free_port
from tests.support.clickhouse_proxy import Answer, ClickHouseProxy, Forward, Statement


@dataclass(slots=True)
class Insert:
    """An insert of a sink on its way to ClickHouse; `forward` says what ClickHouse answers."""

    table: str
    token: str
    forward: Forward

    @property
    def partition(self) -> int:
        return int(self.token.split(":")[1])


Misbehaviour = Callable[[Insert], Answer | None]
"""What to do with an insert instead of passing it on; None drops the connection."""


class Proxy(ClickHouseProxy):
    """`misbehave` is asked at every insert until it is set to None."""

    def __init__(self, target: str) -> None:
        self.misbehave: Misbehaviour | None = None
        self.acknowledged = 0
        """Inserts that ClickHouse has taken and whose sink was told so."""
        self.refused = 0
        """Requests of sinks that found nobody, or that were answered with an error."""
        super().__init__(target, free_port())

    def answer(self, statement: Statement) -> Answer | None:
        insert = statement.table is not None and statement.token != ""
        try:
            answer = self._answer(statement) if insert else statement.forward()
        except (OSError, http.client.HTTPException):
            answer = None
        well = answer is not None and answer.ok
        self.acknowledged += well and insert
        self.refused += not well
        return answer

    def _answer(self, statement: Statement) -> Answer | None:
        if self.misbehave is None:
            return statement.forward()
        assert statement.table is not None
        return self.misbehave(Insert(statement.table, statement.token, statement.forward))
