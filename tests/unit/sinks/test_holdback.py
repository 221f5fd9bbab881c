"""The mirror of the checkpoint: whole batches, not before their rows, the newest of each key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.topics import USAGE_ALERTS, USAGE_PRICED
from spendstream.sinks.clickhouse.errors import Unreadable
from spendstream.sinks.clickhouse.holdback import CHECKPOINT_KEY, HoldBack


def state(held: HoldBack, offset: int, workspace: str, upto: int, what: str = "") -> None:
    key = json.dumps([workspace, "workspace"], separators=(",", ":")).encode()
    held.add(key, json.dumps({"upto": [upto, 0], "state": what}).encode(), offset)


def checkpoint(held: HoldBack, offset: int, upto: int, priced: int, alerts: int = 0) -> None:
    value = {
        "inputs": {
            "usage.events": {"epoch": "x", "upto": upto},
            "workspace.commands": {"epoch": "y", "upto": 0},
        },
        "seq": {USAGE_PRICED: priced, USAGE_ALERTS: alerts},
    }
    held.add(CHECKPOINT_KEY.encode(), json.dumps(value).encode(), offset)


def offsets(held: HoldBack, **loaded: int) -> list[int]:
    released = held.release({f"usage.{name}": seq for name, seq in loaded.items()})
    return sorted(record.offset for record in released)


def test_states_wait_for_their_checkpoint() -> None:
    held = HoldBack()
    state(held, 0, "a", 5)
    assert offsets(held, priced=99) == []
    checkpoint(held, 1, 5, priced=3)
    assert offsets(held) == []
    assert offsets(held, priced=99) == [0, 1]
    assert offsets(held, priced=99) == []


def test_a_batch_waits_for_its_rows_of_every_topic() -> None:
    held = HoldBack()
    state(held, 0, "a", 5)
    checkpoint(held, 1, 5, priced=3, alerts=1)
    assert offsets(held, priced=2, alerts=1) == []
    assert offsets(held, priced=3) == []
    assert offsets(held, priced=3, alerts=1) == [0, 1]


def test_how_far_the_other_topics_may_go_for_the_rows_that_are_there() -> None:
    held = HoldBack()
    assert held.reached(USAGE_PRICED, 99) == {}
    checkpoint(held, 0, 5, priced=3, alerts=1)
    checkpoint(held, 1, 9, priced=6, alerts=4)
    assert held.reached(USAGE_PRICED, 2) == {}
    assert held.reached(USAGE_PRICED, 5)[USAGE_ALERTS] == 1
    assert held.reached(USAGE_PRICED, 6)[USAGE_ALERTS] == 4
    assert offsets(held, priced=3, alerts=1) == [0]
    assert held.reached(USAGE_PRICED, 3)[USAGE_ALERTS] == 1


def test_only_the_newest_of_each_key() -> None:
    held = HoldBack()
    state(held, 0, "a", 5)
    state(held, 1, "b", 5)
    checkpoint(held, 2, 5, priced=3)
    state(held, 3, "a", 9)
    checkpoint(held, 4, 9, priced=6)
    state(held, 5, "b", 12)
    checkpoint(held, 6, 12, priced=7)
    assert offsets(held, priced=6) == [1, 3, 4]
    assert offsets(held, priced=7) == [5, 6]


def test_states_of_an_aborted_batch_are_left_out() -> None:
    held = HoldBack()
    state(held, 0, "a", 7, "aborted")
    state(held, 1, "b", 7, "aborted")
    state(held, 2, "a", 6, "committed")
    checkpoint(held, 3, 6, priced=1)
    assert offsets(held, priced=1) == [2, 3]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.data())
def test_what_is_released_is_the_state_of_a_checkpoint(
    sizes: list[int], data: st.DataObject
) -> None:
    """A mirror filled by any releases holds, at each, exactly one checkpoint's state."""
    held, offset, history, current = HoldBack(), 0, {}, {}
    mirror: dict[str, int] = {}
    for batch, size in enumerate(sizes, 1):
        for _ in range(size):
            workspace = data.draw(st.sampled_from("abc"))
            state(held, offset, workspace, batch)
            current[f'["{workspace}","workspace"]'] = offset
            offset += 1
        checkpoint(held, offset, batch, priced=batch)
        current[CHECKPOINT_KEY] = offset
        history[offset] = dict(current)
        offset += 1
        if data.draw(st.booleans()):
            loaded = data.draw(st.integers(0, batch))
            for record in held.release({USAGE_PRICED: loaded}):
                mirror[record.key] = record.offset
            if mirror:
                assert mirror == history[mirror[CHECKPOINT_KEY]]


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, b"{}"), (b'["a","workspace"]', None), (CHECKPOINT_KEY.encode(), b'{"inputs":{}}'),
     (CHECKPOINT_KEY.encode(), b'{"inputs":{},"seq":{}}'), (b"\xff", b"{}")],
)  # fmt: skip
def test_what_is_neither_is_named(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(Unreadable, match="@3 is neither state nor checkpoint"):
        HoldBack().add(key, value, 3)
