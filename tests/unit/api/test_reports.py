"""What cannot be reported is refused before anything is asked of ClickHouse."""

from __future__ import annotations

from datetime import datetime

import pytest

from spendstream.api.reports import ReportError, build


def test_every_mistake_is_named_with_what_there_is() -> None:
    with pytest.raises(ReportError) as caught:
        build(["colour", "model", "model", "hour"], datetime(2026, 1, 1), filters={"hour": "x"})
    assert str(caught.value).splitlines() == [
        "unknown group 'colour': groups are workspace, user, model, provider, request_type, task, "
        "trackable, api_key, quality, operation, kind, tag:<key>, hour, day, month",
        "unknown filter 'hour': filters are workspace, user, model, provider, request_type, task, "
        "trackable, api_key, quality, operation, kind, tag:<key>",
        "group 'model' is given twice",
        "start has no time zone: 2026-01-01T00:00:00",
    ]


@pytest.mark.parametrize("name", ["tag:", "tag", "Model", ""])
def test_near_misses_are_unknown(name: str) -> None:
    with pytest.raises(ReportError, match="unknown group"):
        build([name])
