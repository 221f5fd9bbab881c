"""Which partition a workspace lives in: murmur2 over the key, as Java's default partitioner.

librdkafka's own default is CRC32, so every producer of ours sets `murmur2_random`, and the worker
checks with this function that an event came to the partition that holds its workspace's state.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """Unsigned 32-bit murmur2 with Kafka's seed (Apache Kafka, `Utils.murmur2`)."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    tail = length & ~3
    for i in range(0, tail, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> 24
        h = ((h * _M) & _MASK) ^ ((k * _M) & _MASK)
    rest = data[tail:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(workspace_id: str, partitions: int) -> int:
    """The partition of a workspace where a topic has `partitions` of them."""
    return (murmur2(workspace_id.encode()) & 0x7FFFFFFF) % partitions
