"""What stops a sink, each with what to do about it; and doing it, by `spendstream partitions`."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spendstream.deploy import failures
from spendstream.schemas.records import PricedUsage
from spendstream.schemas.topics import USAGE_ALERTS, USAGE_PRICED
from spendstream.sinks.clickhouse.config import LoaderConfig
from spendstream.sinks.clickhouse.epochs import epochs
from spendstream.sinks.clickhouse.intents import TRUST_MS, Intent
from spendstream.sinks.clickhouse.positions import Positions
from spendstream.sinks.clickhouse.reload import look
from tests.integration.loader_rig import Loader, Rig, alert, priced, rig
from tests.servers.apache import ApacheKafka
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.command_line import Runs, ask, run, run_here
from tests.support.topics import delete_records

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.clickhouse,
    pytest.mark.xdist_group("reload"),
]


@pytest.fixture
def loading(
    apache_broker: KafkaServer, clickhouse: ClickHouseServer, clickhouse_database: str,
    tmp_path: Path,
) -> Iterator[Rig]:  # fmt: skip
    with rig(apache_broker, clickhouse, clickhouse_database, tmp_path) as made:
        yield made


def rows(first: int, last: int) -> list[PricedUsage]:
    return [priced(seq) for seq in range(first, last + 1)]


def config(loading: Rig) -> LoaderConfig:
    return LoaderConfig(
        loading.kafka.bootstrap_servers, loading.clickhouse.url, loading.database, loading.group
    )


def partitions(loading: Rig, *arguments: str, by: Runs = run_here) -> tuple[int, Any, str]:
    """Exit code, JSON and sentences of `spendstream partitions`."""
    return ask(
        "partitions",
        *arguments,
        by=by,
        SPENDSTREAM_BOOTSTRAP_SERVERS=loading.kafka.bootstrap_servers,
        SPENDSTREAM_CLICKHOUSE_URL=loading.clickhouse.url,
        SPENDSTREAM_CLICKHOUSE_DATABASE=loading.database,
        SPENDSTREAM_SINK_GROUP=loading.group,
    )


def stops(loading: Rig, loader: Loader, kind: str, advice: str) -> None:
    loading.wait(lambda: loader.said(f'"error": "{kind}"'), kind)
    assert loader.said(advice), loader.log.read_text()[-2000:]


def truncate(loading: Rig) -> None:
    """The database forgets all rows, as one does that was restored from an old backup."""
    names = loading.client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND engine LIKE '%MergeTree' AND name NOT IN ('migrations')"
    ).result_rows
    for (name,) in names:
        loading.client.command(f"TRUNCATE TABLE {name}")


def test_what_clickhouse_lost_is_loaded_again(loading: Rig) -> None:
    loading.send(rows(1, 300))
    first = loading.start()
    loading.wait_loaded(300)
    assert first.stop() == 0
    truncate(loading)
    stops(loading, loading.start(), "Behind", "`spendstream partitions reload 0`")
    code, found, _ = partitions(loading, "show", by=run)
    assert code == failures.NOT_RIGHT
    assert [one["sink"]["stopped"] for one in found] == ["Behind", None]
    code, done, told = partitions(loading, "reload", "0", "--yes", by=run)
    assert (code, done["reloads"]) == (failures.OK, {USAGE_PRICED: 0}), told
    assert [one["sink"]["stopped"] for one in partitions(loading, "show")[1]] == [None, None]
    loading.loaders[-1].kill()
    loading.start()
    loading.send(rows(301, 400))
    loading.wait_loaded(400)
    loading.check_exact(400)


def test_what_kafka_no_longer_has_is_not_skipped(loading: Rig) -> None:
    loading.send(rows(1, 100))
    first = loading.start()
    loading.wait_loaded(100)
    assert first.stop() == 0
    truncate(loading)
    delete_records(loading.kafka.bootstrap_servers, USAGE_PRICED)
    code, _, told = partitions(loading, "reload", "0", "--yes")
    assert code == failures.UNAVAILABLE
    assert "Kafka has no rows: what lies between is lost to both" in told
    loading.send(rows(101, 110))
    _, _, told = partitions(loading, "reload", "0", "--yes")
    assert "Kafka has them only from seq 101 on" in told
    stops(loading, loading.start(), "Behind", "lost data")


def test_a_table_that_disagrees_with_positions_is_not_loaded_into(loading: Rig) -> None:
    loading.send(rows(1, 100))
    first = loading.start()
    loading.wait_loaded(100)
    assert first.stop() == 0
    loading.client.command("TRUNCATE TABLE positions")
    code, _, told = partitions(loading, "reload", "0", "--yes")
    assert code == failures.UNAVAILABLE
    assert "holds 100 rows above it, which would be doubled" in told


def test_a_backup_that_was_restored_under_a_running_sink(loading: Rig) -> None:
    """Its rows are there, below them a hole: nothing is loaded above it a second time."""
    loading.send(rows(1, 300))
    first = loading.start()
    loading.wait_loaded(300)
    truncate(loading)
    loading.send(rows(301, 400))
    loading.wait_loaded(400)
    assert first.stop() == 0
    stops(loading, loading.start(), "Hole", "300 rows below it are missing")
    loading.loaders[-1].kill()
    code, found, told = partitions(loading, "show")
    assert code == failures.NOT_RIGHT
    assert [one["sink"]["stopped"] for one in found] == ["Hole", None]
    assert found[0]["sink"]["loaded"] == {USAGE_PRICED: 100}
    code, _, told = partitions(loading, "reload", "0", "--yes")
    assert code == failures.UNAVAILABLE
    assert "ClickHouse has seq 400, but 300 rows below it are missing" in told
    truncate(loading)  # the backup once more, with no sink running
    code, done, told = partitions(loading, "reload", "0", "--yes", "--group", loading.group)
    assert (code, done["reloads"]) == (failures.OK, {USAGE_PRICED: 0}), told
    loading.start()
    loading.wait_loaded(400)
    loading.check_exact(400)


def test_a_new_database_is_loaded_from_what_kafka_has(loading: Rig) -> None:
    loading.send(rows(1, 300))
    first = loading.start()
    loading.wait_loaded(300)
    assert first.stop() == 0
    loading.client.command(f"DROP DATABASE {loading.database}")
    stops(loading, loading.start(), "Behind", "only 0")
    loading.loaders[-1].kill()
    code, done, told = partitions(loading, "reload", "0", "--yes")
    assert (code, done["reloads"]) == (failures.OK, {USAGE_PRICED: 0}), told
    loading.start()
    loading.wait_loaded(300)
    loading.check_exact(300)


def test_where_all_is_stored_nothing_is_written_and_no_sink_disturbed(loading: Rig) -> None:
    loader = loading.start()
    loading.send(rows(1, 100))
    loading.wait_loaded(100)
    code, done, told = partitions(loading, "reload", "0", "--yes")
    assert (code, done) == (failures.OK, {"partition": 0, "reloads": {}}), told
    loading.send(rows(101, 200))
    loading.wait_loaded(200)
    loading.check_exact(200)
    assert not loader.said("joining again")


def test_a_sink_in_the_middle_of_a_transaction_is_waited_for(loading: Rig) -> None:
    loaded_and_stopped(loading)
    stranger = loading.new_producer()
    stranger.begin_transaction()
    stranger.produce("sink.positions", b"{}", b"stranger", 0)
    assert stranger.flush(30) == 0
    _, found, _ = partitions(loading, "show")
    assert [one["sink"]["stopped"] for one in found] == [None, None]
    assert "somebody's transaction is open" in found[0]["sink"]["why"][0]
    assert not found[1]["sink"]["why"]
    ending = threading.Timer(1, stranger.abort_transaction)
    ending.start()
    [one] = look(config(loading), 0)
    assert one.stored == (100, 100)
    ending.join()


def test_a_topic_of_which_all_was_loaded_and_deleted_stops_nobody(loading: Rig) -> None:
    # a week after the last alert: retention has taken it, and the log begins above the position
    loading.send([alert(1)], USAGE_ALERTS)
    first = loading.start()
    loading.wait_loaded(1, USAGE_ALERTS)
    assert first.stop() == 0
    delete_records(loading.kafka.bootstrap_servers, USAGE_ALERTS)
    again = loading.start()
    loading.wait(lambda: again.ready, "the sink")
    loading.send([alert(2)], USAGE_ALERTS)
    loading.wait_loaded(2, USAGE_ALERTS)
    loading.check_exact(2, USAGE_ALERTS)
    assert not again.said("stopped")


def test_a_log_that_was_lost_with_its_disk_after_all_of_it_was_loaded(
    kafka_server: Callable[[], KafkaServer], clickhouse: ClickHouseServer,
    clickhouse_database: str, tmp_path: Path,
) -> None:  # fmt: skip
    """Other rows then have the offsets, and would have the tokens, of rows that are stored."""
    server = kafka_server()
    if not isinstance(server, ApacheKafka):
        pytest.skip("only a broker from jars has its log where the test can lose it")
    with rig(server, clickhouse, clickhouse_database, tmp_path) as loading:
        loaded_and_stopped(loading)
        server.stop()
        shutil.rmtree(server.partition_directories(USAGE_PRICED)[0])
        server.start()
        again = loading.start()
        loading.wait(lambda: again.ready, "the sink")
        loading.producer = loading.new_producer()
        loading.send(rows(101, 200))
        loading.wait_loaded(200)
        loading.check_exact(200)
        loading.loaders[-1].kill()
        loading.start()
        loading.send(rows(201, 210))
        loading.wait_loaded(210)
        loading.check_exact(210)


def test_rows_that_retention_deleted_before_they_were_loaded(loading: Rig) -> None:
    loading.send(rows(1, 100))
    loader = loading.start()
    loading.wait_loaded(100)
    loader.signal(signal.SIGSTOP)
    time.sleep(1)  # until its last fetch is answered: a later answer would bring the rows after all
    loading.send(rows(101, 200))
    delete_records(loading.kafka.bootstrap_servers, USAGE_PRICED)
    loading.send(rows(201, 300))
    loader.signal(signal.SIGCONT)
    stops(loading, loader, "Expired", "restart the sink:")
    loader.kill()
    stops(loading, loading.start(), "Gap", "a backup that reaches seq 200")
    assert loading.loaded() == 100


def intend(loading: Rig, age_ms: int, **other: Any) -> None:
    """A pending intent for rows 1 to 100, as a sink leaves it that dies before the insert."""
    fields = {
        "epoch": epochs(config(loading), [USAGE_PRICED])[USAGE_PRICED], "start": 0, "end": 100,
        "n": 100, "seq_before": 0, "seq": 100, "inserts": 0,
        "at_ms": time.time_ns() // 1_000_000 - age_ms,
    }  # fmt: skip
    positions = Positions(config(loading), 0)
    positions.open()
    positions.write({USAGE_PRICED: Intent(**{**fields, **other})})


def loaded_and_stopped(loading: Rig) -> None:
    """100 rows in one insert."""
    loading.send(rows(1, 100))
    first = loading.start()
    loading.wait_loaded(100)
    assert first.stop() == 0


def test_an_intent_too_old_for_its_token_whose_rows_are_there_is_not_inserted_again(
    loading: Rig,
) -> None:
    loaded_and_stopped(loading)
    intend(loading, 2 * TRUST_MS)
    loading.client.command("TRUNCATE TABLE usage_day")  # the one view that its insert never reached
    loader = loading.start()
    loading.wait(lambda: loader.ready, "the sink")
    loading.send(rows(101, 110))
    loading.wait_loaded(110)
    loading.check_exact(110)
    assert loader.said("views completed")


def test_an_intent_too_old_for_its_token_of_which_some_rows_are_there(loading: Rig) -> None:
    loaded_and_stopped(loading)
    intend(loading, 2 * TRUST_MS)
    loading.client.command(
        "ALTER TABLE usage_raw DELETE WHERE seq > 60", settings={"mutations_sync": 1}
    )
    stops(loading, loading.start(), "Undecided", "60 of its 100 rows")


def test_a_range_that_reads_differently(loading: Rig) -> None:
    loading.send(rows(1, 100))
    intend(loading, 0, n=99)
    stops(loading, loading.start(), "Changed", "restore ClickHouse to before this intent")


def test_another_writer(loading: Rig) -> None:
    loaded_and_stopped(loading)
    loading.client.command("INSERT INTO positions VALUES ('usage.priced', 0, 150, 50, 1)")
    stops(loading, loading.start(), "Ahead", "no other sink or group writes into this database")


def test_a_record_that_is_no_row(loading: Rig) -> None:
    loading.producer.begin_transaction()
    loading.producer.produce(USAGE_PRICED, b"{}", b"key", 0)
    loading.producer.commit_transaction(30)
    stops(loading, loading.start(), "Unreadable", "see who else did")


def test_a_table_that_was_changed_by_hand(loading: Rig) -> None:
    loaded_and_stopped(loading)
    loading.client.command("ALTER TABLE usage_raw RENAME COLUMN source TO origin")
    loader = loading.start()
    loading.send(rows(101, 110))
    stops(loading, loader, "Refused", "changed by hand")
