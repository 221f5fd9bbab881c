"""What deduplication remembers, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_EVENTS
from spendstream.streams.core.ids import REMEMBER_MS, IdIndex, digest, pack, unpack
from tests.support.core import Driver
from tests.support.oracle import DAY, HOUR
from tests.support.records import NOON, Call, arrive


def test_digest_keeps_pairs_apart() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("1:a", "b"), ("1", ":ab")]
    assert len({digest(*pair) for pair in pairs}) == len(pairs)
    assert {len(digest(*pair)) for pair in pairs} == {16}


@given(
    st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
    st.integers(0, 2**45),
    st.lists(st.binary(min_size=16, max_size=16)),
)
def test_unpack_is_the_inverse_of_pack(
    upto: tuple[int, int], time_ms: int, digests: list[bytes]
) -> None:
    found, at, ids = unpack(pack(upto, time_ms, digests))
    assert (found, at, list(ids)) == (upto, time_ms, digests)


def test_forgets_by_the_minute_never_early() -> None:
    index = IdIndex()
    index.add(b"a", NOON)
    index.add(b"b", NOON + 60_000)
    index.forget(NOON + REMEMBER_MS + 59_999)
    assert index.seen == {b"a", b"b"}
    index.forget(NOON + REMEMBER_MS + 60_000)
    assert index.seen == {b"b"}
    index.forget(NOON + REMEMBER_MS + 120_000)
    assert len(index) == 0


@given(
    st.lists(st.tuples(st.integers(0, 3 * HOUR), st.binary(min_size=1, max_size=2)), max_size=60)
)
def test_forgetting_against_a_plain_dict(steps: list[tuple[int, bytes]]) -> None:
    index, naive, now = IdIndex(), dict[bytes, int](), NOON
    for gap, key in steps:
        now += gap
        index.forget(now)
        naive = {k: t for k, t in naive.items() if now < (t // 60_000 + 1) * 60_000 + REMEMBER_MS}
        if key not in index.seen:
            index.add(key, now)
        naive.setdefault(key, now)
        assert index.seen == set(naive)


@pytest.mark.parametrize(
    ("later", "outcome"),
    [
        (0, "duplicate"),
        (DAY, "duplicate"),
        (DAY + HOUR, "duplicate"),
        (DAY + HOUR + 60_000, "priced"),
    ],
)
def test_the_horizon_is_of_arrival(later: int, outcome: str) -> None:
    # the repeat claims to be fresh, so that nothing but the id speaks against it
    calls = [(Call("same", NOON), NOON), (Call("same", NOON + later), NOON + later)]
    driver = Driver().run(arrive(calls))
    assert driver.state.checkpoint.outcomes[USAGE_EVENTS][outcome] >= 1
    assert len(driver.rows["usage.priced"]) == 1 + (outcome == "priced")


def test_an_id_is_unique_in_its_workspace_only() -> None:
    driver = Driver().run(arrive([(Call("same", NOON, w), NOON) for w in ("a", "b", "a")]))
    assert driver.state.checkpoint.outcomes[USAGE_EVENTS]["priced"] == 2


def test_a_repeat_of_a_forgotten_id_is_late_never_counted() -> None:
    # The second input moves the partition's time ahead of a backlog in the first: the id of the
    # first event is forgotten, though its repeat arrived an hour after it.
    driver = Driver(partitions=1)
    driver.take(arrive([(Call("same", NOON), NOON)]))
    ahead = Call("other", NOON + 30 * HOUR, "elsewhere").record(0, NOON + 30 * HOUR)
    driver.take([ahead._replace(topic="workspace.commands", value=b"{}")], "workspace.commands")
    driver.take([Call("same", NOON).record(1, NOON + HOUR)])
    driver.finish()
    outcomes = driver.state.checkpoint.outcomes[USAGE_EVENTS]
    assert (outcomes["priced"], outcomes["late"]) == (1, 1)
