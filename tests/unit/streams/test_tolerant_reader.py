"""Records whose headers' names are not UTF-8 come through, and so does everything around them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchResponse_v4
from aiokafka.record import default_records, memory_records
from aiokafka.structs import TopicPartition

from spendstream.streams import tolerant_reader
from spendstream.streams.tolerant_reader import RetainedRecords, TolerantRecords
from tests.support.header_names import Builder

TP = TopicPartition("usage.events", 0)
START_MS = 1_795_348_800_000
BAD = b"caf\xe9 \xff\xed\xa0\x80".decode(errors="surrogateescape")
"""Latin-1, a byte that no encoding of text has, and a surrogate as UTF-8 forbids it."""
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
APPEND_TIME = 0x08


class Plain(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def plain(offset: int, *, bad: bool = False) -> Plain:
    """Keys, values and headers of all shapes, by the offset."""
    headers: tuple[tuple[str, bytes | None], ...] = (("é", b"1"), ("", None))
    headers = headers[: offset % 3]
    if bad:
        headers = (*headers, (BAD, b"\xff" * 200), ("last", None))
    key = None if offset % 4 == 0 else b"k" * offset
    value = None if offset % 5 == 0 else bytes([offset]) * 100
    return Plain(offset, START_MS + offset, key, value, headers)


def batch(records: list[Plain], *, codec: int = 0, producer: int = -1) -> bytes:
    """A record batch as a broker stores it: the offset is no part of what its checksum covers."""
    base = records[0].offset
    builder = Builder(codec, producer)
    for offset, timestamp, key, value, headers in records:
        builder.append(offset - base, timestamp, key, value, headers)
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def unpack(
    data: bytes, position: int, aborted: list[tuple[int, int]] | None = None
) -> TolerantRecords:
    return TolerantRecords(
        TP, RetainedRecords(data), aborted, position, None, None, True, fetcher.READ_COMMITTED
    )


def read(records: Any) -> list[Plain]:
    return [Plain(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


@pytest.fixture(params=["extension", "pure Python"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure Python":
        for module in (memory_records, tolerant_reader):
            monkeypatch.setattr(module, "MemoryRecords", memory_records._MemoryRecordsPy)
        monkeypatch.setattr(
            memory_records, "DefaultRecordBatch", default_records._DefaultRecordBatchPy
        )


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("bad", [{0}, {29}, {14}, {10, 19}, {3, 4, 25}, set(range(30))], ids=str)
def test_every_record_comes_once_wherever_the_bad_ones_stand(bad: set[int], codec: int) -> None:
    records = [plain(i, bad=i in bad) for i in range(30)]
    batches = [batch(records[i : i + 10], codec=codec) for i in (0, 10, 20)]
    for position in (0, 4, 10, 29):
        # a broker begins with the batch that holds the position, and ends where the answer is full
        data = b"".join(batches[position // 10 :]) + b"cut short"
        unpacked = unpack(data, position)
        assert read(unpacked) == records[position:]
        assert unpacked.next_fetch_offset == 30


@pytest.mark.usefixtures("_parser")
def test_it_is_what_stopped_aiokafka() -> None:
    unpacked = fetcher.PartitionRecords(
        TP,
        memory_records.MemoryRecords(batch([plain(0, bad=True)])),
        None,
        0,
        None,
        None,
        True,
        fetcher.READ_COMMITTED,
    )
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        next(unpacked)


def test_both_read_alike_what_both_can_read() -> None:
    records = [plain(i) for i in range(40)]
    data = bytearray(batch(records, codec=CODECS["lz4"]))
    ours = read(tolerant_reader.TolerantBatch(data))
    assert ours == read(default_records.DefaultRecordBatch(bytes(data))) == records
    # the broker's own time stamp, where the topic says so
    data[22] |= APPEND_TIME
    ours = read(tolerant_reader.TolerantBatch(data))
    assert ours == read(default_records.DefaultRecordBatch(bytes(data)))
    assert {record.timestamp for record in ours} == {START_MS + 39}


def test_aborted_transactions_stay_unseen() -> None:
    records = [plain(i, bad=i in (1, 4, 7)) for i in range(9)]
    data = (
        batch(records[:3], producer=5)  # committed
        + batch(records[3:6], producer=6)  # aborted
        + batch(records[6:], producer=5)
    )
    unpacked = unpack(data, 0, aborted=[(6, 3)])
    assert read(unpacked) == records[:3] + records[6:]


@pytest.mark.usefixtures("_parser")
def test_damage_is_still_an_error() -> None:
    data = bytearray(batch([plain(0), plain(1, bad=True)]))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        list(unpack(bytes(data), 0))


@pytest.mark.parametrize("cut", [1, 100, 300])
def test_a_record_that_ends_too_early_is_an_error(cut: int) -> None:
    with pytest.raises(CorruptRecordException):
        list(tolerant_reader.TolerantBatch(batch([plain(0), plain(1, bad=True)])[:-cut]))


def test_aiokafkas_fetcher_reads_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MemoryRecords", "PartitionRecords"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))  # as it was, after the test
    tolerant_reader.install()
    records = [plain(i, bad=i in (2, 9)) for i in range(12)]
    other = TopicPartition("usage.events", 1)
    answer = FetchResponse_v4(
        0,
        [
            (
                "usage.events",
                [
                    (0, 0, 12, 12, [], batch(records[:6]) + batch(records[6:])),
                    (1, 0, 12, 12, [], batch(records)),
                ],
            )
        ],
    )

    async def run() -> dict[TopicPartition, list[Any]]:
        async def send(*_: Any) -> FetchResponse_v4:
            return answer

        client = SimpleNamespace(
            _loop=asyncio.get_running_loop(), _metadata_max_age_ms=1_000, send=send
        )
        subscriptions = SubscriptionState()
        subscriptions.assign_from_user({TP, other})
        assignment = subscriptions.subscription.assignment
        for tp in (TP, other):
            assignment.state_value(tp).reset_to(0)
        reader = fetcher.Fetcher(client, subscriptions, isolation_level="read_committed")
        reader._fetch_task.cancel()  # its requests are made here
        request = SimpleNamespace(topics=[("usage.events", [(0, 0, 1), (1, 0, 1)])])
        await reader._proc_fetch_request(assignment, 0, request)
        found: dict[TopicPartition, list[Any]] = await reader.fetched_records(set())
        assert assignment.state_value(TP).position == 12
        return found

    found = asyncio.run(run())
    assert {tp: read(batches) for tp, batches in found.items()} == {TP: records, other: records}
