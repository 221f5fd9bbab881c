"""The embedded stack: broker, ClickHouse, worker and sink on this machine, with what order asks.

Start: broker, ClickHouse, topics, migrations, what the mirror holds, worker, sink. The broker keeps
its log in memory, so its death restarts everything around it; worker, sink and ClickHouse are
restarted alone. Stop: drain the worker, then the sink and its mirror, then end ClickHouse and the
broker, so that what was acknowledged is on disk before memory goes.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from spendstream.api.jobs.rebuild import RebuildFailed, rebuild
from spendstream.api.log import LogUnavailable
from spendstream.api.settled import NotSettled, wait_settled
from spendstream.api.stored import ClickHouseUnavailable, connect
from spendstream.deploy import failures, topics_admin
from spendstream.deploy.embedded.broker import free_port, refuse_taken
from spendstream.deploy.home import Addresses, Home
from spendstream.deploy.processes import end_leftovers, write_leftovers
from spendstream.deploy.services import BROKER, CLICKHOUSE, SINK, WORKER, Services
from spendstream.deploy.settings import Settings
from spendstream.deploy.supervisor import KeepsDying, Stopping, Supervisor
from spendstream.schemas.topics import EMBEDDED_PARTITIONS
from spendstream.sinks.clickhouse.migrate import migrate

ANY_DATABASE: Final = "default"
"""One that is always there: ours is made by the migrations."""
BROKER_ATTEMPTS: Final = 5
DRAIN_S: Final = 60.0
LEAST_FREE_BYTES: Final = 200 * 1024**2
_LOOK_S: Final = 0.1
_DISK_EVERY_S: Final = 10.0

log: Final = logging.getLogger("spendstream.supervisor")


class DiskFull(RuntimeError):
    """There is no room for the data; the message says where and how much is left."""


class NotStored(RuntimeError):
    """The stack has stopped, and not all that was sent is in ClickHouse; the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"not all that was sent is stored: {why}\nWhat only the broker held is lost. It can be "
            "sent again with the same ids: nothing is counted twice."
        )


