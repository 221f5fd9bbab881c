"""The README's snippets of LiteLLM and OpenTelemetry, run as they stand, up to what Kafka has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches prices as it is imported

import litellm

import spendstream.producers
from spendstream.producers import UsageEmitter, track
from spendstream.producers.record import use, used
from tests.fakes import Answer, FakeProviders, Usage
from tests.integration.test_emitter import make_topic, read
from tests.servers.kafka import KafkaServer
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def snippet(title: str) -> str:
    readme = Path(spendstream.producers.__file__).with_name("README.md").read_text()
    section = readme.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def topic(kafka: KafkaServer) -> Iterator[str]:
    name = make_topic(kafka)
    with UsageEmitter(kafka.bootstrap_servers, source="test", topic=name) as emitter:
        use(emitter)
        yield name
    use(None)


def arrived(kafka: KafkaServer, topic: str) -> dict[str, Any]:
    emitter = used()
    assert emitter is not None
    until(lambda: emitter.stats.queued + emitter.stats.delivered > 0, 10)
    assert emitter.flush(20) == 0
    (message,) = read(kafka.bootstrap_servers, topic)
    assert message.key() == b"acme"
    value = message.value()
    assert value is not None
    found: dict[str, Any] = json.loads(value)
    return found


def test_litellm(kafka: KafkaServer, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeProviders() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        fake.next(Answer(usage=Usage(input_tokens=9, output_tokens=2)))
        exec(snippet("LiteLLM"), {})
        event = arrived(kafka, topic)
    for name in ("callbacks", "input_callback", "success_callback", "failure_callback"):
        getattr(litellm, name).clear()
    assert event["usage"] == {"input_tokens": 9, "output_tokens": 2}
    assert (event["provider"], event["request_type"]) == ("openai", "summary")
    assert "hello" not in json.dumps(event)


def test_opentelemetry(kafka: KafkaServer, topic: str) -> None:
    names: dict[str, Any] = {}
    exec(snippet("OpenTelemetry"), names)
    tracer = names["provider"].get_tracer("test")
    with track(workspace_id="acme"), tracer.start_as_current_span("chat") as span:
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 9,
                "gen_ai.usage.output_tokens": 2,
            }
        )
    assert names["provider"].force_flush()
    assert arrived(kafka, topic)["usage"] == {"input_tokens": 9, "output_tokens": 2}


def test_neither_is_imported_unasked() -> None:
    code = (
        "import sys, spendstream.producers as p;"
        "print([m for m in ('litellm', 'opentelemetry') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
