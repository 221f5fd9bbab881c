"""What is recognised as lost, and that an accepted loss is not asked about again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pytest

from spendstream.schemas.topics import (
    BY_NAME,
    CONTROL,
    CONTROL_PLANS,
    CONTROL_PRICES,
    INPUTS,
    USAGE_EVENTS,
    WORKSPACE_CHECKPOINT,
    WORKSPACE_COMMANDS,
    WORKSPACE_IDS,
)
from spendstream.streams import losses
from spendstream.streams.accept import _go_on
from spendstream.streams.core.state import (
    Checkpoint,
    InputPosition,
    decode_checkpoint,
    encode_json,
)
from spendstream.streams.errors import (
    CheckpointLost,
    EpochChanged,
    Halted,
    LogTruncated,
    RetentionOvertook,
)
from spendstream.streams.losses import TOPICS, Loss, check_first_start, find_losses, halted
from spendstream.streams.reading import Watermarks

PARTITION: Final = 2
READ: Final = 100
"""How far each topic was read."""
IDS_FROM: Final = 40


def checkpoint() -> Checkpoint:
    return Checkpoint(
        PARTITION,
        inputs={topic: InputPosition("a", READ) for topic in INPUTS},
        ids_epoch="a",
        ids_from=IDS_FROM,
        ids_upto=READ,
        control={topic: InputPosition("a", READ) for topic in CONTROL},
        checkpoint_epoch="a",
    )


@dataclass
class Broker:
    """Where the logs begin and end; all else is as it was."""

    logs: dict[str, Watermarks] = field(default_factory=dict)
    epochs: dict[str, str] = field(default_factory=lambda: dict.fromkeys(TOPICS, "a"))

    def watermarks(self, _: object, topic: str, partition: int) -> Watermarks:
        assert partition == (0 if topic in CONTROL else PARTITION)
        return self.logs.get(topic, Watermarks(0, READ))

    def ever_written(self, reader: object, topic: str, partition: int) -> bool:
        return self.watermarks(reader, topic, partition).high > 0

    def losses(self, of: Checkpoint) -> list[Loss]:
        return find_losses(None, of, self.epochs)  # type: ignore[arg-type]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(losses, "watermarks", broker.watermarks)
    monkeypatch.setattr(losses, "ever_written", broker.ever_written)
    return broker


def test_nothing_is_lost(broker: Broker) -> None:
    assert not broker.losses(checkpoint())
    assert not broker.losses(Checkpoint(PARTITION, inputs=checkpoint().inputs, ids_epoch="a"))


LOST: Final[list[tuple[str, Watermarks, type[Halted]]]] = [
    (USAGE_EVENTS, Watermarks(101, 200), RetentionOvertook),
    (USAGE_EVENTS, Watermarks(0, 0), LogTruncated),
    (USAGE_EVENTS, Watermarks(0, 99), LogTruncated),
    (WORKSPACE_COMMANDS, Watermarks(0, 99), LogTruncated),
    (WORKSPACE_IDS, Watermarks(41, 100), RetentionOvertook),
    (WORKSPACE_IDS, Watermarks(0, 0), LogTruncated),
    (WORKSPACE_IDS, Watermarks(0, 99), LogTruncated),
    (CONTROL_PLANS, Watermarks(0, 99), LogTruncated),
    (CONTROL_PLANS, Watermarks(1, 100), RetentionOvertook),
    (CONTROL_PRICES, Watermarks(0, 99), LogTruncated),
    (CONTROL_PRICES, Watermarks(1, 100), RetentionOvertook),
    (WORKSPACE_CHECKPOINT, Watermarks(1, 100), RetentionOvertook),
]


@pytest.mark.parametrize(("topic", "log", "kind"), LOST)
def test_what_is_lost_is_named_and_once_accepted_is_not_any_more(
    broker: Broker, topic: str, log: Watermarks, kind: type[Halted]
) -> None:
    broker.logs[topic] = log
    halting = checkpoint()
    (loss,) = found = broker.losses(halting)
    assert loss.kind is kind
    assert loss.moved.topic == topic
    assert loss.moved.to_offset == log.low
    assert f"{topic}/{0 if topic in CONTROL else PARTITION}: " in loss.why
    assert topic in loss.cost
    assert f"accept {PARTITION}" in str(halted(halting, found))
    _go_on(halting, found, "operator", "")
    assert not broker.losses(halting)
    assert not broker.losses(decode_checkpoint(encode_json(halting)))


@pytest.mark.parametrize("topic", [*CONTROL, WORKSPACE_CHECKPOINT])
def test_what_is_deleted_after_an_accepted_loss_is_another(broker: Broker, topic: str) -> None:
    going_on = checkpoint()
    for low in (5, 9):
        broker.logs[topic] = Watermarks(low, READ)
        found = broker.losses(going_on)
        assert [loss.kind for loss in found] == [RetentionOvertook]
        _go_on(going_on, found, "operator", "")
        assert not broker.losses(going_on)
    broker.logs[topic], broker.epochs[topic] = Watermarks(0, 0), "b"
    found = broker.losses(going_on)
    _go_on(going_on, found, "operator", "")
    assert not broker.losses(going_on)
    broker.logs[topic] = Watermarks(1, 1)  # what was accepted of the old one says nothing here
    assert [loss.kind for loss in broker.losses(going_on)] == [RetentionOvertook]


@pytest.mark.parametrize("topic", [USAGE_EVENTS, WORKSPACE_IDS])
def test_a_truncated_log_that_has_grown_since_is_not_forgotten(broker: Broker, topic: str) -> None:
    broker.logs[topic] = Watermarks(0, 30)
    note = halted(checkpoint(), broker.losses(checkpoint())).note
    assert note is not None
    assert note.batch == 1
    noted = decode_checkpoint(encode_json(note))
    broker.logs[topic] = Watermarks(0, 1_000)
    (loss,) = broker.losses(noted)
    assert loss.kind is LogTruncated
    assert "ended at 30" in loss.why
    assert halted(noted, [loss]).note is None
    _go_on(noted, [loss], "operator", "")
    assert not broker.losses(noted)
    assert not noted.truncated
    if topic in INPUTS:
        assert noted.inputs[topic] == InputPosition("a", 0)
    else:
        assert (noted.ids_from, noted.ids_upto) == (0, 0)


def test_a_topic_made_anew_is_one_whatever_its_log(broker: Broker) -> None:
    halting = checkpoint()
    halting.truncated = {USAGE_EVENTS: 30}
    for topic in TOPICS:
        broker.logs[topic] = Watermarks(0, 0)
        broker.epochs[topic] = "b"
    found = broker.losses(halting)
    assert [loss.kind for loss in found] == [EpochChanged] * len(TOPICS)
    assert halted(halting, found).note is None
    _go_on(halting, found, "operator", "")
    assert not broker.losses(halting)
    assert not halting.truncated
    assert halting.checkpoint_epoch == "b"
    assert WORKSPACE_CHECKPOINT in {one.topic for one in halting.accepted[0].moved}


def test_to_count_anew_all_of_the_old_count_is_deleted(broker: Broker) -> None:
    logs = dict.fromkeys(BY_NAME, Watermarks(0, 0))
    others = dict.fromkeys((USAGE_EVENTS, *CONTROL), Watermarks(0, 9))
    broker.logs = logs | others
    check_first_start(None, PARTITION)  # type: ignore[arg-type]
    broker.logs[WORKSPACE_IDS] = Watermarks(0, 9)
    with pytest.raises(CheckpointLost) as lost:
        check_first_start(None, PARTITION)  # type: ignore[arg-type]
    told = str(lost.value)
    deleted = told[told.index(" delete ") : told.index(", make them anew")]
    assert {name for name in BY_NAME if name in deleted} == BY_NAME.keys() - {
        USAGE_EVENTS,
        *CONTROL,
    }
