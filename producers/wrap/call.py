"""One call of a wrapped SDK, from its begin to the one event that it leaves.

Nothing here may raise into the call that is watched, or hold it up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, Self

from pydantic import ValidationError

from spendstream.producers.emitter import UsageEmitter
from spendstream.producers.extract import ExtractedUsage, usage_from
from spendstream.producers.extract.providers import known_as
from spendstream.producers.record import used
from spendstream.producers.stats import Drop
from spendstream.producers.tracking import tracked
from spendstream.producers.wrap.seen import Seen
from spendstream.schemas.event import Status, UsageEvent
from spendstream.schemas.usage import Usage

log: Final = logging.getLogger("spendstream.wrap")

Extractor = Callable[[Any], Usage | None]
"""What a response, or the list of a stream's chunks, used; None: unknown."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_CANCELLED: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


class Kept(NamedTuple):
    """An answer that the provider keeps, to be fetched by its id, perhaps more than once: its id is
    the event's, and its own time, so that it counts once however late it is fetched again.

    Attributes:
        end_ms: when an answer was made, milliseconds since 1970 UTC; None: it is still to come, or
            another event is its. Gets the answer as JSON.
        fetched: this request only fetches it; that it fails is no end of the call.
        whole_later: a stream that is cut off may be fetched as a whole.
    """

    end_ms: Callable[[Mapping[str, Any]], int | None]
    fetched: bool = False
    whole_later: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """What a request says of the call.

    Attributes:
        provider: `gen_ai.provider.name`, which also says how the response is read.
        operation: `gen_ai.operation.name`.
        model: the one that was asked for.
        api: which of the provider's interfaces, as `usage_from` takes it.
        otherwise: the usage where the response has none; gets the response.
    """

    provider: str
    operation: str
    model: str | None
    api: str | None = None
    otherwise: Extractor | None = None
    kept: Kept | None = None


