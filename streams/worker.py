"""The stream worker's process: a Faust app around the engine.

Faust brings the life cycle, the consumer group and its sticky assignor; state, transactions and
recovery are the engine's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import faust
import structlog

from spendstream.schemas.topics import INPUTS, USAGE_EVENTS
from spendstream.streams.engine import Engine
from spendstream.streams.health import Health
from spendstream.streams.reading import partition_count
from spendstream.streams.transport import BatchedConsumer, BatchedTransport, BatchSchema, Fetched

COMPARE_TOPICS_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """`ready_file` is touched when all assigned partitions run. Timeouts in seconds."""

    bootstrap_servers: str
    group: str = "spendstream-worker"
    ready_file: Path | None = None
    session_timeout_s: float = 10.0


class SpendstreamApp(faust.App):
    """A Faust app whose consumer asks `engine` for offsets, and that has no tables."""

    engine: Engine

    def _create_directories(self) -> None:
        """None: Faust's are for tables, and would lie about wherever a worker was started."""


def create_app(config: WorkerConfig) -> SpendstreamApp:
    """Build the app. Reads the partition count from the broker.

    Raises:
        Recoverable: no broker, or the input topic is missing.
    """
    session = config.session_timeout_s
    app = SpendstreamApp(
        config.group,
        broker=";".join(f"kafka://{server}" for server in config.bootstrap_servers.split(",")),
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 5,
        broker_rebalance_timeout=max(20.0, session),
        broker_request_timeout=max(40.0, session),
        broker_max_poll_records=5_000,
        consumer_metadata_max_age_ms=10_000,  # until it is seen that a topic is back
        consumer_max_fetch_size=4 * 1_048_576,
        stream_buffer_maxsize=8,  # batches, not records
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        stream_wait_empty=False,  # nothing is acknowledged to Faust: the checkpoint is
    )
    app.transport = BatchedTransport([app.conf.broker_consumer[0]], app)
    app.engine = Engine(
        config.bootstrap_servers,
        config.group,
        partition_count(config.bootstrap_servers, USAGE_EVENTS),
        session,
        config.ready_file,
    )
    inputs = app.topic(*INPUTS, schema=BatchSchema())

    @app.agent(inputs)
    async def dispatch(stream: Any) -> None:
        async def batches() -> Any:
            async for event in stream.noack().events():
                batch: Fetched = event.value
                yield batch

        app.engine.start(cast(BatchedConsumer, app.consumer))
        await app.engine.dispatch(batches())

    @app.on_partitions_revoked.connect
    async def revoked(*args: Any, **kwargs: Any) -> None:
        await app.engine.revoke()

    @app.on_rebalance_complete.connect
    async def rebalanced(*args: Any, **kwargs: Any) -> None:
        app.engine.rebalanced()

    @app.timer(0.5)  # type: ignore[untyped-decorator]
    async def report() -> None:
        app.engine.report()

    @app.timer(COMPARE_TOPICS_S)  # type: ignore[untyped-decorator]
    async def compare_topics() -> None:
        await app.engine.compare_topics()

    @app.on_before_shutdown.connect
    async def shutdown(*args: Any, **kwargs: Any) -> None:
        await app.engine.stop()

    return app


def run(config: WorkerConfig, watch: Callable[[Health], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT. Exits the process with Faust's exit code.

    Args:
        watch: told as soon as there is somebody to ask how to ask whether all is well.
    """
    logging.disable(logging.DEBUG)  # Faust builds debug records whatever the level
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    app = create_app(config)
    if watch is not None:
        watch(app.engine.health)
    faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()
