"""A proxy before ClickHouse that does, once, what the test says at the statement it means."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.support.clickhouse_proxy import Answer, ClickHouseProxy, Forward, Statement

Hook = Callable[[Forward], Answer | None]
"""Given how to forward the request, answers it; None drops the connection."""

_SELECT: Final = re.compile(rb"\s*SELECT\b")


class Proxy(ClickHouseProxy):
    """`at_insert(table, hook)` arms the hook for the next insert into the table, `at_select` for
    the next query that reads it."""

    def __init__(self, target: str) -> None:
        self._hooks: dict[str, Hook] = {}
        self._queries: dict[str, Hook] = {}
        self.tripped = threading.Event()
        self.inserts: list[tuple[str, str]] = []
        """(table, token) of every insert that came by."""
        super().__init__(target)

    def at_insert(self, table: str, hook: Hook) -> None:
        self.tripped.clear()
        self._hooks[table] = hook

    def at_select(self, table: str, hook: Hook) -> None:
        self.tripped.clear()
        self._queries[table] = hook

    def answer(self, statement: Statement) -> Answer | None:
        hook = None
        if statement.table is not None:
            self.inserts.append((statement.table, statement.token))
            hook = self._hooks.pop(statement.table, None)
        elif _SELECT.match(statement.text):
            for table in list(self._queries):
                if re.search(rf"\bFROM {table}\b".encode(), statement.text):
                    hook = self._queries.pop(table)
        if hook is None:
            return statement.forward()
        try:
            return hook(statement.forward)
        finally:
            self.tripped.set()


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
