"""What can stop a partition, named by what the worker does next.

PartitionError
├── Fenced         another worker owns the partition: do nothing until a new assignment
├── Recoverable    drop the state in memory, recover, go on (broker away, transaction aborted)
│   ├── HangingTransaction   somebody's open transaction may hide the newest checkpoint: wait
│   ├── TopicsWrong          a topic is missing, has another number of partitions, or may not be
│   │                        used: says which
│   └── CoreFailed           the core raised: again at the same place, its record is searched for
└── Halted         an operator must look: the partition stands still and says why
    ├── EpochChanged         a topic that the checkpoint points at was deleted and created again
    ├── RetentionOvertook    records that were not processed are gone
    ├── LogTruncated         a log ends below what was read of it, or written to it
    ├── CheckpointLost       no checkpoint, but there are rows that were written under one
    └── WorkerAtFault        the core fails, and the records are not to blame
"""

from __future__ import annotations

from spendstream.streams.core.state import Checkpoint


class PartitionError(Exception):
    """Base of what the runner of a partition handles."""


class Fenced(PartitionError):
    """Our transactional id was initialised elsewhere; this worker is a zombie for the partition."""


class Recoverable(PartitionError):
    """The state in memory may be ahead of what is committed; recovering is always safe."""


class HangingTransaction(Recoverable):
    """A reader of committed records cannot reach the end of the topic."""


class TopicsWrong(Recoverable):
    """An operator must mend the topics; the partition goes on once they are right."""


class CoreFailed(Recoverable):
    """The core raised what nobody foresaw; the cause says what. Never an error of Kafka.

    Attributes:
        taken: records of the transaction.
        before: how many of them the core was done with; None: with all, it failed afterwards.
        topic, offset: of the transaction's first record.
    """

    def __init__(self, taken: int, before: int | None, topic: str, offset: int) -> None:
        super().__init__(f"the core failed on one of {taken} records from {topic}, offset {offset}")
        self.taken = taken
        self.before = before
        self.topic = topic
        self.offset = offset


class Halted(PartitionError):
    """Going on would lose or double something in silence.

    Attributes:
        note: the checkpoint with what may not be seen the next time; to be committed.
    """

    note: Checkpoint | None = None


class EpochChanged(Halted):
    """Offsets of the checkpoint belong to a topic that is no more."""


class RetentionOvertook(Halted):
    """The log begins above the next offset to read."""


class LogTruncated(Halted):
    """The log ends below the next offset: once it has grown past it, nothing tells any more."""


class CheckpointLost(Halted):
    """Without the checkpoint that the partition's rows were written under it would start anew."""


class WorkerAtFault(Halted):
    """The core fails on nearly every record, or without any: no letter would mend that."""
