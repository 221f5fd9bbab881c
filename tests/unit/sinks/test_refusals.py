"""Rights that Kafka has taken from the consumer: how long `/healthz` speaks of them."""

from __future__ import annotations

from confluent_kafka import KafkaError

from spendstream.sinks.clickhouse.refusals import ASK_SECONDS, GRACE_SECONDS, Refusals

TOPIC = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
GROUP = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
SESSION_S = 10.0
OVER_S = SESSION_S + GRACE_SECONDS
OF_GROUP = "READ on the consumer group loaders is missing: grant it to the sink's user"
OF_TOPIC = "READ on usage.priced is missing: grant it to the sink's user"


def test_of_a_topic_until_it_is_read_again() -> None:
    refusals = Refusals("loaders", SESSION_S)
    refusals.note(("usage.priced", 0), TOPIC, 100.0)
    refusals.note(("usage.priced", 1), TOPIC, 100.0)
    assert refusals.to_ask(100.0 + ASK_SECONDS) == [("usage.priced", 0), ("usage.priced", 1)]
    refusals.over(("usage.priced", 0))
    refusals.still_joined(100.0 + 10 * OVER_S)
    assert refusals.lasting() == [OF_TOPIC]
    refusals.over(("usage.priced", 1))
    assert refusals.lasting() == []


def test_of_the_group_until_it_would_have_cost_the_partitions() -> None:
    """Given back within the session there is no other assignment, and nobody says so."""
    refusals = Refusals("loaders", SESSION_S)
    refusals.note(("", None), GROUP, 100.0)
    assert refusals.to_ask(100.0 + ASK_SECONDS) == []
    refusals.still_joined(100.0 + OVER_S)
    assert refusals.lasting() == [OF_GROUP]
    refusals.note(("", None), GROUP, 112.0)
    refusals.still_joined(112.0 + OVER_S)
    assert refusals.lasting() == [OF_GROUP]
    refusals.still_joined(112.1 + OVER_S)
    assert refusals.lasting() == []


def test_of_the_group_until_another_assignment() -> None:
    refusals = Refusals("loaders", SESSION_S)
    refusals.note(("", None), GROUP, 100.0)
    refusals.clear()
    assert refusals.lasting() == []
