from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.records import alert_id, overage_id

PART = st.text(max_size=20)


@given(st.tuples(PART, PART, PART, PART), st.tuples(PART, PART, PART, PART))
def test_alert_ids_are_equal_only_for_the_same_crossing(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    def identity(parts: tuple[str, str, str, str]) -> str:
        workspace, limit, scope, episode = parts
        return alert_id(workspace, limit, scope, None, episode)

    assert (identity(one) == identity(other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    ids = {
        alert_id("a", "bc", "s", 80, "e"),
        alert_id("ab", "c", "s", 80, "e"),
        alert_id("a", "bc", "s", 90, "e"),
        alert_id("a", "bc", "s", None, "e"),
        overage_id("a", "2026-11", 0, 1, 23),
        overage_id("a", "2026-11", 0, 12, 3),
        overage_id("a", "2026-11", 1, 1, 23),
    }
    assert len(ids) == 7
    assert all(len(each) == 32 for each in ids)


def test_ids_are_stable() -> None:
    """Stored in billing systems: a change here would bill and notify everything again."""
    assert alert_id("acme", "credit", "workspace", 80, "2026-11") == (
        "dc27fc1b0c8dfae6156877dde8d3573a"
    )
    assert overage_id("acme", "2026-11", 0, 0, 412_537_500) == "cef1d55edb43eb104f73988997224015"
