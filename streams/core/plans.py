"""Which plan is in force for a workspace, from the versions read off `control.plans`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from spendstream.schemas.charge import WHOLE, parts_of
from spendstream.schemas.plan import DEFAULT_PLAN, Plan, PlanVersion
from spendstream.schemas.prices.overrides import Entry

NEVER: Final = 1 << 62


class Charging(NamedTuple):
    """What a plan makes of a cost. `parts`: the charge of a cost, in parts of `charge.WHOLE`."""

    parts: int
    own: tuple[Entry, ...]
    reported: bool


AS_COMPUTED: Final = Charging(WHOLE, (), False)
"""The cost is the charge: most plans."""


def charging_of(plan: Plan) -> Charging:
    """Read once a plan, not once an event."""
    reported = plan.counted_cost == "reported"
    charging = Charging(parts_of(plan.markup_percent), plan.prices, reported)
    return AS_COMPUTED if charging == AS_COMPUTED else charging


@dataclass(frozen=True, slots=True)
class PlanInForce:
    """`version` 0 is the built-in default; `until_ms` is when a known version replaces it."""

    plan: Plan
    version: int
    until_ms: int
    charging: Charging = AS_COMPUTED


class PlanTable:
    """All versions known so far. `revision` grows with each, so that holders notice a change."""

    def __init__(self) -> None:
        self.revision = 0
        self._versions: list[PlanVersion] = []
        self._by_workspace: dict[str | None, list[PlanVersion]] = {}
        self._charging: dict[int, Charging] = {}  # by number of the version

    def add(self, version: PlanVersion) -> None:
        """Take the next record of `control.plans`."""
        self._charging[version.version] = charging_of(version.plan)
        self._versions.append(version)
        self._by_workspace.setdefault(version.workspace_id, []).append(version)
        self.revision += 1

    def touched_since(self, revision: int) -> set[str | None]:
        """Workspaces whose plans have changed since; None stands for the default plan."""
        return {version.workspace_id for version in self._versions[revision:]}

    def in_force(self, workspace_id: str, at_ms: int) -> PlanInForce:
        """The last written of the versions that are effective by then, else the default plan's."""
        own = self._last_effective(workspace_id, at_ms)
        default = self._last_effective(None, at_ms)
        current = own or default
        until = min(self._next_change(workspace_id, at_ms), self._next_change(None, at_ms))
        if current is None:
            return PlanInForce(DEFAULT_PLAN, 0, until)
        charging = self._charging[current.version]
        return PlanInForce(current.plan, current.version, until, charging)

    def numbered(self, version: int) -> Plan:
        """The plan of a version that a priced row names. Raises KeyError where it is unknown."""
        if version == 0:
            return DEFAULT_PLAN
        for known in self._versions:
            if known.version == version:
                return known.plan
        raise KeyError(version)

    def _last_effective(self, workspace_id: str | None, at_ms: int) -> PlanVersion | None:
        for version in reversed(self._by_workspace.get(workspace_id, ())):
            if version.effective_from_ms <= at_ms:
                return version
        return None

    def _next_change(self, workspace_id: str | None, at_ms: int) -> int:
        versions = self._by_workspace.get(workspace_id, ())
        return min(
            (v.effective_from_ms for v in versions if v.effective_from_ms > at_ms), default=NEVER
        )
