"""Which plan is in force."""

from __future__ import annotations

import pytest

from spendstream.schemas import DEFAULT_PLAN
from spendstream.schemas.topics import USAGE_PRICED
from spendstream.streams.core.plans import NEVER
from tests.support.core import Driver, plan_table, plan_version
from tests.support.oracle import HOUR, USD, PlanFact
from tests.support.records import NOON, Call, arrive


def test_without_any_version() -> None:
    force = plan_table([]).in_force("ws-1", NOON)
    assert (force.plan, force.version, force.until_ms) == (DEFAULT_PLAN, 0, NEVER)


@pytest.mark.parametrize(
    ("at", "version", "until"),
    [
        (99, 0, 100),
        (100, 1, 150),
        (149, 1, 150),
        (150, 2, 200),
        (199, 2, 200),
        # 4 was written after 3, which comes into force later: the last written one stands
        (200, 4, 300),
        (300, 4, NEVER),
    ],
)
def test_own_before_default_and_last_written_first(at: int, version: int, until: int) -> None:
    table = plan_table(
        [
            PlanFact(1, None, 100),
            PlanFact(2, "ws-1", 150),
            PlanFact(3, "ws-1", 300),
            PlanFact(4, "ws-1", 200),
            PlanFact(5, "ws-2", 50),
        ]
    )
    force = table.in_force("ws-1", at)
    assert (force.version, force.until_ms) == (version, until)


def test_what_a_revision_touched() -> None:
    table = plan_table([PlanFact(1, "ws-1")])
    revision = table.revision
    assert table.touched_since(revision) == set()
    table.add(plan_version(PlanFact(2, None)))
    table.add(plan_version(PlanFact(3, "ws-2")))
    assert table.touched_since(revision) == {None, "ws-2"}
    assert table.touched_since(0) == {None, "ws-1", "ws-2"}


def test_a_version_by_its_number() -> None:
    table = plan_table([PlanFact(1, "ws-1", credit=7)])
    assert (table.numbered(0), table.numbered(1).credit_pico) == (DEFAULT_PLAN, 7)
    with pytest.raises(KeyError):
        table.numbered(2)


def test_rows_name_the_plan_from_its_moment_on() -> None:
    driver = Driver(plan_table([PlanFact(1, "ws-1", NOON + 10), PlanFact(2, None, NOON + 20)]))
    moments = [(w, NOON + ms) for ms in (9, 10, 20) for w in ("ws-1", "ws-2")]
    driver.run(arrive([(Call(f"{w}{at}", at, w), at) for w, at in moments]))
    versions = [row["plan_version"] for row in driver.decoded(USAGE_PRICED)]
    assert versions == [0, 0, 1, 0, 1, 2]


def test_a_version_seen_later_is_in_force_from_then_on() -> None:
    driver = Driver()
    driver.run(arrive([(Call("a", NOON), NOON)]))
    driver.plans.add(plan_version(PlanFact(1, "ws-1", NOON - HOUR, credit=USD)))
    driver.take([Call("b", NOON + 5).record(1)])
    driver.finish()
    assert [row["plan_version"] for row in driver.decoded(USAGE_PRICED)] == [0, 1]


def test_an_idle_workspace_takes_a_new_plan_by_the_clock() -> None:
    driver = Driver()
    driver.run(arrive([(Call("a", NOON), NOON)]))
    driver.plans.add(plan_version(PlanFact(1, "ws-1", NOON, credit=3 * USD)))
    driver.plans.add(plan_version(PlanFact(2, "ws-1", NOON + HOUR, credit=4 * USD)))
    seen = []
    for at in (NOON + 2_000, NOON + HOUR - 1, NOON + HOUR, NOON + HOUR + 2_000):
        driver.advance(at)
        driver.finish()
        seen += [r["plan_version"] for r in driver.published if "workspace_id" in r][-1:]
    assert seen == [1, 1, 2, 2]
