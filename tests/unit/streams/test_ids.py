"""What deduplication remembers, and for how long."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_EVENTS
from spendstream.streams.core.ids import REMEMBER_MS, IdIndex, Tag, digest, pack, unpack
from spendstream.streams.core.state import Checkpoint
from spendstream.streams.losses import _expired
from tests.support.core import Driver
from tests.support.oracle import DAY, HOUR
from tests.support.records import NOON, Call, arrive


def test_digest_keeps_pairs_apart() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("1:a", "b"), ("1", ":ab")]
    assert len({digest(*pair) for pair in pairs}) == len(pairs)
    assert {len(digest(*pair)) for pair in pairs} == {16}


@given(
    st.builds(
        Tag,
        st.integers(0, 2**16 - 1),
        st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
        st.integers(0, 2**48 - 1),
    ),
    st.lists(st.binary(min_size=16, max_size=16)),
)
def test_unpack_is_the_inverse_of_pack(tag: Tag, digests: list[bytes]) -> None:
    found, ids = unpack(pack(tag, digests))
    assert (found, list(ids)) == (tag, digests)


def test_what_was_packed_before_there_were_eras_is_of_the_first() -> None:
    tag, ids = unpack(struct.pack(">qqq", 7, 3, NOON) + b"i" * 16)
    assert (tag, list(ids)) == (Tag(0, (7, 3), NOON), [b"i" * 16])


def known(index: IdIndex, digests: list[bytes]) -> list[bool]:
    minutes = index.look_up(digests)
    return [index.seen(one, minute) for one, minute in zip(digests, minutes, strict=True)]


def test_forgets_by_the_minute_never_early() -> None:
    index = IdIndex()
    first, second = digest("w", "a"), digest("w", "b")
    index.add(first, NOON)
    index.add(second, NOON + 60_000)
    for later, expected in (
        (59_999, [True, True]),
        (60_000, [False, True]),
        (119_999, [False, True]),
        (120_000, [False, False]),
    ):
        index.forget(NOON + REMEMBER_MS + later)
        assert known(index, [first, second]) == expected, later
        assert index.remembers(NOON) == expected[0]


HALVES = st.integers(0, 2).map(lambda n: bytes([n]) * 8)
DIGESTS = st.one_of(
    st.integers(0, 40).map(lambda n: digest("w", str(n))),
    # the same first half, the same second half: what a digest comes to once in a universe
    st.tuples(HALVES, HALVES).map(b"".join),
)
GAPS = st.one_of(
    st.just(0),
    st.integers(0, 100),
    st.integers(0, 20 * 60_000),
    st.sampled_from((59_999, 60_000, 60_001, HOUR, 7 * DAY, 44 * DAY, 46 * DAY, 400 * DAY)),
)


@given(
    st.lists(st.tuples(GAPS, DIGESTS), max_size=120),
    st.sets(st.integers(1, 120)),
    st.integers(1, 12),
    st.sampled_from((60_000, 7 * 60_000 + 1, HOUR, 30 * DAY)),
)
def test_against_the_whole_history_however_it_is_cut(
    steps: list[tuple[int, bytes]], cuts: set[int], settle_at: int, remember_ms: int
) -> None:
    index, history, now = IdIndex(remember_ms, settle_at), dict[bytes, int](), NOON
    edges = sorted({0, len(steps)} | {cut for cut in cuts if cut < len(steps)})
    for start, end in pairwise(edges):
        some = steps[start:end]
        minutes = index.look_up([key for _, key in some])
        for (gap, key), minute in zip(some, minutes, strict=True):
            now += gap
            index.forget(now)
            live = key in history and now < (history[key] // 60_000 + 1) * 60_000 + remember_ms
            assert index.seen(key, minute) == live
            if not live:
                index.add(key, now)
                history[key] = now
    live_now = {k for k, t in history.items() if now < (t // 60_000 + 1) * 60_000 + remember_ms}
    assert known(index, list(history)) == [key in live_now for key in history]
    assert len(live_now) <= len(index)


@given(st.lists(st.tuples(GAPS, st.lists(DIGESTS, max_size=30)), max_size=12), st.integers(1, 40))
def test_what_a_recovery_reads_is_kept_as_of_its_last_time(
    records: list[tuple[int, list[bytes]]], settle_at: int
) -> None:
    index, last, now = IdIndex(HOUR, settle_at), dict[bytes, int](), NOON
    for gap, digests in records:
        now += gap
        index.add_all(iter(digests), now)
        last.update(dict.fromkeys(digests, now))
    index.forget(now)
    live = [now < (at // 60_000 + 1) * 60_000 + HOUR for at in last.values()]
    assert known(index, list(last)) == live


@pytest.mark.parametrize(("days", "expired"), [(0, True), (7, True), (8, False)])
def test_deleted_ids_are_a_loss_only_after_an_outage_that_input_does_not_survive(
    days: int, expired: bool
) -> None:
    stopped_at = time.time_ns() // 1_000_000 - days * DAY
    assert _expired(Checkpoint(0, time_ms=stopped_at)) == expired


def test_what_has_expired_is_dropped() -> None:
    index, now = IdIndex(HOUR, settle_at=100), NOON
    for number in range(20_000):
        now += HOUR // 1_000  # a thousand are live at a time
        index.forget(now)
        one = digest("w", str(number))
        assert known(index, [one]) == [False]
        index.add(one, now)
    assert 1_000 <= len(index) < 1_250


def test_an_id_takes_at_most_24_bytes() -> None:
    index, most = IdIndex(), 0.0
    tracemalloc.start()
    try:
        for number in range(500):
            packed = random.randbytes(16 * 400)
            digests = [packed[at : at + 16] for at in range(0, len(packed), 16)]
            assert not any(known(index, digests))
            for one in digests:
                index.add(one, NOON + number * 1_000)
            del packed, digests
            if number > 250:
                most = max(most, tracemalloc.get_traced_memory()[0] / len(index))
    finally:
        tracemalloc.stop()
    assert 18 < most <= 24


def test_a_horizon_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="65000 minutes"):
        IdIndex(46 * DAY)


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