class Call:
    """Made where the call begins: what `track` says there holds for it, wherever it ends."""

    __slots__ = ("_called", "_emitter", "_extract", "_fields", "_ms", "_ns", "_open", "_pid")

    def __init__(
        self,
        called: Called,
        emitter: UsageEmitter | None,
        extract: Extractor | None = None,
        otherwise: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """`otherwise`: fields of the event where `track` says nothing of them."""
        self._called = called
        self._emitter = emitter
        self._extract = extract
        self._fields: Mapping[str, Any] = {**otherwise, **tracked()} if otherwise else tracked()
        self._ms = time.time_ns() // 1_000_000
        self._ns = time.perf_counter_ns()
        self._open = [True]
        self._pid = os.getpid()

    @property
    def open(self) -> bool:
        """It has not ended."""
        return bool(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What raises within is how the call ends."""
        if error is not None:
            self.failed(error)

    def failed(
        self, error: BaseException, payload: object = None, *, end_ms: int | None = None
    ) -> None:
        """It raised, perhaps after a part of a stream."""
        kept = self._called.kept
        if kept is None or not kept.fetched:
            status: Status = "cancelled" if isinstance(error, _CANCELLED) else "error"
            self.ended(payload, status, end_ms=end_ms)

    def ended(
        self,
        payload: object,
        status: Status = "ok",
        *,
        end_ms: int | None = None,
        first_ms: int | None = None,
    ) -> None:
        """Emit the event; only the first of several ends does.

        Args:
            payload: the response, or the chunks of a stream as far as they were read, or the usage
                where it is known already; None: there was none.
            end_ms: when it ended, where that is not now; first_ms: when the first of the answer
                came. Milliseconds since 1970 UTC.
        """
        try:
            self._open.pop()  # atomic: a finalizer may come in between
        except IndexError:
            return
        if self._pid != os.getpid():  # a fork's copy of it: whoever made the call has its end
            return
        end_ns = time.perf_counter_ns()
        emitter = self._emitter or used()
        if emitter is None:
            log.warning("a call was not recorded: no emitter, call use(UsageEmitter(...)) at start")
            return
        try:
            if emitter.enabled:
                self._emit(emitter, end_ns, payload, status, end_ms, first_ms)
        except Exception as error:  # whatever it is, the call that was watched goes on
            log.exception("a call was not recorded")
            emitter.drop(Drop.INVALID, type(error).__name__, f"a call was not recorded: {error}")

    def _emit(
        self,
        emitter: UsageEmitter,
        end_ns: int,
        payload: object,
        status: Status,
        end_ms: int | None,
        first_ms: int | None,
    ) -> None:
        called, kept = self._called, self._called.kept
        event_ms = event_id = None
        if kept is not None and payload is not None:
            answer = payload.last() if isinstance(payload, Seen) else payload
            if answer is None:  # it was cut off
                if kept.fetched:
                    return
                if kept.whole_later:
                    payload = None
            elif isinstance(answer, Mapping):
                event_ms = kept.end_ms(answer)
                if event_ms is None:
                    return
                # also of one that failed, and has no usage
                event_id = answer.get("id") if isinstance(answer.get("id"), str) else None
        if "workspace_id" not in self._fields:
            untracked(emitter, called.provider)
            return
        try:
            usage = self._usage(payload)
        except Exception:  # of an extractor, or of an answer like none before: the call was made
            log.exception("what a call used could not be read")
            usage = None
        read: dict[str, Any] = (
            usage.event_fields() if isinstance(usage, ExtractedUsage) else {"usage": usage}
        )
        duration_ms = self._within(end_ms, (end_ns - self._ns) // 1_000_000)
        fields: dict[str, Any] = {
            **read,
            "provider": known_as(called.provider),
            "operation": called.operation,
            "request_model": called.model or (None if read.get("response_model") else "unknown"),
            "status": status,
            **self._fields,
        }
        if kept is None or not kept.fetched:
            fields["started_at_ms"] = self._ms
            fields["duration_ms"] = duration_ms
        if isinstance(payload, Seen) and payload.first_ns is not None:
            fields["time_to_first_token_ms"] = (payload.first_ns - self._ns) // 1_000_000
        elif first_ms is not None:
            fields["time_to_first_token_ms"] = self._within(first_ms, duration_ms)
        emitter.emit(event_of(fields), id=event_id, time_ms=event_ms)

    def _within(self, at_ms: int | None, lived_ms: int) -> int:
        """Milliseconds from the begin to then; all of them where a clock was set meanwhile."""
        passed = lived_ms if at_ms is None else at_ms - self._ms
        return passed if 0 <= passed <= lived_ms else lived_ms

    def _usage(self, payload: object) -> Usage | None:
        if payload is None or isinstance(payload, Usage):
            return payload
        called = self._called
        if self._extract is not None:
            usage = self._extract(payload)
        elif isinstance(payload, Seen):
            usage = _of_stream(payload, called)
        else:
            usage = usage_from(payload, provider=called.provider, api=called.api)
        if usage is None and called.otherwise is not None:
            usage = called.otherwise(payload)
        return usage


def _of_stream(seen: Seen, called: Called) -> ExtractedUsage | None:
    """From the few events that name usage; where these are not all that there is to know of it,
    from all."""
    usage = None
    if seen.finished:
        usage = usage_from(seen.telling(), provider=called.provider, api=called.api)
    if usage is None or usage.quality != "measured":
        usage = usage_from(seen.all(), provider=called.provider, api=called.api)
    return usage


def unwatched(module: str, emitter: UsageEmitter | None, error: Exception) -> None:
    """Count a call that is not what we know, as another version of its SDK may make it: it goes
    on."""
    log.exception("a call of %s is not watched", module)
    if (emitter := emitter or used()) is not None:
        emitter.drop(Drop.INVALID, type(error).__name__, f"a call of {module} is not watched")


def untracked(emitter: UsageEmitter, provider: str) -> None:
    """Count a call that nobody can be charged for."""
    emitter.drop(
        Drop.UNTRACKED,
        "untracked",
        f"a call of {provider} was made outside of any"
        " track(workspace_id=...), so nobody could be charged for it",
    )


def event_of(fields: dict[str, Any]) -> UsageEvent:
    """Without what does not fit, as tags that several `track` within each other gave too many of: a
    call that is billed is not lost for that."""
    try:
        return UsageEvent(**fields)
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
        if not wrong:
            raise
        # the values are the caller's, and may be anybody's business
        why = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors() if one["loc"])
        log.warning("an event goes without %s", why)
        return UsageEvent(**{name: value for name, value in fields.items() if name not in wrong})
