"""Reading records whose headers' names are not UTF-8, which aiokafka cannot.

Brokers store such a record like any other, and aiokafka raises at it, in each worker that fetches
it and again after each restart: one record from anybody who may write would stop its partition. It
must come through, to be refused by name; and everything around it, to be counted.

aiokafka reads as ever until it raises. Then the batch that it raised in is read once more, here,
from the first record that had not come out yet; the batches after it are aiokafka's again.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py as decode_varint  # it minds the buffer's end

_LENGTH: Final = struct.Struct(">8xi")
"""Of a batch, after its base offset: the bytes that follow; the same in all versions."""


def install() -> None:
    """Have aiokafka's fetchers read by `TolerantRecords`, in the whole process.

    The fetcher makes its readers by the names in its own module: there is no other way in.
    """
    fetcher.MemoryRecords = RetainedRecords
    fetcher.PartitionRecords = TolerantRecords


class TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """A record batch (of version 2, the only one with headers) whose headers have any names.

    A byte of a name that is no UTF-8 comes as a lone surrogate (`surrogateescape`).
    """

    _buffer: bytearray
    _pos: int

    def _read_msg(self, *_args: Any) -> _DefaultRecordPy:
        buffer = self._buffer
        length, start = decode_varint(buffer, self._pos)
        # the first byte holds attributes, of which there are none yet
        timestamp_delta, pos = decode_varint(buffer, start + 1)
        offset_delta, pos = decode_varint(buffer, pos)
        key, pos = self._read_bytes(pos)
        value, pos = self._read_bytes(pos)
        count, pos = decode_varint(buffer, pos)
        headers = []
        for _ in range(count):
            name, pos = self._read_bytes(pos)
            data, pos = self._read_bytes(pos)
            if name is None:
                raise CorruptRecordException("a header without a name")
            headers.append((name.decode(errors="surrogateescape"), data))
        if count < 0 or pos != start + length:
            raise CorruptRecordException(f"a record of {length} bytes takes {pos - start}")
        self._pos = pos
        appended = self.timestamp_type == self.LOG_APPEND_TIME
        return _DefaultRecordPy(
            self.base_offset + offset_delta,
            self.max_timestamp if appended else self.first_timestamp + timestamp_delta,
            self.timestamp_type,
            key,
            value,
            headers,
        )

    def _read_bytes(self, pos: int) -> tuple[bytes | None, int]:
        size, pos = decode_varint(self._buffer, pos)
        if size < 0:
            return None, pos
        return bytes(self._buffer[pos : pos + size]), pos + size


class RetainedRecords:
    """aiokafka's `MemoryRecords` over a fetch's bytes, with a way back to the last batch."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._taken = 0
        self._again: TolerantBatch | None = None

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return self._again is not None or bool(self._records.has_next())

    def next_batch(self) -> Any:
        if self._again is not None:
            batch, self._again = self._again, None
            return batch
        self._taken += 1
        return self._records.next_batch()

    def retry(self) -> None:
        """Give out the last batch once more, as a `TolerantBatch`."""
        start, end = 0, 0
        for _ in range(self._taken):
            (length,) = _LENGTH.unpack_from(self._data, end)
            start, end = end, end + _LENGTH.size + length
        self._again = TolerantBatch(memoryview(self._data)[start:end])


class TolerantRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a fetch, as the consumer gets them."""

    _records: RetainedRecords
    _records_iterator: Any

    def __next__(self) -> Any:
        while True:
            try:
                return next(self._records_iterator)
            except StopIteration:
                self._records_iterator = None  # as the original does, to break a cycle
                raise
            except (UnicodeDecodeError, CorruptRecordException) as error:
                # aiokafka without its C extension wraps the one in the other
                if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                    raise
                self._records.retry()
                # passes over what came out already, by its offset
                self._records_iterator = self._unpack_records()
