"""`make storm`: see README.md.

python -m tests.storm [--seed N] [--events N] [--faults N] [--late N] [--only KIND ...] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import own_kafka
from tests.storm.faults.clickhouse import DiskFull
from tests.storm.plan import BY_NAME
from tests.storm.rage import rage, say
from tests.storm.report import report
from tests.storm.traffic import Traffic
from tests.support.small_disk import NoDiskError, SmallDisk, small_disk

_DISK_BYTES: Final = 512 * 2**20
_EVENT_BYTES: Final = 3_000
"""Ten times what ClickHouse needs in the end: merged parts stay for minutes."""


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 where nothing differs."""
    parser = argparse.ArgumentParser(prog="storm", description="exactly once, whatever dies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--faults", type=int, default=110)
    parser.add_argument("--late", type=int, default=30, help="events in 10,000 over a day old")
    parser.add_argument("--only", action="append", default=[], choices=sorted(BY_NAME))
    parser.add_argument("--hasty", action="store_true", help="do not wait for the last overage")
    parser.add_argument("--keep", type=Path, help="keep the processes' logs here")
    options = parser.parse_args(argv)
    # told to end, it still ends its processes and servers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    traffic = Traffic(options.seed, options.events, options.late)
    broker = own_kafka()
    if broker.kind == "tansu":
        parser.error("a storm needs Apache Kafka: Docker, or Java and Maven")
    with tempfile.TemporaryDirectory(prefix="spendstream-storm-") as made:
        directory = options.keep or Path(made)
        # Faust's directory, which it makes wherever it is told and never uses
        os.environ["APP_DATADIR"] = str(Path(made) / "faust")
        with ExitStack() as stack:
            disk = _disk(stack, Path(made) / "disk", traffic)
            data = disk.path / "clickhouse" if disk else None
            stack.enter_context(broker)
            clickhouse = stack.enter_context(ChdbClickHouse(data))
            outcome = rage(
                traffic,
                options.faults,
                directory,
                broker,
                clickhouse,
                options.only,
                patient=not options.hasty,
                disk=disk,
            )
    print(report(outcome))
    return 0 if outcome.exact and not outcome.missed else 1


def _disk(stack: ExitStack, path: Path, traffic: Traffic) -> SmallDisk | None:
    path.mkdir()
    try:
        return stack.enter_context(small_disk(path, _DISK_BYTES + traffic.events * _EVENT_BYTES))
    except NoDiskError as error:
        say(f"{DiskFull.kind} is left out: {error}")
        return None


if __name__ == "__main__":
    sys.exit(main())
