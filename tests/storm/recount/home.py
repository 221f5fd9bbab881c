"""Where a key belongs: Kafka's own partitioner (Java's `Utils.murmur2`), written out once more."""

from __future__ import annotations

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def home(key: bytes, partitions: int) -> int:
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        h = h * _M & _MASK ^ ((k ^ k >> 24) * _M & _MASK)
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
