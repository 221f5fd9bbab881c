"""What goes wrong with an answer.

`after` is a number of chunks of a stream, the provider's pings and opening events among them: so
many are sent before it happens, all of them where there are fewer. None is before anything is
sent. Of an answer that is no stream half is sent for any `after`, but for `Fails`, which is its
status then, and `Malformed`, which is all of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fails:
    """An error as the provider words it: with its status, or an event within the stream."""

    status: int = 500
    after: int | None = None
    message: str = "the fake fails, as it was told to"
    retry_after_ms: int | None = 1
    """Told in whole seconds too. The SDKs of OpenAI and Anthropic take 0 for none, and wait half a
    second or more. None: no such headers."""


@dataclass(frozen=True, slots=True)
class Hangs:
    """Until it is released or the client is gone; then the rest of the answer."""

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Delays:
    seconds: float
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Cuts:
    """The connection ends, and neither a length nor a last chunk says that the answer did."""

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """JSON that breaks off, in an answer that HTTP finds complete."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Empty:
    """200 and no body."""


Timing = Hangs | Delays | Cuts
"""When, not what, is sent."""
Fault = Timing | Fails | Malformed | Empty
