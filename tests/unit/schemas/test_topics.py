from __future__ import annotations

import pytest

from spendstream.schemas import topics
from spendstream.schemas.topics import BY_NAME, DAY_MS, FOREVER, TOPICS, Topic

BY_TOPIC = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(TOPICS)


def test_what_belongs_to_a_workspace_is_co_partitioned() -> None:
    alone = {topic.name for topic in TOPICS if topic.partitions is not None}
    assert alone == set(topics.CONTROL)


@pytest.mark.parametrize("name", topics.INPUTS)
def test_inputs_are_kept_a_week_and_stamped_by_the_broker(name: str) -> None:
    assert BY_NAME[name].retention_ms >= 7 * DAY_MS
    assert BY_NAME[name].cleanup == "delete"
    assert BY_NAME[name].timestamps == "LogAppendTime"


@pytest.mark.parametrize("name", topics.CONTROL)
def test_plans_and_prices_are_one_log_each_that_is_never_compacted(name: str) -> None:
    topic = BY_NAME[name]
    assert (topic.cleanup, topic.retention_ms, topic.partitions) == ("delete", FOREVER, 1)


def test_ids_outlive_every_input_record_that_could_repeat_them() -> None:
    longest = max(BY_NAME[name].retention_ms for name in topics.INPUTS)
    assert BY_NAME[topics.WORKSPACE_IDS].retention_ms >= longest + topics.ID_HORIZON_MS + DAY_MS


@BY_TOPIC
def test_compacted_topics_keep_their_newest_for_ever(topic: Topic) -> None:
    assert (topic.cleanup == "compact") <= (topic.retention_ms == FOREVER)


@pytest.mark.parametrize("name", topics.SEQUENCED)
def test_rows_with_seq_are_never_compacted(name: str) -> None:
    assert BY_NAME[name].cleanup == "delete"
    assert BY_NAME[name].writers == ("streams",)


def test_services_write_events_and_nothing_else() -> None:
    assert [topic.name for topic in TOPICS if "producers" in topic.writers] == [topics.USAGE_EVENTS]


@pytest.mark.parametrize("name", [topics.WORKSPACE_COMMANDS, topics.USAGE_DEAD])
def test_a_record_that_holds_another_in_base64_fits(name: str) -> None:
    assert BY_NAME[name].max_message_bytes > BY_NAME[topics.USAGE_EVENTS].max_message_bytes * 4 / 3


@BY_TOPIC
def test_settings_have_kafkas_names_and_are_text(topic: Topic) -> None:
    assert topic.config() == {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "message.timestamp.type": topic.timestamps,
        "max.message.bytes": str(topic.max_message_bytes),
    }
