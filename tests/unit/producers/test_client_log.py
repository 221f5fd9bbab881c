"""What Kafka's client says again and again is said now and then."""

from __future__ import annotations

import logging
import time

import pytest

from spendstream.deploy.embedded.broker import free_port
from spendstream.producers import UsageEmitter, client_log
from spendstream.schemas import UsageEvent
from tests.support.waiting import until


def test_repeats_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_log, "LOG_EVERY_S", 0.2)
    log = client_log.ClientLog()
    for number in range(10):
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", "client", f"refused after {number} ms")
    log.log(logging.WARNING, "%s [%s] %s", "FAIL", "client", "something else")
    time.sleep(0.2)
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "client", "refused after 77 ms")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "FAIL [client] refused after 0 ms"),
        ("WARNING", "FAIL [client] something else"),
        ("ERROR", "FAIL [client] refused after 77 ms (9 more like it)"),
    ]


def test_what_nothing_follows_is_counted_by_the_report(caplog: pytest.LogCaptureFixture) -> None:
    log = client_log.ClientLog()
    for number in range(10):
        log.log(logging.ERROR, "%s", f"refused after {number} ms")
    log.log(logging.WARNING, "%s", "something else")
    log.report()
    log.report()
    assert [record.getMessage() for record in caplog.records] == [
        "refused after 0 ms",
        "something else",
        "refused after 9 ms (8 more like it)",
    ]


def test_kinds_that_are_forgotten_because_they_are_many_are_counted_first(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_log, "_MAX_KINDS", 2)
    log = client_log.ClientLog()
    for kind in ("a", "b", "b", "b", "c"):
        log.log(logging.ERROR, "%s", kind)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["a", "b", "b (1 more like it)", "c"]


def test_a_broker_that_is_away_is_not_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    event = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
    emitter = UsageEmitter(f"127.0.0.1:{free_port()}", spool="")
    kinds = emitter._client_log._kinds
    until(lambda: emitter.emit(event) and any(n > 1 for _, n, _, _ in kinds.values()), 20)
    assert len([r for r in caplog.records if "Connection refused" in r.getMessage()]) == 1
    emitter.close(0)
    assert "more like it" in caplog.text
