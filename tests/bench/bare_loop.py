"""The peer of the worker bench: one plain confluent-kafka loop that does the same work.

It imports nothing of spendstream: decodes with msgspec, checks the same rules, keeps the same
counters in dicts, and writes the same bytes to topics of its own (`bare.priced`, `bare.checkpoint`,
`bare.ids`, `bare.state`), with or without transactions. It has no recovery, no dead letters, no
forwarding, no plans: it is what one would write by hand for the happy path, and the floor to
measure against. An event that breaks a rule stops it.

Usage: python bare_loop.py BOOTSTRAP TOPIC EVENTS PRICES.json {plain|transactions}
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Partition

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Ms = Annotated[int, msgspec.Meta(ge=0, le=604_800_000)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]
HOUR, DAY = 3_600_000, 86_400_000
BATCH, LINGER_S = 10_000, 0.08


class Usage(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count = 0
    cache_write_input_tokens: Count = 0
    reasoning_output_tokens: Count = 0


class Trackable(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Name
    id: Name


class Event(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    provider: Name
    operation: Name = "chat"
    request_model: Text | None = None
    response_model: Text | None = None
    response_id: Text | None = None
    service_tier: Name | None = None
    batch: bool = False
    region: Name | None = None
    usage: Usage | None = None
    workspace_id: Name
    user_id: Name | None = None
    api_key_id: Name | None = None
    request_type: Name | None = None
    task_id: Name | None = None
    trackable: Trackable | None = None
    tags: Annotated[dict[Name, Text], msgspec.Meta(max_length=32)] = {}
    status: Literal["ok", "error", "cancelled", "blocked"] = "ok"
    started_at_ms: Epoch | None = None
    duration_ms: Ms | None = None
    time_to_first_token_ms: Ms | None = None
    usage_quality: Literal["measured", "estimated", "conflicting"] = "measured"


class Leaf(msgspec.Struct, gc=False):
    leaf: str
    quantity: int
    price_atto: str
    cost_pico: str


class Priced(msgspec.Struct, gc=False):
    seq: int
    partition: int
    topic: str
    offset: int
    arrival_ms: int
    time_ms: int
    counted_ms: int
    judged_ms: int
    event_id: str
    source: str
    event: msgspec.Raw
    leaves: tuple[Leaf, ...]
    computed_cost_pico: str
    cost_pico: str
    charge_pico: str
    cost_quality: str
    price_rule: str
    price_version: str
    plan_version: int
    billing_period: str
    origin_period: str | None


class Counters(msgspec.Struct, gc=False):
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    charge: int = 0
    blocked: int = 0
    unpriced: int = 0


class Month(msgspec.Struct, gc=False):
    counted: Counters
    booked: int = 0
    crossed: list[int] = []
    next_alarm: int = 7_500_000_000_000
    overage_started: bool = False
    overage_emitted: int = 0
    overage_revision: int = 0
    overage_since_ms: int | None = None
    final: bool = False


class Workspace(msgspec.Struct, gc=False):
    total: Counters
    months: dict[str, Month]
    minute: dict[int, list[int]]
    episodes: dict[str, int]


class Broken(Exception):
    """An event that the real worker would have dead-lettered."""


def run(bootstrap: str, topic: str, events: int, prices: dict[str, list[object]], tx: bool) -> None:
    decode = msgspec.json.Decoder(Event).decode
    encode = msgspec.json.Encoder().encode
    settings = {
        "bootstrap.servers": bootstrap,
        "compression.type": "lz4",
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "acks": "all",
        "enable.idempotence": True,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
        "message.max.bytes": 4 * 1_048_576,
    }
    group = f"bare-{time.time_ns()}"
    if tx:
        settings["transactional.id"] = group
    producer = Producer(settings)
    if tx:
        producer.init_transactions()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.min.bytes": 1_048_576,
            "fetch.wait.max.ms": 50,
            "max.partition.fetch.bytes": 4 * 1_048_576,
        }
    )
    partitions = len(consumer.list_topics(topic).topics[topic].partitions)
    consumer.assign([Partition(topic, p, 0) for p in range(partitions)])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    second_of: dict[bytes, int] = {}
    month_of: dict[int, str] = {}
    seen: set[bytes] = set()
    workspaces: dict[str, Workspace] = {}
    sums: dict[str, list[int]] = {}
    seq = [0] * partitions
    upto = [0] * partitions
    time_ms = [0] * partitions
    published: dict[str, int] = {}
    done = 0
    produce = producer.produce
    while done < events:
        messages = consumer.consume(5_000, 0.05)
        deadline = time.monotonic() + LINGER_S
        while (
            len(messages) < BATCH and time.monotonic() < deadline and done + len(messages) < events
        ):
            messages += consumer.consume(5_000, 0.02)
        if not messages:
            continue
        if tx:
            producer.begin_transaction()
        changed: list[set[str]] = [set() for _ in range(partitions)]
        digests: list[list[bytes]] = [[] for _ in range(partitions)]
        for message in messages:
            p = message.partition()
            arrival = message.timestamp()[1]
            if arrival > time_ms[p]:
                time_ms[p] = arrival
            now = time_ms[p]
            headers = dict(message.headers())
            if (
                headers["ce_specversion"] != b"1.0"
                or headers["ce_type"] != b"spendstream.usage.v1"
                or headers["content-type"] != b"application/json"
            ):
                raise Broken
            event_id = headers["ce_id"].decode()
            source = headers["ce_source"].decode()
            if not (0 < len(event_id) <= 256 and event_id.isprintable()):
                raise Broken
            if not (0 < len(source) <= 256 and source.isprintable()):
                raise Broken
            stamp = headers["ce_time"]
            base = second_of.get(stamp[:19])
            if base is None:
                moment = datetime.fromisoformat(stamp[:19].decode() + "+00:00")
                base = second_of[stamp[:19]] = (moment - epoch) // timedelta(milliseconds=1)
            event_ms = base + int(stamp[20:23])
            value = message.value()
            if len(value) > 65_536:
                raise Broken
            event = decode(value)
            if b"\\" in value or b"\x7f" in value or encode(event) != value:
                raise Broken
            usage = event.usage
            reads, writes = usage.cache_read_input_tokens, usage.cache_write_input_tokens
            if reads + writes > usage.input_tokens:
                raise Broken
            if usage.reasoning_output_tokens > usage.output_tokens:
                raise Broken
            age = arrival - event_ms
            if age > DAY or age < -HOUR:
                raise Broken
            workspace_id = event.workspace_id
            digest = blake2b(
                f"{len(workspace_id)}:{workspace_id}{event_id}".encode(), digest_size=16
            ).digest()
            if digest in seen:
                continue
            seen.add(digest)
            digests[p].append(digest)
            model = event.response_model or event.request_model
            rule, input_price, read_price, output_price = prices[f"{event.provider}/{model}"]
            cost = 0
            leaves = []
            for name, quantity, atto in (
                ("input", usage.input_tokens - reads, input_price),
                ("cache_read", reads, read_price),
                ("output", usage.output_tokens, output_price),
            ):
                if quantity:
                    amount, rest = divmod(quantity * atto, 1_000_000)
                    if rest * 2 > 1_000_000 or (rest * 2 == 1_000_000 and amount & 1):
                        amount += 1
                    cost += amount
                    leaves.append(Leaf(name, quantity, str(atto), str(amount)))
            counted = event_ms if event_ms < arrival else arrival
            day = counted // DAY
            month = month_of.get(day)
            if month is None:
                month = month_of[day] = (epoch + timedelta(days=day)).strftime("%Y-%m")
            seq[p] += 1
            row = Priced(
                seq[p],
                p,
                topic,
                message.offset(),
                arrival,
                event_ms,
                counted,
                now,
                event_id,
                source,
                msgspec.Raw(value),
                tuple(leaves),
                str(cost),
                str(cost),
                str(cost),
                event.usage_quality,
                rule,
                "genai-prices 0.2.3 d37fb8762cf6",
                0,
                month,
                None,
            )
            produce("bare.priced", encode(row), message.key(), p)
            workspace = workspaces.get(workspace_id)
            if workspace is None:
                workspace = workspaces[workspace_id] = Workspace(Counters(), {}, {}, {})
                sums[workspace_id] = [0, 0, 0]
            own = workspace.months.get(month)
            if own is None:
                own = workspace.months[month] = Month(Counters())
            for counters in (workspace.total, own.counted):
                counters.requests += 1
                counters.input_tokens += usage.input_tokens
                counters.output_tokens += usage.output_tokens
                if event.status == "blocked":
                    counters.blocked += 1
                counters.cost += cost
                counters.charge += cost
            own.booked += cost
            if own.booked >= own.next_alarm:
                raise Broken  # the bench's workspaces stay within their credit
            changed[p].add(workspace_id)
            second = counted // 1_000
            oldest = now // 1_000 - 60
            total = sums[workspace_id]
            minute = workspace.minute
            if second > oldest:
                tokens = usage.input_tokens + usage.output_tokens
                bucket = minute.get(second)
                if bucket is None:
                    for gone in [s for s in minute if s <= oldest]:
                        old = minute.pop(gone)
                        for i in range(3):
                            total[i] -= old[i]
                    minute[second] = [1, tokens, cost]
                else:
                    bucket[0] += 1
                    bucket[1] += tokens
                    bucket[2] += cost
                total[0] += 1
                total[1] += tokens
                total[2] += cost
            upto[p] = message.offset() + 1
        for p in range(partitions):
            if not digests[p]:
                continue
            produce("bare.ids", b"".join(digests[p]), None, p)
            for workspace_id in changed[p]:
                state = {"upto": (upto[p], 0), "workspace_id": workspace_id}
                state["state"] = workspaces[workspace_id]
                key = encode((workspace_id, "workspace"))
                produce("bare.checkpoint", encode(state), key, p)
                if time_ms[p] - published.get(workspace_id, 0) >= 1_000:
                    published[workspace_id] = time_ms[p]
                    month = next(reversed(workspaces[workspace_id].months))
                    figures = workspaces[workspace_id].months[month]
                    public = {
                        "workspace_id": workspace_id,
                        "as_of_ms": time_ms[p],
                        "offset": upto[p],
                        "plan_version": 0,
                        "period": month,
                        "requests": figures.counted.requests,
                        "input_tokens": figures.counted.input_tokens,
                        "output_tokens": figures.counted.output_tokens,
                        "charge_pico": str(figures.booked),
                        "credit_pico": "10000000000000",
                        "remaining_pico": str(10_000_000_000_000 - figures.booked),
                        "overage_pico": "0",
                        "decision": "allow",
                        "limits": [],
                    }
                    produce("bare.state", encode(public), workspace_id.encode(), p)
            checkpoint = {"partition": p, "upto": upto[p], "seq": seq[p], "time_ms": time_ms[p]}
            produce("bare.checkpoint", encode(checkpoint), b'["","checkpoint"]', p)
        done += len(messages)
        if tx:
            producer.send_offsets_to_transaction(
                [Partition(topic, p, upto[p]) for p in range(partitions)],
                consumer.consumer_group_metadata(),
            )
            producer.commit_transaction()
        else:
            producer.flush()
            consumer.commit(
                offsets=[Partition(topic, p, upto[p]) for p in range(partitions)],
                asynchronous=False,
            )
    consumer.close()


if __name__ == "__main__":
    with open(sys.argv[4]) as file:
        run(
            sys.argv[1],
            sys.argv[2],
            int(sys.argv[3]),
            json.load(file),
            sys.argv[5] == "transactions",
        )
