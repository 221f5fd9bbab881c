"""OpenTelemetry's own SDK with our processor in it: which spans become events, and whose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Status, StatusCode, Tracer

from spendstream.producers import Drop, track
from spendstream.producers.record import use
from spendstream.producers.wrap import otel
from spendstream.producers.wrap.otel import SpendstreamSpanProcessor
from tests.support.collecting import Collected, counts

CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-5",
    "gen_ai.response.model": "claude-sonnet-5-20260801",
    "gen_ai.response.id": "msg_1",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.output_tokens": 40,
    "gen_ai.input.messages": "a secret prompt",
    "gen_ai.output.messages": "a secret answer",
}
AGENT = {**CALL, "gen_ai.operation.name": "invoke_agent"}
COUNTS = {"input_tokens": 100, "cache_read_input_tokens": 60, "output_tokens": 40}


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def tracer(collected: Collected) -> Iterator[Tracer]:
    provider = TracerProvider()
    provider.add_span_processor(SpendstreamSpanProcessor(collected.emitter))
    yield provider.get_tracer("test")
    provider.shutdown()


def span(tracer: Tracer, attributes: dict[str, Any]) -> None:
    with tracer.start_as_current_span("chat") as one:
        one.set_attributes(attributes)


def broken(tracer: Tracer, attributes: dict[str, Any]) -> None:
    with tracer.start_as_current_span("chat") as one:
        one.set_attributes(attributes)
        raise ValueError("broken")


def test_a_span_of_a_call_is_an_event(tracer: Tracer, collected: Collected) -> None:
    with track(workspace_id="acme", tags={"team": "search"}):
        one = tracer.start_span("chat", start_time=1_795_000_000_000_000_000)
        one.set_attributes({**CALL, "gen_ai.response.time_to_first_chunk": 0.25})
    one.end(1_795_000_001_500_000_000)  # anywhere
    event = collected.one()
    assert counts(event) == COUNTS
    assert (event.provider, event.operation, event.status) == ("anthropic", "chat", "ok")
    assert event.request_model == "claude-sonnet-5"
    assert (event.response_model, event.response_id) == ("claude-sonnet-5-20260801", "msg_1")
    assert (event.started_at_ms, event.duration_ms) == (1_795_000_000_000, 1500)
    assert (event.time_to_first_token_ms, event.usage_quality) == (250, "measured")
    assert (event.workspace_id, event.tags) == ("acme", {"team": "search"})
    assert "secret" not in event.model_dump_json()
    assert collected.times == [1_795_000_001_500]


def test_processed_again_it_has_the_same_id(collected: Collected) -> None:
    ended: list[ReadableSpan] = []

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            ended.extend(spans)
            return SpanExportResult.SUCCESS

    processor = SpendstreamSpanProcessor(collected.emitter)
    provider = TracerProvider()
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    span(provider.get_tracer("test"), {**CALL, "spendstream.workspace_id": "acme"})
    processor.on_end(ended[0])
    SpendstreamSpanProcessor(collected.emitter).on_end(ended[0])
    found = ended[0].context
    assert found is not None
    assert collected.ids == [f"{found.trace_id:032x}-{found.span_id:016x}"] * 3


def test_agents_and_tools_repeat_what_the_calls_within_used(
    tracer: Tracer, collected: Collected
) -> None:
    with track(workspace_id="acme"), tracer.start_as_current_span("agent") as agent:
        with tracer.start_as_current_span("a framework's own"):
            span(tracer, CALL)
            span(tracer, CALL)
        span(tracer, {**CALL, "gen_ai.operation.name": "execute_tool"})
        agent.set_attributes(AGENT)
    assert len(collected.events) == 2


def test_of_calls_within_each_other_the_innermost_counts(
    tracer: Tracer, collected: Collected
) -> None:
    outer_model = {**CALL, "gen_ai.request.model": "outer"}
    with track(workspace_id="acme"), tracer.start_as_current_span("outer") as outer:
        outer.set_attributes(outer_model)
        with tracer.start_as_current_span("http"):
            span(tracer, CALL)
    assert collected.one().request_model == "claude-sonnet-5"


def test_where_only_the_outer_has_usage_it_counts(tracer: Tracer, collected: Collected) -> None:
    with track(workspace_id="acme"), tracer.start_as_current_span("outer") as outer:
        outer.set_attributes(CALL)
        with tracer.start_as_current_span("inner") as inner:
            inner.set_attributes({"gen_ai.request.model": "claude-sonnet-5"})
    assert counts(collected.one()) == COUNTS


def test_a_child_that_ends_after_its_parent_does_not_count_again(
    tracer: Tracer, collected: Collected
) -> None:
    with track(workspace_id="acme"), tracer.start_as_current_span("outer") as outer:
        outer.set_attributes(CALL)
        late = tracer.start_span("inner")
    late.set_attributes(CALL)
    late.end()
    collected.one()


@pytest.mark.parametrize(
    ("attributes", "operation", "provider"),
    [
        (
            {
                "openinference.span.kind": "LLM",
                "llm.provider": "openai",
                "llm.model_name": "gpt-4o",
                "llm.token_count.prompt": 9,
                "llm.token_count.completion": 2,
            },
            "chat",
            "openai",
        ),
        (
            {
                "gen_ai.system": "az.ai.openai",
                "llm.request.type": "completion",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.prompt_tokens": 9,
                "gen_ai.usage.completion_tokens": 2,
            },
            "text_completion",
            "azure.ai.openai",
        ),
        (
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.model.provider": "google.generative-ai",
                "ai.model.id": "gemini-2.5-flash",
                "ai.usage.inputTokens": 9,
                "ai.usage.outputTokens": 2,
            },
            "chat",
            "gcp.gemini",
        ),
        (
            {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 9, "gen_ai.system": "xai"}
            | {"gen_ai.usage.output_tokens": 2},
            "chat",
            "x_ai",
        ),
    ],
)
def test_other_conventions_are_read(
    tracer: Tracer,
    collected: Collected,
    attributes: dict[str, Any],
    operation: str,
    provider: str,
) -> None:
    with track(workspace_id="acme"):
        span(tracer, attributes)
    event = collected.one()
    assert counts(event) == {"input_tokens": 9, "output_tokens": 2}
    assert (event.operation, event.provider) == (operation, provider)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "POST"},
        {"gen_ai.request.model": "m"},
        AGENT,
        {**CALL, "gen_ai.operation.name": "create_agent"},
        {**CALL, "gen_ai.operation.name": "invoke_workflow"},
        {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 9},
        {"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 9},
    ],
)
def test_what_is_no_call_of_a_model_leaves_nothing(
    tracer: Tracer, collected: Collected, attributes: dict[str, Any]
) -> None:
    with track(workspace_id="acme"):
        span(tracer, attributes)
    assert (collected.events, collected.dropped) == ([], [])


def test_errors_and_unknown_usage(tracer: Tracer, collected: Collected) -> None:
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    with track(workspace_id="acme"):
        for more in ({}, {"error.type": "429"}, {"error.type": "asyncio.CancelledError"}):
            span(tracer, {**asked, **more})
        with pytest.raises(ValueError, match="broken"):
            broken(tracer, asked)
        with tracer.start_as_current_span("chat") as one:
            one.set_attributes(CALL)
            one.set_status(Status(StatusCode.OK))
    found = [(event.status, event.usage is None) for event in collected.events]
    assert found == [
        ("ok", True),
        ("error", True),
        ("cancelled", True),
        ("error", True),
        ("ok", False),
    ]


def test_the_spans_own_attributes_stand_above_track(tracer: Tracer, collected: Collected) -> None:
    said = {
        "spendstream.workspace_id": "other",
        "spendstream.request_type": "grading",
        "spendstream.trackable.type": "essay",
        "spendstream.trackable.id": "4711",
        "spendstream.tags.team": "chat",
    }
    with track(workspace_id="acme", user_id="u", tags={"team": "search", "region": "eu"}):
        span(tracer, {**CALL, **said})
    event = collected.one()
    assert (event.workspace_id, event.user_id, event.request_type) == ("other", "u", "grading")
    assert event.trackable is not None
    assert (event.trackable.type, event.trackable.id) == ("essay", "4711")
    assert event.tags == {"team": "chat", "region": "eu"}


def test_baggage_does_not_say_who_pays(tracer: Tracer, collected: Collected) -> None:
    token = context.attach(baggage.set_baggage("spendstream.workspace_id", "a client's choice"))
    span(tracer, CALL)
    context.detach(token)
    assert (collected.events, collected.dropped) == ([], [Drop.UNTRACKED])


def test_each_span_is_for_whom_its_own_thread_says(tracer: Tracer, collected: Collected) -> None:
    together = threading.Barrier(8)

    def one(number: int) -> None:
        with track(workspace_id=f"ws-{number}"):
            together.wait()
            begun = tracer.start_span(
                "chat", attributes={**CALL, "gen_ai.usage.input_tokens": 100 + number}
            )
        together.wait()
        begun.end()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(8)))
    found = {event.workspace_id: counts(event)["input_tokens"] for event in collected.events}
    assert found == {f"ws-{number}": 100 + number for number in range(8)}


def test_what_is_kept_of_spans_is_bounded(
    tracer: Tracer, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "_KEPT", 10)
    processor = SpendstreamSpanProcessor(collected.emitter)
    provider = TracerProvider()
    provider.add_span_processor(processor)
    for _ in range(100):
        provider.get_tracer("test").start_span("never ended")
    assert len(processor._spans) == 10


def test_nothing_is_raised_into_the_service(
    tracer: Tracer, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emit(*_: Any, **__: Any) -> bool:
        raise RuntimeError("no")

    monkeypatch.setattr(collected, "emit", emit)
    with track(workspace_id="acme"):
        span(tracer, CALL)
    assert collected.dropped == [Drop.INVALID]


def test_without_an_emitter_nothing_happens() -> None:
    use(None)
    provider = TracerProvider()
    provider.add_span_processor(SpendstreamSpanProcessor())
    with track(workspace_id="acme"):
        span(provider.get_tracer("test"), CALL)
    assert provider.force_flush()


def test_what_is_not_sampled_is_not_seen(collected: Collected) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SpendstreamSpanProcessor(collected.emitter))
    with track(workspace_id="acme"):
        span(provider.get_tracer("test"), CALL)
    assert collected.events == []
