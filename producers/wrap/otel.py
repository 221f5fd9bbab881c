"""Usage events of OpenTelemetry's spans, for a service whose calls are traced already.

    provider = TracerProvider()
    provider.add_span_processor(SpendstreamSpanProcessor())

Spans by the conventions for generative AI, OpenInference's, traceloop's and Vercel's. A span that
is not recorded (its trace was not sampled) is not seen here: what is billed must be sampled.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.extract import usage_from
from spendstream.producers.record import used
from spendstream.producers.stats import Drop
from spendstream.producers.tracking import tracked
from spendstream.producers.wrap import otel_names as names
from spendstream.producers.wrap.call import event_of, untracked

log: Final = logging.getLogger("spendstream.wrap")

_KEPT: Final = 32_768
"""Spans that are known, the oldest forgotten first: one that lasts longer than so many others
begin may count again what spans within it have counted."""

_Key = tuple[int, int]


class _Known:
    """Attributes:
    fields: what `track` said where the span began.
    reported: a span within has left an event; counted: one with its usage.
    """

    __slots__ = ("counted", "fields", "own", "parent", "reported")

    def __init__(self, parent: _Key | None, fields: Mapping[str, Any]) -> None:
        self.parent = parent
        self.fields = fields
        self.own = self.reported = self.counted = False


class SpendstreamSpanProcessor(SpanProcessor):
    """Makes an event of every span of a model's call, as it ends.

    Agents, tools and frameworks repeat on their spans what the calls within have used: only
    operations that call a model count, and of such spans within each other the innermost that has
    usage. A span makes the same event id however often it is processed.

    Args:
        emitter: default that of `use`.
    """

    def __init__(self, emitter: UsageEmitter | None = None) -> None:
        self._emitter = emitter
        # no lock, since a finalizer may end a span: each step on the dict is atomic
        self._spans: OrderedDict[_Key, _Known] = OrderedDict()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            context, parent = span.context, span.parent
            above = None if parent is None else (parent.trace_id, parent.span_id)
            self._spans[context.trace_id, context.span_id] = _Known(above, tracked())
            if len(self._spans) > _KEPT:
                self._spans.popitem(last=False)
        except Exception:  # what is traced goes on
            log.debug("a span is not followed", exc_info=True)

    def on_end(self, span: ReadableSpan) -> None:
        emitter = self._emitter or used()
        try:
            if emitter is not None and emitter.enabled:
                self._ended(span, emitter)
        except Exception as error:
            log.exception("a span was not recorded")
            if emitter is not None:
                emitter.drop(
                    Drop.INVALID, type(error).__name__, f"a span was not recorded: {error}"
                )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        emitter = self._emitter or used()
        return emitter is None or emitter.flush(timeout_millis / 1000) == 0

    def _ended(self, span: ReadableSpan, emitter: UsageEmitter) -> None:
        context = span.context
        attributes = dict(span.attributes or {})  # theirs takes a lock for each name
        if context is None or not (calls := names.calls_a_model(attributes)):
            return
        telling = {
            name: value for name, value in attributes.items() if name.startswith(names.TELLING)
        }
        if not telling and calls is not True:  # most spans of a service
            return
        usage = usage_from(telling, provider="otel")
        known = self._spans.get((context.trace_id, context.span_id)) or _Known(None, {})
        above = list(self._above(known))
        if usage is None:
            if calls is not True or known.reported:
                return
        elif known.counted or any(one.own for one in above):
            return
        known.own = usage is not None
        for one in above:
            one.reported = True
            one.counted |= known.own
        who = names.who(attributes, known.fields)
        provider = names.provider(attributes)
        if "workspace_id" not in who:
            untracked(emitter, provider)
            return
        start_ms, end_ms = (span.start_time or 0) // 1_000_000, (span.end_time or 0) // 1_000_000
        fields: dict[str, Any] = {
            **(usage.event_fields() if usage is not None else names.answered(attributes)),
            "provider": provider,
            "operation": names.operation(attributes),
            "status": names.status(attributes, failed=not span.status.is_ok),
            "started_at_ms": start_ms,
            "duration_ms": end_ms - start_ms,
            "time_to_first_token_ms": names.first_token_ms(attributes),
            **who,
        }
        asked = names.text(attributes, *names.REQUEST_MODEL)
        fields["request_model"] = asked or (None if fields.get("response_model") else "unknown")
        emitter.emit(
            event_of(fields), id=f"{context.trace_id:032x}-{context.span_id:016x}", time_ms=end_ms
        )

    def _above(self, known: _Known) -> Iterator[_Known]:
        """The spans around one, as far as they are known."""
        seen = 0
        while known.parent is not None and seen < 64:
            above = self._spans.get(known.parent)
            if above is None:
                return
            yield above
            known, seen = above, seen + 1
