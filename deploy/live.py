"""How long an event takes into ClickHouse: calls sent one by one, in time, while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from spendstream.deploy.feed import Call
from spendstream.deploy.manifest import Manifest
from spendstream.producers import UsageEmitter

SOURCE = "demo/live"
PER_SECOND = 25
PATIENCE_S = 15.0
_LOOK_S = 0.02


def latencies_ms(
    calls: Sequence[Call], bootstrap_servers: str, client: Client, manifest: Manifest
) -> list[float]:
    """Milliseconds from the moment a call should have been sent until a query found it, sorted.

    The calls are sent PER_SECOND, each stamped with the time of its sending. What is not found
    in PATIENCE_S is left out.
    """
    intended: dict[str, float] = {}
    found: dict[str, float] = {}
    all_sent = threading.Event()

    def look() -> None:
        deadline = float("inf")
        while len(found) < len(calls) and time.monotonic() < deadline:
            rows = client.query(
                "SELECT event_id FROM usage_raw WHERE source = {source:String} "
                "AND counted >= now64(3) - INTERVAL 1 MINUTE",
                parameters={"source": SOURCE},
            ).result_rows
            now = time.monotonic()
            for (event_id,) in rows:
                if event_id in intended:
                    found.setdefault(event_id, now)
            if all_sent.is_set() and deadline == float("inf"):
                deadline = now + PATIENCE_S
            time.sleep(_LOOK_S)  # the finest latency that can be told; ClickHouse calls nobody back

    looker = threading.Thread(target=look)
    looker.start()
    began = time.monotonic()
    with UsageEmitter(bootstrap_servers, source=SOURCE) as emitter:
        for number, call in enumerate(calls):
            moment = began + number / PER_SECOND
            time.sleep(max(0.0, moment - time.monotonic()))  # an even pace is what is measured
            now_ms = time.time_ns() // 1_000_000
            intended[call.id] = moment
            if emitter.emit(call.event, id=call.id, time_ms=now_ms):
                manifest.add(call.id, now_ms, call.event)
    all_sent.set()
    looker.join()
    return sorted((found[event_id] - intended[event_id]) * 1000 for event_id in found)
