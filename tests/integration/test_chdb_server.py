"""The embedded ClickHouse server through the clients that people use, and through kill -9."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from urllib.parse import urlencode

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.servers.clickhouse import ChdbClickHouse

pytestmark = [pytest.mark.clickhouse, pytest.mark.xdist_group("chdb_server")]

COLUMNS = ["id", "name", "cost"]


@pytest.fixture(scope="module")
def server() -> Iterator[ChdbClickHouse]:
    with ChdbClickHouse() as running:
        yield running


@pytest.fixture
def client(server: ChdbClickHouse) -> Iterator[Client]:
    """A client, an empty table `t` and its rollup `by_name`; both drop repeated tokens."""
    connected = server.client()
    for name in ("to_rollup", "by_name", "t"):
        connected.command(f"DROP TABLE IF EXISTS {name}")
    connected.command(
        "CREATE TABLE t (id Int64, name String, cost Decimal(38, 12)) ENGINE = MergeTree "
        "ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
    )
    connected.command(
        "CREATE TABLE by_name (name String, n SimpleAggregateFunction(sum, UInt64), "
        "cost SimpleAggregateFunction(sum, Decimal(38, 12))) ENGINE = AggregatingMergeTree "
        "ORDER BY name SETTINGS non_replicated_deduplication_window = 100"
    )
    connected.command(
        "CREATE MATERIALIZED VIEW to_rollup TO by_name AS "
        "SELECT name, count() AS n, sum(cost) AS cost FROM t GROUP BY name"
    )
    yield connected
    connected.close()


def insert(client: Client, rows: bytes, token: str) -> int:
    settings = {
        "insert_deduplication_token": token,
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }
    done = client.raw_insert("t", COLUMNS, rows, fmt="JSONEachRow", settings=settings)
    return done.written_rows


def rows(start: int, count: int) -> bytes:
    return b"".join(
        b'{"id":%d,"name":"n%d","cost":"0.%012d"}\n' % (i, i % 7, i)
        for i in range(start, start + count)
    )


def totals(client: Client) -> list[tuple[int, Decimal]]:
    raw = client.query("SELECT count(), sum(cost) FROM t").result_rows
    rolled = client.query("SELECT sum(n), sum(cost) FROM by_name").result_rows
    return [(int(n), cost) for n, cost in (*raw, *rolled)]


@pytest.mark.parametrize("compress", [False, True, "zstd", "gzip", "lz4"])
def test_native_insert_and_query(
    client: Client, server: ChdbClickHouse, compress: bool | str
) -> None:
    other = server.client()
    other.write_compression = compress if isinstance(compress, str) else None
    given = [(1, "it's", Decimal("1.000000000001")), (2, "FORMAT\n\t\\", Decimal(-2))]
    summary = other.insert("t", given, column_names=COLUMNS)
    assert summary.written_rows >= 2
    assert client.query("SELECT * FROM t ORDER BY id").result_rows == given
    assert client.query("SELECT * FROM t LIMIT 0").column_names == tuple(COLUMNS)
    assert client.command("SELECT count() FROM t") == 2
    assert client.raw_query("SELECT id FROM t ORDER BY id", fmt="CSV") == b"1\n2\n"
    other.close()


def test_parameters_keep_their_text(client: Client) -> None:
    text = "it's {n:UInt64} \\ \t \n ü 'FORMAT JSON"
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    found = client.query(
        "SELECT {s:String}, {n:UInt64} + 1, toDateTime64({t:DateTime64(6)}, 6)",
        parameters={"s": text, "n": 2**53, "t": moment},
    ).result_rows
    assert found == [(text, 2**53 + 1, moment.replace(tzinfo=None))]


def test_settings_end_with_their_request(client: Client) -> None:
    ask = "SELECT getSetting('max_threads')"
    before = client.command(ask)
    assert client.command(ask, settings={"max_threads": 7}) == 7
    assert client.command(ask) == before
    assert client.command("SELECT getSetting('async_insert')") in (0, False, "false")


def test_a_token_counts_once_in_table_and_rollup(client: Client) -> None:
    batch = rows(0, 1000)
    insert(client, batch, "a")
    once = totals(client)
    insert(client, batch, "a")
    assert totals(client) == once == [(1000, Decimal("0.000000499500"))] * 2
    insert(client, batch, "b")
    assert [n for n, _ in totals(client)] == [2000, 2000]


def test_a_token_covers_an_insert_of_several_blocks(client: Client) -> None:
    batch = rows(0, 1_500_000)
    insert(client, batch, "big")
    assert client.command("SELECT uniq(_part) > 0 AND count() = 1500000 FROM t") == 1
    insert(client, batch, "big")
    assert [n for n, _ in totals(client)] == [1_500_000, 1_500_000]


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nowhere", 60, 404),
        ("SELEC", 62, 400),
        ("SELECT throwIf(1)", 395, 500),
        ('INSERT INTO t FORMAT JSONEachRow\n{"id":"x"}', 27, 400),
        ("INSERT INTO nowhere FORMAT JSONEachRow\n{}", 60, 404),
    ],
)
def test_errors_as_clickhouse_gives_them(
    client: Client, server: ChdbClickHouse, sql: str, code: int, status: int
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url, data=sql.encode())
    answer = refused.value
    assert int(answer.headers["X-ClickHouse-Exception-Code"]) == code
    assert answer.code == status
    assert answer.read().startswith(b"Code: ")
    with pytest.raises(DatabaseError):
        client.query("SELECT * FROM nowhere")


def test_a_view_that_throws_is_an_error_and_a_retry_fills_it(client: Client) -> None:
    client.command("CREATE TABLE fuse (id UInt64) ENGINE = MergeTree ORDER BY id")
    client.command(
        "CREATE TABLE kept (id UInt64) ENGINE = MergeTree ORDER BY id"
        " SETTINGS non_replicated_deduplication_window = 100"
    )
    client.command(
        "CREATE MATERIALIZED VIEW kept_view TO kept AS"
        " SELECT id FROM t WHERE throwIf(id IN (SELECT id FROM fuse)) = 0"
    )
    client.command("INSERT INTO fuse VALUES (7)")
    with pytest.raises(DatabaseError, match="FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"):
        insert(client, rows(0, 10), "a")
    client.command("TRUNCATE TABLE fuse")
    for _ in range(2):
        insert(client, rows(0, 10), "a")
        assert [n for n, _ in totals(client)] == [10, 10]
        assert client.command("SELECT count() FROM kept") == 10


def test_a_refused_row_leaves_nothing(client: Client) -> None:
    with pytest.raises(DatabaseError):
        insert(client, rows(0, 1000) + b'{"id":"x"}\n', "broken")
    assert totals(client) == [(0, Decimal(0))] * 2


def test_plain_http(client: Client, server: ChdbClickHouse) -> None:
    def get(query: str, **headers: str) -> bytes:
        url = f"{server.url}/?{urlencode({'query': query})}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return bytes(answer.read())

    assert get("SELECT 1 AS x FORMAT JSONEachRow") == b'{"x":1}\n'
    url = f"{server.url}/?{urlencode({'query': 'INSERT INTO t VALUES'})}"
    urllib.request.urlopen(url, data=b"(1, 'values', 0.5)").close()
    assert get("SELECT name FROM t") == b"values\n"
    with pytest.raises(urllib.error.HTTPError):  # GET reads only, as in ClickHouse
        get("INSERT INTO t VALUES (2, '', 0)")
    with pytest.raises(urllib.error.HTTPError) as page:  # what a web page would send
        get("SELECT 1", Origin="null")
    assert page.value.code == 403


def test_a_slow_query_holds_up_nobody(client: Client, server: ChdbClickHouse) -> None:
    slow = threading.Thread(target=lambda: server.client().command("SELECT sleep(2)"))
    slow.start()
    began = monotonic()
    assert client.command("SELECT 1") == 1
    assert monotonic() - began < 1
    slow.join()


def test_many_clients_at_once_lose_nothing(client: Client, server: ChdbClickHouse) -> None:
    def work(worker: int) -> None:
        own = server.client()
        for turn in range(25):
            insert(own, rows((worker * 25 + turn) * 100, 100), f"{worker}-{turn}")
            asked = {"max_threads": worker + 1}
            assert own.command("SELECT getSetting('max_threads')", settings=asked) == worker + 1
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    total = 10_000
    cost = Decimal(total * (total - 1) // 2).scaleb(-12)
    assert totals(client) == [(total, cost)] * 2


def test_what_was_acknowledged_survives_kill() -> None:
    server = ChdbClickHouse()
    try:
        client = server.start().client()
        client.command(
            "CREATE TABLE t (id Int64, name String, cost Decimal(38, 12)) ENGINE = MergeTree "
            "ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
        )
        for turn in range(3):
            for batch in range(5):
                insert(client, rows((turn * 5 + batch) * 1000, 1000), f"{turn}-{batch}")
            server.kill()
            client = server.start().client()
            # the window of tokens survives too
            insert(client, rows((turn * 5 + 4) * 1000, 1000), f"{turn}-4")
            assert client.command("SELECT count() FROM t") == (turn + 1) * 5000
    finally:
        server.dispose()


def test_one_process_a_directory(server: ChdbClickHouse) -> None:
    command = [sys.executable, "-m", "spendstream.deploy.embedded.chdb_server"]
    second = subprocess.run(
        [*command, "--data-dir", str(server.data_dir), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr == f"{server.data_dir} is in use by process {server.pid}\n"


def test_a_taken_port_is_said(server: ChdbClickHouse) -> None:
    command = [sys.executable, "-m", "spendstream.deploy.embedded.chdb_server"]
    second = subprocess.run(
        [*command, "--data-dir", str(server.data_dir) + "2", "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"port {server.port} cannot be used: ")
