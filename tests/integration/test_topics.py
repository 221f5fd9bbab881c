"""Topics on an Apache Kafka: what differs from the table is named, and nothing is repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from spendstream.deploy import cli, failures
from spendstream.deploy.topics_admin import check, create
from spendstream.schemas.topics import (
    BY_NAME,
    USAGE_EVENTS,
    USAGE_LATE,
    USAGE_PRICED,
    WORKSPACE_CHECKPOINT,
)
from tests.servers.kafka import KafkaServer
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("topics")]

WRONG = [
    f"{USAGE_EVENTS}: message.timestamp.type is CreateTime, should be LogAppendTime",
    f"{USAGE_PRICED}: retention.ms is 1000, should be 604800000",
    f"{USAGE_LATE} is missing: `spendstream topics create`",
    f"{WORKSPACE_CHECKPOINT}: cleanup.policy is delete, should be compact",
]


def alter(admin: AdminClient, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def test_what_is_missing_or_set_otherwise_is_named(
    apache_broker: KafkaServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    servers = apache_broker.bootstrap_servers
    assert sorted(create(servers, 3)) == sorted(BY_NAME)
    assert check(servers) == []

    admin = AdminClient({"bootstrap.servers": servers})
    alter(admin, USAGE_EVENTS, "message.timestamp.type", "CreateTime")
    alter(admin, USAGE_PRICED, "retention.ms", "1000")
    alter(admin, WORKSPACE_CHECKPOINT, "cleanup.policy", "delete")
    admin.delete_topics([USAGE_LATE])[USAGE_LATE].result(30)
    until(lambda: USAGE_LATE not in admin.list_topics(timeout=10).topics, 30)
    assert check(servers) == WRONG

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setattr("sys.argv", ["spendstream", "topics", "check", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.NOT_RIGHT
    assert json.loads(capsys.readouterr().out) == {"ok": False, "mismatches": WRONG}

    assert create(servers, 3) == [USAGE_LATE]
    assert check(servers) == [line for line in WRONG if "missing" not in line]
