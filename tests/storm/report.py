"""The report: faults by kind, recoveries, speed, differences, and last how many checks passed."""

from __future__ import annotations

from statistics import median

from tests.storm.rage import Outcome


def report(outcome: Outcome) -> str:
    """Plain text; its very last line is `N passed, N failed`."""
    lines = [f"storm: seed {outcome.traffic.seed}, {outcome.traffic.events} events", ""]
    lines.append(f"{'fault':34}{'struck':>8}{'landed':>8}{'p50 s':>8}{'max s':>8}")
    kinds = sorted({one.planned.kind.kind for one in outcome.struck})
    for kind in kinds:
        of_kind = [one for one in outcome.struck if one.planned.kind.kind == kind]
        lines.append(
            f"{kind:34}{sum(one.strikes for one in of_kind):>8}"
            f"{sum(bool(one.evidence) for one in of_kind):>8}"
            + _seconds([one.recovery_s for one in of_kind])
        )
    strikes = sum(one.strikes for one in outcome.struck)
    lines.append(
        f"{f'all {len(kinds)} kinds':34}{strikes:>8}{len(outcome.landed):>8}"
        + _seconds([one.recovery_s for one in outcome.struck])
    )
    lines.append("")
    found = outcome.differences
    for name, value in found.facts.items():
        lines.append(f"{name:34}{value!s:>16}")
    rate = outcome.traffic.events / outcome.sending_s if outcome.sending_s else 0
    lines.append(f"{'events/s under faults':34}{rate:>16.0f}")
    lines.append(f"{'seconds of recount':34}{outcome.recount_s:>16.0f}")
    lines.append(f"{'seconds in all':34}{outcome.total_s:>16.0f}")
    lines.append(f"{'comparisons':34}{sum(found.checked.values()):>16}")
    lines.append(f"{'differences':34}{found.count:>16}")
    if found.count:
        lines.append(str(found))
    lines += [f"FAILED: {words}" for words in outcome.complaints]
    lines += [f"FAILED: {kind} never landed, nothing is proved of it" for kind in outcome.missed]
    failed = len(found.found) + len(outcome.complaints) + len(outcome.missed)
    passed = len(found.checked.keys() - found.found.keys())
    lines.append(f"{passed} passed, {failed} failed")
    return "\n".join(lines)


def _seconds(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{'–':>8}{'–':>8}"
    return f"{median(known):>8.1f}{max(known):>8.1f}"
