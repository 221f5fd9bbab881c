"""The emitter's settings, and its switch; nothing here opens a connection."""

from __future__ import annotations

import threading

import pytest

from spendstream.producers import UsageEmitter, settings
from spendstream.schemas import UsageEvent

EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")


@pytest.mark.parametrize("variable", [None, "1", "true", "True", "YES", "on", " 1 "])
def test_one_switch_turns_it_off(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable is not None:
        monkeypatch.setenv("SPENDSTREAM_DISABLED", variable)
    before = set(threading.enumerate())
    emitter = UsageEmitter("nowhere:1", enabled=variable is not None)
    assert not emitter.enabled
    assert emitter.emit(EVENT) is False
    assert emitter.emit("not an event") is False  # type: ignore[arg-type]
    assert (emitter.stats.queued, emitter.stats.lost) == (0, 0)
    assert emitter.flush(0) == emitter.close(0) == 0
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("variable", ["", "0", "false", "No", "OFF"])
def test_a_no_leaves_it_on(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPENDSTREAM_DISABLED", variable)
    assert not settings.disabled()
    assert not caplog.records


def test_what_is_neither_leaves_it_on_and_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPENDSTREAM_DISABLED", "yess")
    assert not settings.disabled()
    assert "SPENDSTREAM_DISABLED='yess' is neither yes" in caplog.text


def test_settings_that_exactness_depends_on_are_refused_all_at_once() -> None:
    with pytest.raises(ValueError, match=r"acks, enable\.idempotence, partitioner"):
        UsageEmitter("nowhere:1", acks=1, enable_idempotence=False, partitioner="consistent")


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match=r"linger\.mss"):
        UsageEmitter("nowhere:1", linger_mss=5)


@pytest.mark.parametrize("source", ["a\nb", "x" * 257])
def test_an_unusable_source_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        UsageEmitter("nowhere:1", source=source)