class EmbeddedStack:
    """The stack on one home directory, which this process must have locked."""

    def __init__(
        self,
        settings: Settings,
        stopping: threading.Event,
        hurrying: threading.Event,
        phase: Callable[[str], None],
    ) -> None:
        """
        Args:
            stopping: set it to end `run`; a signal handler does.
            hurrying: set it to end without draining.
            phase: told in plain words what is being done.
        """
        self._home = Home(settings.home)
        self._database = settings.clickhouse_database
        self._settings = settings
        self._stopping = stopping
        self._hurrying = hurrying
        self._phase = phase
        self._supervisor = Supervisor(stopping)
        self._broker_lost = False
        self._disk_full = False
        self._next_disk_check = 0.0
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.bootstrap_servers = f"127.0.0.1:{settings.kafka_port or free_port()}"
        self.clickhouse_url = f"http://127.0.0.1:{settings.clickhouse_port or free_port()}"
        self._metrics_ports = {name: free_port() for name in (WORKER, SINK)}
        self._services = Services(
            self._home,
            settings,
            self.bootstrap_servers,
            self.clickhouse_url,
            self._metrics_ports,
        )

    def run(self, on_ready: Callable[[Addresses], None]) -> None:
        """Start, keep running until told to stop, drain and end.

        Raises:
            BrokerError, KeepsDying, DiskFull, TopicsError, ClickHouseUnavailable,
            RebuildFailed: in plain words; everything that had been started is ended.
            NotStored: it stopped as it was told to, and lost something.
        """
        try:
            self._refuse_taken_ports()
            self._check_disk()
            for name in end_leftovers(self._home.leftovers):
                log.warning("%s was left behind by a killed supervisor; ended it", name)
            self._start()
            on_ready(self._publish())
            self._watch()
        except Stopping:
            self._drain()
        finally:
            self._home.withdraw()
            self._end()

    def _start(self) -> None:
        self._phase("starting the broker")
        self._supervisor.start(self._services.broker())
        self._phase("starting ClickHouse")
        self._supervisor.start(self._services.clickhouse())
        self._fill_broker()

    def _fill_broker(self) -> None:
        """From an empty broker to a running worker and sink."""
        self._phase("creating topics and tables")
        topics_admin.create(self.bootstrap_servers, EMBEDDED_PARTITIONS)
        client = connect(self.clickhouse_url, ANY_DATABASE)
        try:
            migrate(client, self._database)
        finally:
            client.close()
        self._phase("loading what was stored")
        rebuilt = rebuild(
            self.bootstrap_servers,
            self.clickhouse_url,
            self._database,
            group=self._settings.worker_group,
            progress=lambda step: self._phase(f"loading what was stored: {step}"),
        )
        log.info("loaded into the broker: %s", rebuilt._asdict())
        self._phase("starting the worker and the sink")
        self._supervisor.start(self._services.worker(), self._services.sink())

    def _watch(self) -> None:
        """Restart what dies until told to stop, which raises Stopping."""
        while True:
            self._supervisor.pause(_LOOK_S)
            if not self._supervisor.alive(BROKER):
                self._restart_around_broker()
            if self._supervisor.look():
                self._publish()
            if time.monotonic() > self._next_disk_check:
                self._next_disk_check = time.monotonic() + _DISK_EVERY_S
                self._watch_disk()

    def _watch_disk(self) -> None:
        """Say once that the disk is full, and once that there is room again.

        Nothing is ended: the sink keeps trying, and goes on by itself when there is room.
        """
        try:
            self._check_disk()
        except DiskFull as error:
            if not self._disk_full:
                log.error("%s", error)
                self._phase(f"{error} Until then nothing more is stored.")
            self._disk_full = True
        else:
            if self._disk_full:
                self._phase("the disk has room again")
            self._disk_full = False

    def _restart_around_broker(self) -> None:
        log.error("the broker died, and its log was in memory: restarting the whole stack")
        self._broker_lost = True
        self._home.withdraw()
        for attempt in range(1, BROKER_ATTEMPTS + 1):
            for name in (WORKER, SINK, BROKER):
                self._supervisor.kill(name)
            self._supervisor.start(self._services.broker())
            while not self._supervisor.all_ready:  # ClickHouse may be down as well
                self._supervisor.look()
                self._supervisor.pause(_LOOK_S)
            try:
                self._fill_broker()
                break
            except RebuildFailed as error:
                # an emitter that found the new topics before they were filled
                if attempt == BROKER_ATTEMPTS:
                    raise
                log.warning("once more from the start: %s", error)
        self._broker_lost = False
        self._publish()

    def _drain(self) -> None:
        """Everything acknowledged into ClickHouse. Raises NotStored."""
        if self._broker_lost:
            raise NotStored("the broker had just died, and its log was in memory")
        if not self._supervisor.keeps(WORKER):
            return  # stopped before there was anything to drain
        self._phase("draining: waiting until all that was sent is stored")
        self._settle(DRAIN_S)
        self._supervisor.stop(WORKER)
        # what the worker wrote last
        self._settle(DRAIN_S / 4)

    def _settle(self, timeout: float) -> None:
        def meanwhile(_: object) -> None:
            if self._hurrying.is_set():
                raise Stopping("it was told a second time to stop, and did not wait")
            self._supervisor.look()  # a sink that dies now is needed still

        try:
            client = connect(self.clickhouse_url, self._database)
            try:
                wait_settled(self.bootstrap_servers, client, timeout, meanwhile)
            finally:
                client.close()
        except (
            NotSettled,
            LogUnavailable,
            KafkaException,
            KeepsDying,
            Stopping,
            ClickHouseUnavailable,
            ClickHouseError,
        ) as error:
            raise NotStored(failures.plain(error)) from error

    def _end(self) -> None:
        if self._supervisor.pids:
            self._phase("stopping")
        for name in (WORKER, SINK, CLICKHOUSE, BROKER):
            if self._hurrying.is_set() and name != CLICKHOUSE:
                self._supervisor.kill(name)
            else:
                self._supervisor.stop(name)
        self._home.leftovers.unlink(missing_ok=True)

    def _publish(self) -> Addresses:
        pids = self._supervisor.pids
        write_leftovers(self._home.leftovers, pids)
        addresses = Addresses(
            bootstrap_servers=self.bootstrap_servers,
            clickhouse_url=self.clickhouse_url,
            home=str(self._home.path),
            started_at=self._started_at,
            pids={"supervisor": os.getpid(), **pids},
            metrics_urls={
                name: f"http://127.0.0.1:{port}/metrics"
                for name, port in self._metrics_ports.items()
            },
        )
        self._home.publish(addresses)
        return addresses

    def _refuse_taken_ports(self) -> None:
        for address in (self.bootstrap_servers, self.clickhouse_url):
            refuse_taken(int(address.rpartition(":")[2]))

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._home.path).free
        if free < LEAST_FREE_BYTES:
            raise DiskFull(
                f"the disk of {self._home.path} is full: {free // 1024**2} MB are free, "
                f"{LEAST_FREE_BYTES // 1024**2} MB are needed. Free some, or choose another "
                "directory with SPENDSTREAM_HOME."
            )
