"""Events on disk: what a crash, a full or damaged file, another process, a fork leave of them."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from spendstream.producers import Drop, UsageEmitter, emitter, spool, spool_file, spool_slots
from spendstream.schemas import UsageEvent
from tests.support.waiting import until
from tests.unit.producers.kafka_client import Broker

EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
LARGE = EVENT.model_copy(update={"metadata": {"text": "x" * 8_000}})
Make = Callable[..., UsageEmitter]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(emitter, "Producer", broker.client)
    return broker


@pytest.fixture
def make(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[UsageEmitter] = []
    monkeypatch.setattr(spool, "_FIRST_DELAY_S", 0.01)

    def new(directory: Path = tmp_path / "spool", **options: Any) -> UsageEmitter:
        made.append(UsageEmitter("nowhere:1", source="svc", spool=directory, **options))
        return made[-1]

    yield new
    for usage in made:
        usage.close(0)


def send(usage: UsageEmitter, *numbers: int, event: UsageEvent = EVENT) -> None:
    for number in numbers:
        assert usage.emit(event, id=f"id-{number}")


def settled(usage: UsageEmitter) -> UsageEmitter:
    """Everything so far is on disk."""
    assert usage._spool is not None
    assert usage._spool.settle(20)
    return usage


def stored(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return [row[0].decode() for row in connection.execute("SELECT event_id FROM events")]


def names(*numbers: int) -> list[str]:
    return [f"id-{number}" for number in numbers]


def test_what_is_not_acknowledged_is_on_disk_and_gone_when_it_is(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    usage = make()
    send(usage, *range(1_000))
    assert settled(usage).stats.spooled == 1_000
    assert usage.stats.queued == 1_000
    broker.finish(count=400)
    assert settled(usage).stats.spooled == 600
    broker.finish()
    assert settled(usage).stats.spooled == 0
    assert (usage.stats.delivered, usage.stats.queued, usage.stats.lost) == (1_000, 0, 0)
    usage.close()
    assert stored(tmp_path / "spool" / "0.sqlite") == []


def test_what_is_acknowledged_at_once_is_never_written(broker: Broker, make: Make) -> None:
    usage = make()
    settled(usage)
    store = usage._spool.store  # type: ignore[union-attr]
    with store._touching:  # the disk is slow
        send(usage, *range(100))
        broker.finish()
    settled(usage)
    assert store.number() == 1


def test_what_is_acknowledged_before_emit_returns_leaves_nothing_on_disk(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = make()
    spool = usage._spool
    assert spool is not None
    keep = spool.keep

    def late(*arguments: Any) -> bool:
        broker.finish()
        return keep(*arguments)

    monkeypatch.setattr(spool, "keep", late)
    send(usage, *range(10))
    settled(usage)
    assert (usage.stats.delivered, usage.stats.spooled) == (10, 0)


def test_close_leaves_it_on_disk_and_the_next_process_sends_it_in_order(
    broker: Broker, make: Make
) -> None:
    usage = make()
    send(usage, *range(3_000))
    assert usage.close(0) == 0
    assert usage.stats.dropped == {}
    assert usage.stats.spooled == usage.stats.queued == 3_000
    broker.queue.clear()
    again = make()
    send(again, 3_000)
    until(lambda: len(broker.queue) == 3_001, 20)
    broker.finish()
    assert [name for name in broker.ids() if name != "id-3000"] == names(*range(3_000))
    sent = broker.arrived[-1]
    assert sent.headers["ce_source"] == b"svc"
    assert sent.report.key() == b"ws-1"
    assert settled(again).stats.recovered == 3_000
    assert (again.stats.delivered, again.stats.spooled, again.stats.queued) == (3_001, 0, 0)


def test_times_and_sources_are_those_of_the_first_process(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = make()
    usage.emit(EVENT, id="a", time_ms=1_795_341_600_123)
    usage.close(0)
    broker.queue.clear()
    UsageEmitter("nowhere:1", source="other", spool=usage._spool_directory)
    until(lambda: len(broker.queue) == 1, 20)
    assert broker.queue[0].headers["ce_source"] == b"svc"
    assert broker.queue[0].headers["ce_time"] == b"2026-11-22T10:00:00.123Z"


def test_a_file_that_opens_only_halfway_is_opened_again(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = make()
    send(usage, *range(100))
    assert not usage.emit("no event")  # type: ignore[arg-type]
    usage.close(0)
    broker.queue.clear()
    ranges, calls = spool_file.SpoolFile.ranges, []

    def failing_once(file: spool_file.SpoolFile) -> list[tuple[int, int]]:
        calls.append(file)
        if len(calls) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return ranges(file)

    monkeypatch.setattr(spool_file.SpoolFile, "ranges", failing_once)
    again = settled(make())
    until(lambda: "disk I/O error" in caplog.text, 10)
    until(lambda: len(broker.queue) == 100, 20)
    send(again, 100)
    broker.finish()
    assert set(broker.ids()) == set(names(*range(101)))
    assert [q.headers["ce_dropped"] for q in broker.arrived if "ce_dropped" in q.headers] == [b"1"]
    assert settled(again).stats.recovered == 100


@pytest.mark.parametrize("rows", [[], [7], [1, 2, 3], [1, 3, 4, 9, 10, 11]])
def test_rows_that_are_there_are_told_as_ranges(rows: list[int], tmp_path: Path) -> None:
    with contextlib.closing(spool_file.SpoolFile(tmp_path / "0.sqlite", 1_048_576)) as file:
        file.write([spool_file.Row(row, b"", b"", b"", b"", 0) for row in rows], (), 0)
        ranges = file.ranges()
    assert [row for first, last in ranges for row in range(first, last + 1)] == rows
    assert all(first > last + 1 for (_, last), (first, _) in itertools.pairwise(ranges))


def test_older_libraries_take_its_statements(tmp_path: Path) -> None:
    rows = [spool_file.Row(row, b"", b"", b"", b"", 0) for row in range(1, 1_001)]
    with contextlib.closing(spool_file.SpoolFile(tmp_path / "0.sqlite", 1_048_576)) as file:
        file._connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        file.write(rows, (), 0)
        assert file.read(range(1, 1_001)) == rows
        file.write((), range(1, 1_001), 0)
        assert file.rows == 0


def test_a_full_file_is_opened_where_no_temporary_file_can_be_made(tmp_path: Path) -> None:
    file = spool_file.SpoolFile(tmp_path / "0.sqlite", 2**30)
    file._ask(
        "WITH RECURSIVE n(row) AS (SELECT 1 UNION ALL SELECT row + 2 FROM n WHERE row < 599999)"
        " INSERT INTO events SELECT row, x'', x'', x'', x'', 0 FROM n"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        ranges = file.ranges()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        file.close()
    assert len(ranges) == 300_000


def test_a_full_queue_goes_on_on_disk(broker: Broker, make: Make) -> None:
    broker.limit = 100
    usage = make(queue_buffering_max_messages=100)
    send(usage, *range(1_000))
    assert settled(usage).stats.queued == usage.stats.spooled == 1_000
    broker.away = False
    assert usage.flush(30) == 0
    assert sorted(broker.ids()) == sorted(names(*range(1_000)))
    assert (usage.stats.delivered, usage.stats.spooled, usage.stats.lost) == (1_000, 0, 0)


@pytest.mark.parametrize(
    "error", [KafkaError._MSG_TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED]
)
def test_what_expires_or_may_not_be_sent_now_is_sent_later(
    error: int, broker: Broker, make: Make
) -> None:
    usage = make()
    send(usage, *range(100))
    settled(usage)
    broker.finish(error)
    assert usage.stats.queued == 100
    until(lambda: len(broker.queue) == 100, 20)
    broker.finish()
    assert sorted(broker.ids()) == sorted(names(*range(100)))
    assert settled(usage).stats.spooled == usage.stats.lost == 0


def test_what_expired_partition_by_partition_is_sent_many_at_a_time_in_the_order_of_emission(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = make()
    send(usage, *range(3_000))
    settled(usage)
    expiring = list(broker.queue)
    broker.queue.clear()
    broker.queue.extend(queued for p in range(12) for queued in expiring[p::12])
    store = usage._spool.store  # type: ignore[union-attr]
    reads: list[int] = []
    read = store.read

    def noted(rows: list[int]) -> list[spool_file.Row]:
        reads.append(len(rows))
        return read(rows)

    monkeypatch.setattr(store, "read", noted)
    monkeypatch.setattr(spool, "_FIRST_DELAY_S", 0.5)
    usage._spool._delay = 0.5  # type: ignore[union-attr]
    broker.finish(KafkaError._MSG_TIMED_OUT)
    until(lambda: len(broker.queue) == 3_000, 20)
    assert [queued.id for queued in broker.queue] == names(*range(3_000))
    assert reads == [1_000] * 3


def test_what_can_never_be_sent_is_dropped_and_leaves_the_disk(broker: Broker, make: Make) -> None:
    usage = make()
    send(usage, 1)
    settled(usage)
    broker.finish(KafkaError.INVALID_RECORD)
    assert settled(usage).stats.dropped == {Drop.FAILED: 1}
    assert (usage.stats.spooled, usage.stats.queued) == (0, 0)


CRASHING = """
import sys, threading
from spendstream.producers import UsageEmitter, emitter
from spendstream.schemas import UsageEvent
from tests.unit.producers.kafka_client import Broker

