"""Which version of a plan counts, what an edit would change, and what each version has changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.api.jobs.control import check_stale
from spendstream.api.jobs.control_writer import StaleEdit
from spendstream.api.plans.changes import changes_between
from spendstream.api.plans.file import parse_plans
from spendstream.api.plans.versions import (
    edits_of,
    governing,
    history_of,
    in_force,
    newest,
    standings,
)
from spendstream.schemas import DEFAULT_PLAN, Plan, PlanVersion
from spendstream.streams.core.plans import PlanTable


def usd(amount: int) -> Plan:
    return Plan(credit_pico=amount * 10**12)


def version(number: int, workspace: str | None, credit: int, from_ms: int) -> PlanVersion:
    return PlanVersion(
        version=number,
        workspace_id=workspace,
        plan=usd(credit),
        effective_from_ms=from_ms,
        written_at_ms=number,
        author=f"author {number}",
    )


def plan(body: str) -> Plan:
    return parse_plans(f"plans: {{w: {body}}}")["w"]


def test_a_version_that_takes_effect_later_is_not_in_force() -> None:
    versions = [version(1, "w", 1, 10), version(2, "w", 2, 100)]
    assert in_force(versions, 99)["w"].version == 1
    assert newest(versions)["w"].version == 2
    assert standings(versions, 99) == {1: "in force", 2: "later"}
    assert standings(versions, 100) == {1: "replaced", 2: "in force"}


def test_one_that_a_newer_one_goes_before_never_is() -> None:
    versions = [version(1, "w", 1, 10), version(2, "w", 2, 100), version(3, "w", 3, 20)]
    for now in (50, 150):
        assert standings(versions, now) == {1: "replaced", 2: "withdrawn", 3: "in force"}


def test_a_workspace_without_a_plan_has_the_default() -> None:
    versions = [version(1, None, 1, 10), version(2, "w", 2, 100)]
    assert governing(versions, "w", 99) == versions[0]
    assert governing(versions, "w", 100) == versions[1]
    assert governing([], "w", 1) is None


@given(st.lists(st.tuples(st.sampled_from([None, "v", "w"]), st.integers(0, 9)), max_size=8))
def test_in_force_is_what_the_worker_takes(drawn: list[tuple[str | None, int]]) -> None:
    table = PlanTable()
    versions = [version(n, who, n, start) for n, (who, start) in enumerate(drawn, 1)]
    for one in versions:
        table.add(one)
    for now in range(11):
        standing = standings(versions, now)
        held = in_force(versions, now)
        assert {n for n, how in standing.items() if how == "in force"} == {
            one.version for one in held.values()
        }
        for workspace in ("v", "w"):
            found = governing(versions, workspace, now)
            assert (found.version if found else 0) == table.in_force(workspace, now).version
    ever = {one.version for now in range(11) for one in in_force(versions, now).values()}
    assert {n for n, how in standings(versions, 10).items() if how == "withdrawn"}.isdisjoint(ever)
    assert {n for n, how in standings(versions, 0).items() if how == "later"} <= ever


@given(
    st.lists(st.tuples(st.sampled_from([None, "w"]), st.integers(0, 9)), max_size=6),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_nothing_is_written_exactly_where_nothing_would_ever_change(
    drawn: list[tuple[str | None, int]], credit: int, from_ms: int
) -> None:
    versions = [version(n, who, n % 3 + 1, start) for n, (who, start) in enumerate(drawn, 1)]
    wanted = version(len(versions) + 1, "w", credit, from_ms)
    edits = edits_of(versions, {"w": usd(credit)}, from_ms)

    def own(of: list[PlanVersion]) -> list[Plan | None]:
        return [(v.plan if (v := in_force(of, now).get("w")) else None) for now in range(11)]

    if not edits:
        assert own(versions) == own([*versions, wanted])
    elif own(versions) == own([*versions, wanted]):
        # it only says once more what comes about anyway
        assert edits[0].instead_of


def test_an_edit_says_what_it_is_instead_of() -> None:
    versions = [version(1, "w", 1, 10), version(2, "w", 2, 100)]
    (now,) = edits_of(versions, {"w": usd(1)}, 50)
    assert (now.changes, now.instead_of) == ([], [versions[1]])
    (early,) = edits_of(versions, {"w": usd(2)}, 50)
    assert [str(c.field) for c in early.changes] == ["credit"]
    assert edits_of(versions, {"w": usd(2)}, 100) == []
    (after,) = edits_of(versions, {"w": usd(3)}, 200)
    assert (after.against, after.instead_of) == (versions[1], [])


def test_a_first_plan_is_compared_with_the_default() -> None:
    versions = [version(1, None, 7, 10)]
    first, second = edits_of(versions, {"w": usd(7), None: usd(8)}, 50)
    assert (first.workspace_id, first.against) == (None, versions[0])
    assert (second.workspace_id, second.against, second.changes) == ("w", versions[0], [])


def test_history_compares_each_with_the_one_before() -> None:
    versions = [version(1, "w", 1, 1), version(2, None, 2, 1), version(3, "w", 3, 1)]
    versions.append(version(4, "v", 4, 1))
    told = [
        (one.version.version, one.against and one.against.version, one.changes[0][1:])
        for one in history_of(versions, 9)
    ]
    assert told == [
        (1, None, ("10", "1")),
        (2, None, ("10", "2")),
        (3, 1, ("1", "3")),
        (4, 2, ("2", "4")),
    ]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("{credit: 1}", '{credit: "1.5"}', [("credit", "1", "1.5")]),
        ("{overage: true}", "{}", [("overage", True, False)]),
        (
            "{limits: [{name: a, measure: tokens, window: month, amount: 1}]}",
            "{limits: [{name: a, measure: charge, window: month, amount: 1, action: block}]}",
            [
                ("limits[a].measure", "tokens", "charge"),
                ("limits[a].amount", 1, "1"),
                ("limits[a].action", "warn", "block"),
            ],
        ),
        (
            "{thresholds: [{percent: 1, severity: info}, {percent: 2, severity: info}]}",
            "{thresholds: [{percent: 2, severity: info}, {percent: 3, severity: info}]}",
            [
                ("thresholds", {"percent": 1, "severity": "info"}, None),
                ("thresholds", None, {"percent": 3, "severity": "info"}),
            ],
        ),
    ],
)
def test_changes_are_told_by_field(
    before: str, after: str, changes: list[tuple[str, object, object]]
) -> None:
    assert changes_between(plan(before), plan(after)) == changes


def test_another_order_is_a_change_too() -> None:
    a, b = (f"{{name: {n}, measure: tokens, window: month, amount: 1}}" for n in "ab")
    assert changes_between(plan(f"{{limits: [{a}, {b}]}}"), plan(f"{{limits: [{b}, {a}]}}")) == [
        ("limits, order", ["a", "b"], ["b", "a"])
    ]
    assert len(changes_between(DEFAULT_PLAN, plan("{thresholds: []}"))) == 5


VERSIONS = [version(1, "v", 1, 1), version(2, None, 2, 1), version(3, "w", 3, 1)]


@pytest.mark.parametrize(
    ("workspaces", "expected"),
    [({"v"}, 1), ({"v"}, 2), ({"w"}, 3), ({None}, 2), ({"new"}, 2), ({"v", "w"}, 3), ({"v"}, None)],
)
def test_what_others_have_changed_makes_no_edit_stale(
    workspaces: set[str | None], expected: int | None
) -> None:
    assert check_stale(VERSIONS, expected, workspaces) == 3


@pytest.mark.parametrize(
    ("workspaces", "expected", "told"),
    [
        ({"v"}, 0, r"version 1 \(since then by author 1\)"),
        ({"v", "w"}, 2, r"version 3 \(since then by author 3\)"),
        ({"new"}, 1, r"version 2 \(since then by author 2\)"),
        ({"v"}, 4, "at version 3, and this edit was made from version 4"),
    ],
)
def test_what_was_changed_since_does(workspaces: set[str | None], expected: int, told: str) -> None:
    with pytest.raises(StaleEdit, match=told):
        check_stale(VERSIONS, expected, workspaces)
