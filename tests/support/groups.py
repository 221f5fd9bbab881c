"""A consumer group whose members were killed: left for them, where a test need not wait."""

from __future__ import annotations

import asyncio

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka.admin import AdminClient


def leave_for(bootstrap: str, group: str) -> None:
    """All members leave, as the coordinator has it at the end of their sessions."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    described = admin.describe_consumer_groups([group])[group].result()
    asyncio.run(_leave(bootstrap, group, [member.member_id for member in described.members]))


async def _leave(bootstrap: str, group: str, members: list[str]) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.ready(node, group=ConnectionGroup.COORDINATION)
        for member in members:
            request = LeaveGroupRequest(group, member)
            answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
            assert not answer.error_code, answer
    finally:
        await client.close()
