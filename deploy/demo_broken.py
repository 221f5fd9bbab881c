"""Records as broken services send them, so that a demo shows what becomes of them."""

from __future__ import annotations

import json
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from spendstream.deploy import failures
from spendstream.deploy.console import CommandError
from spendstream.producers import cloudevent
from spendstream.schemas.topics import USAGE_EVENTS

_GOOD: Final[dict[str, Any]] = {
    "provider": "openai",
    "request_model": "gpt-4o",
    "usage": {"input_tokens": 900, "output_tokens": 120},
    "workspace_id": "globex",
}


def _usage(**changes: object) -> bytes:
    return _json(usage={"input_tokens": 900, "output_tokens": 120, **changes})


def _json(**changes: object) -> bytes:
    return json.dumps({**_GOOD, **changes}).encode()


BROKEN: Final[tuple[bytes | None, ...]] = (
    _json()[:-25],  # cut off
    b"usage: 900 tokens",
    _json().replace(b"openai", b"\xff\xfe"),
    _json().replace(b"900", b"NaN"),
    _json().replace(b'"provider"', b'"workspace_id":"acme","provider"'),  # the same key twice
    _json(prompt="Dear model, …"),
    _json(workspace_id=None),
    _usage(input_tokens=-1),
    _usage(input_tokens=True),
    _usage(output_tokens=120.0),
    _usage(input_tokens=2**63),
    _usage(cache_read_input_tokens=901),
    _usage(reasoning_output_tokens=121),
    _json(user_id="a\nb"),
    _json(user_id="x" * 129),
    _json(status="fine"),
    b"[1, 2, 3]",
    None,  # a tombstone
)


def send_broken(bootstrap_servers: str, run: str, now_ms: int) -> int:
    """Send them, and two with good data and an impossible time; how many. Raises CommandError."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "partitioner": "murmur2_random",
            "message.timeout.ms": 30_000,
        }
    )
    failed: list[str] = []

    def on_delivery(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    times = [(value, now_ms) for value in BROKEN]
    times += [(_json(), now_ms + 2 * 3_600_000), (_json(), now_ms - 36 * 86_400_000)]
    for number, (value, time_ms) in enumerate(times):
        headers = cloudevent.headers(f"broken-{run}-{number}".encode(), b"demo", time_ms)
        producer.produce(USAGE_EVENTS, value, b"globex", headers=headers, on_delivery=on_delivery)
    if producer.flush(30) or failed:
        why = failed[0] if failed else "no answer within 30 s"
        raise CommandError(f"Kafka did not take all records: {why}", failures.UNAVAILABLE)
    return len(times)
