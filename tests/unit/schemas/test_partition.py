from __future__ import annotations

from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.partition import murmur2, partition_of


@given(st.binary(max_size=300))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == reference(data) & 0xFFFFFFFF


def test_known_values() -> None:
    """From Apache Kafka's own test, `UtilsTest.testMurmur2`, there as signed integers."""
    assert murmur2(b"21") == -973932308 & 0xFFFFFFFF
    assert murmur2(b"foobar") == -790332482 & 0xFFFFFFFF
    assert murmur2(b"a-little-bit-long-string") == -985981536 & 0xFFFFFFFF
    assert murmur2(b"abc") == 479470107


@given(st.text(min_size=1, max_size=128), st.integers(1, 1000))
def test_a_workspace_has_one_partition(workspace: str, partitions: int) -> None:
    partition = partition_of(workspace, partitions)
    assert 0 <= partition < partitions
    assert partition == partition_of(workspace, partitions)