broker = Broker()
emitter.Producer = broker.client
usage = UsageEmitter("nowhere:1", source="svc", spool=sys.argv[1])
event = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
number = 0
while True:
    for _ in range(50):
        usage.emit(event, id=f"id-{number}")
        number += 1
    if number % 500 == 0:
        broker.finish(count=100)
        print("acknowledged", broker.ids()[-1], flush=True)
    usage._spool.settle(10)
    print("written", number, flush=True)
"""


def crash(directory: Path, after: int) -> tuple[int, int]:
    """Kill a process with -9 while it emits. Returns (written for sure, acknowledged)."""
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHING, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    written = acknowledged = 0
    assert process.stdout is not None
    try:
        for line in process.stdout:
            kind, value = line.split()
            if kind == "written":
                written = int(value)
            else:
                acknowledged = int(value.removeprefix("id-")) + 1
            if written >= after and process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return written, acknowledged


def test_a_kill_in_the_midst_loses_nothing_that_was_written(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    written, acknowledged = crash(tmp_path / "spool", 2_000)
    assert written >= 2_000 > acknowledged > 0
    usage = make()
    until(lambda: len(broker.queue) >= written - acknowledged, 20)
    broker.finish()
    found = broker.ids()
    # what was acknowledged just before it died may not be deleted yet: sent again, counted once
    assert set(found) >= set(names(*range(acknowledged, written)))
    assert len(set(found)) == len(found)
    # what is lost is the end of it, never something in between
    numbers = sorted(int(name.removeprefix("id-")) for name in found)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert settled(usage).stats.spooled == 0


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "no database", "log overwritten"])
def test_a_damaged_file_is_set_aside_and_what_can_be_read_is_sent(
    damage: str, broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "spendstream.producers")
    usage = make()
    send(usage, *range(3_000))
    usage.close(0)
    broker.queue.clear()
    path = tmp_path / "spool" / "0.sqlite"
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "cut off":
            file.truncate(size // 2 // 4096 * 4096 + 100)
        elif damage == "overwritten":
            file.seek(size // 2 // 4096 * 4096)
            file.write(b"\xff" * (3 * 4096))
        elif damage == "no database":
            file.write(os.urandom(8192))
    if damage == "log overwritten":
        Path(f"{path}-wal").write_bytes(os.urandom(100_000))
    again = make()
    send(again, 5_000)
    settled(again)
    until(lambda: not again._spool.held, 20)  # type: ignore[union-attr]
    broker.finish()
    found = set(broker.ids())
    assert "id-5000" in found
    assert found <= set(names(*range(3_000), 5_000))
    if damage == "log overwritten":  # its sums do not match: as if it were not there
        assert len(found) == 3_001
    elif damage != "no database":
        assert 1_000 < len(found) < 3_000
    if damage != "log overwritten":
        assert len(list(path.parent.glob("0.damaged-*.sqlite"))) == 1
        until(lambda: "is damaged" in caplog.text, 10)
    assert settled(again).stats.spooled == 0


def test_damage_that_shows_while_it_is_used_is_mended_and_losses_are_counted(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    broker.limit = 0
    usage = make(queue_buffering_max_messages=100)
    # more than SQLite keeps in memory, and more than stays in the write-ahead log
    send(usage, *range(6_000), event=EVENT.model_copy(update={"metadata": {"text": "x" * 1_000}}))
    assert settled(usage).stats.spooled == 6_000
    path = tmp_path / "spool" / "0.sqlite"
    with usage._spool.store._touching, path.open("r+b") as file:  # type: ignore[union-attr]
        file.seek(path.stat().st_size // 3 // 4096 * 4096)
        file.write(b"\xff" * (3 * 4096))
    broker.limit, broker.away = 100, False
    assert usage.flush(30) == 0
    stats = settled(usage).stats
    assert stats.delivered + stats.dropped[Drop.UNREADABLE] == 6_000
    assert len(set(broker.ids())) == stats.delivered > 5_000
    assert stats.queued == stats.spooled == 0
    send(usage, 5_000)
    assert usage.flush(30) == 0
    assert "id-5000" in broker.ids()


def test_damage_that_cannot_be_mended_yet_is_mended_later(
    broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.limit = 0
    usage = make(queue_buffering_max_messages=100)
    send(usage, *range(6_000), event=EVENT.model_copy(update={"metadata": {"text": "x" * 1_000}}))
    assert settled(usage).stats.spooled == 6_000
    path = tmp_path / "spool" / "0.sqlite"
    obstacle = path.with_suffix(".mended")  # where the new file is made
    obstacle.mkdir()
    with usage._spool.store._touching, path.open("r+b") as file:  # type: ignore[union-attr]
        file.seek(path.stat().st_size // 3 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    broker.limit, broker.away = 100, False
    until(lambda: "cannot be used" in caplog.text, 20)
    assert not list(path.parent.glob("*.damaged-*"))
    obstacle.rmdir()
    assert usage.flush(30) == 0
    stats = settled(usage).stats
    assert stats.delivered + stats.dropped[Drop.UNREADABLE] == 6_000
    assert len(set(broker.ids())) == stats.delivered > 5_000
    assert (stats.recovered, stats.queued, stats.spooled) == (0, 0, 0)
    assert len(list(path.parent.glob("0.damaged-*.sqlite"))) == 1


def test_a_kill_just_before_the_new_file_takes_its_place_loses_nothing(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    usage = make()
    send(usage, *range(100))
    usage.close(0)
    broker.queue.clear()
    path = tmp_path / "spool" / "0.sqlite"
    path.rename(path.with_suffix(".mended"))
    make()
    until(lambda: len(broker.queue) == 100, 20)


def test_a_kill_between_the_renames_leaves_no_log_of_the_damaged_file_beside_the_new_one(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    usage = make()
    send(usage, *range(100))
    path = tmp_path / "spool" / "0.sqlite"
    with settled(usage)._spool.store._touching:  # type: ignore[union-attr]
        log = Path(f"{path}-wal").read_bytes()
    send(usage, *range(100, 200))
    usage.close(0)
    broker.queue.clear()
    path.rename(path.with_suffix(".mended"))
    Path(f"{path}-wal").write_bytes(log)
    make()
    until(lambda: len(broker.queue) == 200, 20)
    assert [queued.id for queued in broker.queue] == names(*range(200))
    [aside] = path.parent.glob("0.damaged-*")
    assert aside.read_bytes() == log


def test_a_new_file_that_cannot_take_its_place_at_once_takes_it_later(
    broker: Broker, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.limit = 0
    usage = make(queue_buffering_max_messages=100)
    send(usage, *range(6_000), event=EVENT.model_copy(update={"metadata": {"text": "x" * 1_000}}))
    assert settled(usage).stats.spooled == 6_000
    path = tmp_path / "spool" / "0.sqlite"
    rename = Path.rename
    failed: list[Path] = []

    def failing_once(source: Path, target: Path) -> Path:
        if source.suffix == ".mended" and not failed:
            failed.append(source)
            raise OSError("not now")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing_once)
    with usage._spool.store._touching, path.open("r+b") as file:  # type: ignore[union-attr]
        file.seek(path.stat().st_size // 3 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    broker.limit, broker.away = 100, False
    assert usage.flush(30) == 0
    assert failed
    assert len(set(broker.ids())) == usage.stats.delivered > 5_000


def test_a_damaged_file_keeps_its_report(broker: Broker, make: Make, tmp_path: Path) -> None:
    usage = make()
    send(usage, *range(3_000))
    assert not usage.emit("no event")  # type: ignore[arg-type]
    usage.close(0)
    broker.queue.clear()
    path = tmp_path / "spool" / "0.sqlite"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    again = settled(make())
    send(again, 5_000)
    broker.finish()
    assert [q.headers["ce_dropped"] for q in broker.arrived if "ce_dropped" in q.headers] == [b"1"]


def test_a_full_spool_is_counted_and_said_and_takes_events_again(
    broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.limit = 10
    usage = make(spool_bytes=1_048_576, queue_buffering_max_messages=10)
    for number in range(400):
        usage.emit(LARGE, id=f"id-{number}")
        if number % 20 == 0:
            settled(usage)
    stats = settled(usage).stats
    assert 50 < stats.spooled < 130
    assert stats.queued + stats.lost == 400
    assert set(stats.dropped) == {Drop.SPOOL_FULL}
    until(lambda: "is full" in caplog.text, 10)
    assert len([r for r in caplog.records if "is full" in r.getMessage()]) == 1
    assert (tmp_path / "spool" / "0.sqlite").stat().st_size <= 1_048_576
    broker.away = False
    assert usage.flush(30) == 0
    assert usage.stats.delivered + stats.lost == 400
    broker.away = True

    def taken_again() -> bool:
        usage.emit(LARGE)
        return settled(usage).stats.spooled > 0

    until(taken_again, 20)


def test_a_full_disk_is_counted_and_said_and_used_again_when_there_is_room(
    broker: Broker, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    broker.limit = 1_000
    usage = settled(make(queue_buffering_max_messages=1_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        for number in range(5_000):
            usage.emit(EVENT, id=f"id-{number}")
            if number % 500 == 0:
                settled(usage)
        stats = settled(usage).stats
        until(lambda: "cannot be used" in caplog.text, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(stats.dropped) == {Drop.SPOOL_FULL}
    assert stats.queued + stats.lost == 5_000
    assert stats.queued >= stats.spooled > 0
    broker.away = False
    assert usage.flush(30) == 0
    assert len(set(broker.ids())) == usage.stats.delivered == 5_000 - usage.stats.lost
    until(lambda: settled(usage).stats.spooled == 0, 10)


@pytest.mark.parametrize("what", ["a file", "proc"])
def test_a_directory_that_cannot_be_used_is_said_once_and_events_flow(
    what: str, broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if what == "a file":
        (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "spool" if what == "a file" else Path("/proc/spool")
    usage = make(directory)
    settled(usage)
    send(usage, *range(10))
    broker.finish()
    until(lambda: "cannot be used" in caplog.text, 10)
    assert usage.stats.delivered == usage.stats.unspooled == 10
    broker.limit = 0
    assert usage.emit(EVENT) is False
    assert usage.stats.dropped == {Drop.SPOOL_FULL: 1}
    assert len([r for r in caplog.records if "cannot be used" in r.getMessage()]) == 1


def test_a_spool_that_can_be_written_again_is_used_again(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    obstacle = tmp_path / "spool"
    obstacle.write_text("not yet a directory")
    usage = make()
    until(lambda: not usage.emit(EVENT) or usage.stats.unspooled > 0, 10)
    obstacle.unlink()

    def written() -> bool:
        usage.emit(EVENT)
        return settled(usage).stats.spooled > 0

    until(written, 20)


def test_two_owners_have_a_file_each(broker: Broker, make: Make, tmp_path: Path) -> None:
    first, second = make(), make()
    send(first, 1)
    send(second, 2)
    settled(first)
    settled(second)
    assert (first.stats.spooled, second.stats.spooled) == (1, 1)
    assert sorted(path.name for path in (tmp_path / "spool").glob("*.sqlite")) == [
        "0.sqlite",
        "1.sqlite",
    ]


def test_what_a_process_left_that_has_no_successor_is_taken_over(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    first, second = make(), make()
    settled(first)
    settled(second)
    send(second, *range(2_500))
    second.close(0)
    first.close(0)
    broker.queue.clear()
    alone = make()
    until(lambda: len(broker.queue) == 2_500, 20)
    broker.finish()
    assert broker.ids() == names(*range(2_500))
    assert settled(alone).stats.spooled == 0
    until(lambda: not (tmp_path / "spool" / "1.sqlite").exists(), 10)


def test_a_file_of_a_later_version_is_left_alone(
    broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    with sqlite3.connect(directory / "0.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    usage = make()
    send(usage, 1)
    settled(usage)
    assert usage.stats.spooled == 1
    until(lambda: "has schema 99" in caplog.text, 10)
    with sqlite3.connect(directory / "0.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_file_that_somebody_looks_at_is_left_alone(
    broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make().close(0)
    looking = sqlite3.connect(tmp_path / "spool" / "0.sqlite", isolation_level=None)
    looking.execute("BEGIN IMMEDIATE")
    try:
        usage = make()
        send(usage, 1)
        settled(usage)
        assert usage.stats.spooled == 1
        until(lambda: "is in use" in caplog.text, 10)
    finally:
        looking.close()


def test_a_file_that_is_removed_while_in_use_is_noticed(
    broker: Broker, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    usage = settled(make())
    (tmp_path / "spool" / "0.sqlite").unlink()
    assert usage._spool is not None
    usage._spool._adopt_at = 0.0
    usage.emit(EVENT)
    until(lambda: "was removed while in use" in caplog.text, 10)
    broker.finish()
    assert usage.stats.delivered == 1


def test_a_report_that_is_taken_over_is_on_disk_before_the_other_file_goes(
    broker: Broker, make: Make, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    first, second = settled(make()), settled(make())
    assert not second.emit("no event")  # type: ignore[arg-type]
    second.close(0)
    first.close(0)
    heir = make()
    until(lambda: not (directory / "1.sqlite").exists(), 20)
    with heir._spool.store._touching:  # type: ignore[union-attr]
        # what a kill -9 at this moment would leave
        for name in ("0.sqlite", "0.sqlite-wal"):
            (tmp_path / name).write_bytes((directory / name).read_bytes())
    with sqlite3.connect(tmp_path / "0.sqlite") as copy:
        assert copy.execute("SELECT dropped FROM unreported").fetchone() == (1,)


def test_drops_are_reported_by_the_next_process(broker: Broker, make: Make) -> None:
    usage = make()
    assert not usage.emit("no event")  # type: ignore[arg-type]
    usage.close(0)
    again = make()
    settled(again)
    send(again, 1)
    broker.finish()
    assert broker.arrived[0].headers["ce_dropped"] == b"1"
    again.close(0)
    last = make()
    settled(last)
    send(last, 2)
    broker.finish()
    assert "ce_dropped" not in broker.arrived[1].headers


def test_a_fork_leaves_the_file_to_the_parent(broker: Broker, make: Make, tmp_path: Path) -> None:
    usage = make()
    send(usage, *range(500))
    settled(usage)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            broker.queue.clear()
            fresh = usage.stats.spooled == usage.stats.queued == 0
            for number in range(500, 600):
                usage.emit(EVENT, id=f"id-{number}")
            settled(usage)
            own = usage.stats.spooled == 100
            code = 0 if fresh and own and usage.close(0) == 0 else 2
            gc.collect()  # what was the parent's is freed now, or never
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert stored(tmp_path / "spool" / "1.sqlite") == names(*range(500, 600))
    send(usage, *range(600, 700))
    assert settled(usage).stats.spooled == 600
    usage.close(0)
    assert stored(tmp_path / "spool" / "0.sqlite") == names(*range(500), *range(600, 700))


def test_a_child_that_outlives_its_parent_does_not_keep_its_file(tmp_path: Path) -> None:
    slot = spool_slots.Slot(tmp_path, 0)
    child = os.fork()
    if child == 0:
        slot.release()
        signal.pause()
    try:
        with pytest.raises(BlockingIOError):
            spool_slots.Slot(tmp_path, 0)
        slot.release()
        until(lambda: next(spool_slots.free(tmp_path)).number == 0, 10)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_fork_waits_for_the_library_to_be_at_rest(make: Make) -> None:
    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    usage = settled(make())
    forking = threading.Thread(target=fork)
    with usage._spool.store._touching:  # type: ignore[union-attr]
        forking.start()
        forking.join(0.3)
        assert forking.is_alive()
    forking.join(20)
    assert not forking.is_alive()
    settled(usage)  # the spool's thread goes on


def test_a_child_that_frees_the_parents_file_leaves_its_log(tmp_path: Path) -> None:
    file = spool_file.SpoolFile(tmp_path / "0.sqlite", 1_048_576)
    file.write([spool_file.Row(file.number(), b"key", b"value", b"id", b"svc", 1)], (), 0)
    child = os.fork()
    if child == 0:
        file.leak()
        del file
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "0.sqlite-wal").stat().st_size > 0
    assert [row.event_id for row in file.read([1])] == [b"id"]
    file.close()


def test_a_disk_that_hangs_holds_up_nobody_and_fills_no_memory(
    broker: Broker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_MAX_CHANGES", 100)
    usage = make()
    settled(usage)
    with usage._spool.store._touching:  # type: ignore[union-attr]
        longest = 0.0
        for number in range(1_000):
            begun = time.monotonic()
            assert usage.emit(EVENT, id=f"id-{number}")
            longest = max(longest, time.monotonic() - begun)
        assert longest < 1
        assert len(usage._spool._changes) <= 100  # type: ignore[union-attr]
        assert usage.stats.unspooled >= 800
    broker.finish()
    assert settled(usage).stats.delivered == 1_000


def test_the_variable_names_the_directory(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDSTREAM_SPOOL", str(tmp_path / "from variable"))
    with UsageEmitter("nowhere:1") as usage:
        settled(usage)
        assert (tmp_path / "from variable" / "0.sqlite").exists()
    with UsageEmitter("nowhere:1", spool="") as usage:
        assert usage._spool is None


def test_a_limit_that_is_no_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1,048,576"):
        UsageEmitter("nowhere:1", spool=tmp_path, spool_bytes=1_000)
