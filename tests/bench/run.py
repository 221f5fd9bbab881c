"""`make bench`: all benchmarks in one run, on servers of their own; prints and writes RESULTS.md.

Ratios are of medians over interleaved rounds on the same machine in the same minutes: absolute
figures depend on the machine and on what else it does, and no test asserts them.

python -m tests.bench.run [--rounds 5] [--events 300000] [--quick] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench import emit, latency, prices, sink, worker, wrap
from tests.servers.clickhouse import own_clickhouse
from tests.servers.kafka import own_kafka

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000, help="a round of the worker bench")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it runs")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS.name}; with --quick: none")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.events = 1, 50_000
    if own_kafka().kind == "tansu":
        sys.exit("the benchmarks are of Apache Kafka: Docker, or a JDK 17 and Maven, are needed")
    report = _Report()
    report.line(f"# Benchmarks of {datetime.now(UTC):%Y-%m-%d}")
    report.line()
    report.line(
        f"{_machine()}. Made by `make bench` with {options.rounds} rounds of {options.events:,}"
        " events; ratios are of medians."
    )
    _worker(report, options.rounds, options.events)
    _emit(report)
    _wrap(report, 200 if options.quick else 1_000)
    _sink(report, options.rounds, 70_000 if options.quick else 700_000)
    _latency(report, 24 if options.quick else 45)
    output = options.output or (None if options.quick else RESULTS)
    if output is not None:
        output.write_text(report.text)
        print(f"written to {output}", file=sys.stderr)


class _Report:
    """Prints a line as it is known, and keeps it."""

    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str = "") -> None:
        print(text, flush=True)
        self.text += text + "\n"

    def heading(self, text: str) -> None:
        self.line()
        self.line(f"## {text}")
        self.line()

    def table(self, *rows: Sequence[str]) -> None:
        for number, row in enumerate(rows):
            self.line(f"| {' | '.join(row)} |")
            if number == 0:
                self.line("|" + " --- |" * len(row))


def _worker(report: _Report, rounds: int, events: int) -> None:
    report.heading("Worker: events a second")
    with own_kafka() as kafka:
        report.line(
            f"One process, {worker.PARTITIONS} partitions, {worker.WORKSPACES:,} workspaces,"
            f" {events:,} events a round, the broker ({kafka.describe()}) on the same machine."
            " The bare loop imports nothing of spendstream, checks the same rules, keeps the same"
            " counters and writes the same bytes."
        )
        report.line()
        report.table(("round", *worker.VARIANTS))
        measured = []
        for number, runs in enumerate(worker.rounds(kafka.bootstrap_servers, rounds, events), 1):
            measured.append(runs)
            cells = (
                f"{run.events_per_second:,.0f}/s, {run.cpu_per_million:.1f} CPU s/M" for run in runs
            )
            report.line(f"| {number} | {' | '.join(cells)} |")
    speed = [median(runs[i].events_per_second for runs in measured) for i in range(3)]
    cpu = [median(runs[i].cpu_per_million for runs in measured) for i in range(3)]
    cells = (f"{s:,.0f}/s, {c:.1f} CPU s/M" for s, c in zip(speed, cpu, strict=True))
    report.line(f"| median | {' | '.join(cells)} |")
    report.line()
    report.line(
        f"spendstream / bare with transactions: **{speed[2] / speed[1]:.2f}**;"
        f" / bare: {speed[2] / speed[0]:.2f}"
    )
    _, event, _ = prices.best(*prices.ways(*prices.CASES["text"]))
    report.line(
        f"Pricing an event: {event:.1f} of the worker's {cpu[2]:.1f} CPU µs, {event / cpu[2]:.0%}"
    )


def _emit(report: _Report) -> None:
    report.heading("`emit()`: microseconds a call")
    with own_kafka() as kafka:
        _create_topics(kafka.bootstrap_servers)
        costs = emit.measure_beside(kafka.bootstrap_servers)
    report.table(
        ("", "calls", "delivered", "p50", "p90", "p99", "max"),
        *(
            (
                kind, f"{cost.calls:,}", f"{cost.delivered:,}", f"**{cost.p50_us:.1f}**",
                f"{cost.p90_us:.1f}", f"{cost.p99_us:.1f}", f"{cost.max_us:.0f}",
            )
            for kind, cost in zip(("no spool", "with a spool"), costs, strict=True)
        ),
    )  # fmt: skip


def _wrap(report: _Report, calls: int) -> None:
    report.heading("Instrumented SDKs: microseconds a call")
    report.line(
        f"Bare and instrumented calls in turns, {calls:,} of each, to a server on this machine that"
        " answers as the provider does; more is the median of what each instrumented call took"
        f" longer than the bare one before it (asked of a whole answer: {wrap.LIMIT_US} at most)."
    )
    report.line()
    with own_kafka() as kafka:
        _create_topics(kafka.bootstrap_servers)
        costs = wrap.measure(kafka.bootstrap_servers, calls)
    report.table(
        ("", "events delivered", "bare", "instrumented", "more"),
        *(
            (
                cost.name, f"{cost.delivered:,}", f"{cost.bare_us:.0f}", f"{cost.wrapped_us:.0f}",
                f"**{cost.more_us:.0f}**",
            )
            for cost in costs
        ),
    )  # fmt: skip


def _sink(report: _Report, rounds: int, rows: int) -> None:
    report.heading("Sink: rows a second into ClickHouse")
    with own_kafka() as kafka, own_clickhouse() as clickhouse:
        report.line(
            f"{rows:,} rows a round through the loader (Kafka, intents, tokens, roll-ups) beside"
            f" bare inserts of the same rows into the same tables ({clickhouse.describe()})."
        )
        report.line()
        result = sink.measure(
            kafka.bootstrap_servers,
            clickhouse.url,
            rounds,
            rows,
            progress=lambda line: print(line, file=sys.stderr),
        )
    report.table(
        ("round", "loader", "bare insert"),
        *(
            (str(number), f"{one.loader:,.0f}/s", f"{one.bare:,.0f}/s")
            for number, one in enumerate(result.rounds, 1)
        ),
    )
    loader = median(one.loader for one in result.rounds)
    bare = median(one.bare for one in result.rounds)
    report.line(f"| median | {loader:,.0f}/s | {bare:,.0f}/s |")
    report.line()
    report.line(f"loader / bare insert: **{loader / bare:.2f}**")


def _latency(report: _Report, seconds: float) -> None:
    report.heading("Event → ClickHouse, event → alert, at 2,000 events a second")
    with own_kafka() as kafka, own_clickhouse() as clickhouse:
        result = latency.measure(kafka.bootstrap_servers, clickhouse, seconds=seconds)
    report.line(
        "Seconds from the intended send time to a query that finds the event's `seq` loaded, or to"
        f" a reader of `usage.alerts` that has its alert (one event in {latency.ALARMING} raises"
        f" some), after {latency.WARM_UP_S:.0f} s in which the broker's JVM warms up. The generator"
        f" was late by {result.generator_lag_max:.3f} s at most."
    )
    report.line()
    report.table(
        ("", "events", "p50", "p90", "p99", "max"),
        *(
            (
                name, f"{one.events:,}", f"{one.p50:.2f}", f"{one.p90:.2f}", f"**{one.p99:.2f}**",
                f"{one.max:.2f}",
            )
            for name, one in (("ClickHouse", result.to_clickhouse), ("alert", result.to_alert))
        ),
    )  # fmt: skip


def _create_topics(bootstrap_servers: str) -> None:
    from spendstream.deploy import topics_admin

    topics_admin.create(bootstrap_servers, worker.PARTITIONS, 1)


def _machine() -> str:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**3
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), {memory} GiB,"
        f" Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
