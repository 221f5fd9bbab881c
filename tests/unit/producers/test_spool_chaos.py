"""Many threads, a broker that takes, forgets and refuses at random: every event arrives once, or is
counted."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from spendstream.producers import UsageEmitter, emitter, spool
from spendstream.schemas import UsageEvent
from tests.unit.producers.kafka_client import Broker

EVENT = UsageEvent(provider="openai", request_model="gpt-4o", workspace_id="ws-1")
ENDS = (
    None,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError._PURGE_QUEUE,
)


@pytest.mark.parametrize("seed", range(3))
def test_every_event_arrives_once_whatever_the_broker_does(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(spool, "_MAX_DELAY_S", 0.01)
    broker = Broker(limit=200)
    monkeypatch.setattr(emitter, "Producer", broker.client)
    chance = random.Random(seed)
    usage = UsageEmitter("nowhere:1", spool=tmp_path, queue_buffering_max_messages=200)

    def emit(thread: int) -> None:
        for number in range(1_500):
            assert usage.emit(EVENT, id=f"{thread}-{number}")

    threads = [threading.Thread(target=emit, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        broker.finish(chance.choice(ENDS), count=chance.randrange(150))
    broker.away = False
    assert usage.flush(60) == 0
    assert usage._spool is not None
    assert usage._spool.settle(20)
    stats = usage.stats
    usage.close()
    assert Counter(broker.ids()) == Counter(f"{t}-{n}" for t in range(4) for n in range(1_500))
    assert (stats.delivered, stats.queued, stats.spooled, stats.lost) == (6_000, 0, 0, 0)
