from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from spendstream.producers import uninstrument, use
from tests.fakes import FakeProviders
from tests.integration.wrap.patched import patched
from tests.servers.kafka import KafkaServer
from tests.support.recording import Recording, Workspace


@pytest.fixture(scope="module")
def recording(kafka: KafkaServer) -> Iterator[Recording]:
    recording = Recording(kafka.bootstrap_servers)
    yield recording
    recording.close()


@pytest.fixture
def workspace(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Whose calls are recorded once something is instrumented; at the end nothing is any more, and
    the SDKs have the attributes that they had before."""
    # which another test may have loaded, and would make other estimates of streams that are cut off
    monkeypatch.delitem(sys.modules, "tiktoken", raising=False)
    before = patched()
    use(recording.emitter)
    yield recording.workspace()
    uninstrument()
    use(None)
    assert patched() == before


@pytest.fixture
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        yield fake
