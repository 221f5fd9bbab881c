"""The loader: one process that brings all of the workers' topics into ClickHouse, exactly once.

Start as many as there are partitions, at most: they share the partitions as a consumer group.
Whatever happens to a loader, its partitions' next owner goes on from `sink.positions` (lane.py).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.errors import Lost, Retry
from spendstream.sinks.clickhouse.group import Group, touch
from spendstream.sinks.clickhouse.health import Health
from spendstream.sinks.clickhouse.migrate import migrate
from spendstream.sinks.clickhouse.retry import until
from spendstream.sinks.clickhouse.store import Store, connect
from spendstream.sinks.late.resolver import Resolver

DRAIN_SECONDS: Final = 30.0
"""A stop takes no longer: what is left is loaded after the next start. Only in the embedded stack,
whose broker forgets, does a stop first read the topics to their ends."""

_log = structlog.get_logger("spendstream.sinks")


def run(config: LoaderConfig, watch: Callable[[Health], None] | None = None) -> None:
    """Load until SIGTERM or SIGINT.

    Args:
        watch: told at the very start how to ask whether all is well.

    Raises:
        MigrationError: the database cannot be brought to this version's tables.
        Stop: every partition of this process has stopped; the first one's reason.
    """
    _log_to_stderr()
    stopping = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    load(config, stopping, watch)


def load(
    config: LoaderConfig,
    stopping: threading.Event,
    watch: Callable[[Health], None] | None = None,
) -> None:
    """What `run` does, until `stopping` is set: for a thread, which gets no signals."""
    group: Group | None = None

    def health() -> tuple[list[str], dict[str, int]]:
        if group is None:
            return ["it is starting: ClickHouse's tables are not known to be there yet"], {}
        return group.health()

    if watch is not None:
        watch(health)
    try:
        until("migrating", stopping, lambda: _migrate(config))
    except Lost:
        return  # asked to stop before ClickHouse answered
    store = Store(config)
    group = Group(config, store)
    resolver = Resolver(config, store)
    group.join()
    resolver.start()
    try:
        ready = False
        while not stopping.is_set():
            group.turn()
            resolver.tell(group.loaded)
            if not ready and group.ready:
                ready = True
                _log.info("ready")
                if config.ready_file is not None:
                    touch(config.ready_file)
        _finish(group, config)
    finally:
        resolver.stop()
        group.leave()


def _finish(group: Group, config: LoaderConfig) -> None:
    _log.info("stopping")
    deadline = time.monotonic() + DRAIN_SECONDS
    if not config.mirror:
        group.stop_reading()
    while time.monotonic() < deadline:
        group.turn(draining=True)
        if group.drained if config.mirror else group.flushed:
            return
    _log.warning("stopped before all was loaded", seconds=DRAIN_SECONDS)


def _migrate(config: LoaderConfig) -> None:
    try:
        client = connect(config.clickhouse_url)
        try:
            for name in migrate(client, config.database):
                _log.info("migrated", migration=name)
        finally:
            client.close()
    except ClickHouseError as error:
        raise Retry(f"ClickHouse does not answer: {' '.join(str(error).split())[:300]}") from None


def _log_to_stderr() -> None:
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # errors are ours to tell
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
