"""`make storm`: see README.md.

python -m tests.storm [--seed N] [--events N] [--faults N] [--late N] [--only KIND ...] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.servers.clickhouse import ChdbClickHouse
from tests.servers.kafka import own_kafka
from tests.storm.plan import BY_NAME
from tests.storm.rage import rage
from tests.storm.report import report
from tests.storm.traffic import Traffic


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
        with broker, ChdbClickHouse() as clickhouse:
            outcome = rage(
                traffic,
                options.faults,
                directory,
                broker,
                clickhouse,
                options.only,
                patient=not options.hasty,
            )
    print(report(outcome))
    return 0 if outcome.exact and not outcome.missed else 1


if __name__ == "__main__":
    sys.exit(main())
