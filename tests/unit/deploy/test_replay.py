"""Which workspace, user and model a row of a trace gets, and when it happened."""

from __future__ import annotations

import pytest

from spendstream.deploy.replay import calls_of, parse_models, too_old
from spendstream.deploy.trace import TraceError, TraceRow

ROWS = [TraceRow(index, 1_000 + 10 * index, index, index + 1) for index in range(10)]
MODELS = [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")]


def test_row_i_is_of_workspace_user_and_model_i_modulo_their_number() -> None:
    calls = calls_of(ROWS, stem="t", workspaces=3, users=4, models=MODELS, last_ms=1_000_000)
    call = calls[7]
    assert call.id == "t-7"
    assert (call.event.workspace_id, call.event.user_id) == ("ws-1", "user-3")
    assert (call.event.provider, call.event.model) == MODELS[1]
    assert call.event.usage is not None
    assert (call.event.usage.input_tokens, call.event.usage.output_tokens) == (7, 8)


def test_the_place_in_the_file_decides_not_the_order_of_time() -> None:
    [first, second] = calls_of(
        [TraceRow(5, 0, 1, 1), TraceRow(2, 10, 1, 1)],
        stem="t",
        workspaces=4,
        users=4,
        models=MODELS,
        last_ms=100,
    )
    assert (first.id, first.event.workspace_id) == ("t-5", "ws-1")
    assert (second.id, second.event.workspace_id) == ("t-2", "ws-2")


def test_the_last_call_is_now_and_the_distances_stay() -> None:
    calls = calls_of(ROWS, stem="t", workspaces=1, users=1, models=MODELS, last_ms=5_000)
    assert [call.time_ms for call in calls] == [5_000 - 10 * n for n in range(9, -1, -1)]


def test_models_keep_what_follows_the_first_slash() -> None:
    assert parse_models("openai/gpt-4o, groq/openai/gpt-oss-20b") == [
        ("openai", "gpt-4o"),
        ("groq", "openai/gpt-oss-20b"),
    ]


@pytest.mark.parametrize("text", ["", "gpt-4o", "openai/", "/gpt-4o", "openai/gpt-4o,"])
def test_models_without_a_provider_are_refused(text: str) -> None:
    with pytest.raises(TraceError, match="is not provider/model"):
        parse_models(text)


def test_a_model_that_is_too_long_is_refused_plainly() -> None:
    with pytest.raises(TraceError, match="at most 256 characters"):
        calls_of(
            ROWS, stem="t", workspaces=1, users=1, models=[("openai", "x" * 300)], last_ms=5_000
        )


@pytest.mark.parametrize("stem", ["a\nb", "x" * 240])
def test_a_file_name_that_makes_no_ids_is_refused(stem: str) -> None:
    with pytest.raises(TraceError, match="makes no event ids"):
        calls_of(ROWS, stem=stem, workspaces=1, users=1, models=MODELS, last_ms=5_000)


DAY = 86_400_000


@pytest.mark.parametrize(
    ("ages", "speed", "late", "refused"),
    [
        ([DAY, 1, 0], None, 0, 0),
        ([DAY + 1, DAY, 0], None, 1, 0),
        ([36 * DAY, 35 * DAY + 1, 35 * DAY, 2 * DAY, 5, 0], None, 2, 2),
        ([DAY, 0], 2.0, 0, 0),  # the last one waits half a day
        ([DAY, 0], 0.5, 1, 0),  # the last one is sent two days after its time
        ([DAY // 2, DAY // 4, 0], 0.25, 2, 0),  # 0.5, 1.25 and 2 days
    ],
)
def test_what_comes_too_late_is_counted_beforehand(
    ages: list[int], speed: float | None, late: int, refused: int
) -> None:
    rows = [TraceRow(n, 40 * DAY - age, 1, 1) for n, age in enumerate(ages)]
    calls = calls_of(rows, stem="t", workspaces=1, users=1, models=MODELS, last_ms=100 * DAY)
    assert too_old(calls, speed) == (late, refused)
