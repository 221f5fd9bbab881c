"""Exit codes, and which error means which.

| code | meaning |
|---|---|
| 0 | done, and where something was checked, it is right |
| 1 | it was checked, and it is not right: verify, doctor, topics check, partitions show, prices |
|   | show and check, lost events |
| 2 | the command line, the settings or the input file is wrong |
| 3 | no stack, broker or ClickHouse; port taken; directory locked; disk full; a worker or a sink |
|   | that cannot go on; a partition that partitions show could not look at |
| 4 | a stale edit: what it was made from has changed since; nothing was written |
| 70 | a mistake of ours |
| 130 | Ctrl-C |
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
NOT_RIGHT: Final = 1
WRONG_INPUT: Final = 2
UNAVAILABLE: Final = 3
STALE: Final = 4
INTERRUPTED: Final = 130
UNEXPECTED: Final = 70
"""A mistake of ours (EX_SOFTWARE of sysexits.h)."""


def exit_code(error: Exception) -> int | None:
    """The code of an error whose message is for people; None where it is a mistake of ours."""
    # imported when something failed, so that `--help` loads neither Kafka nor ClickHouse
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from confluent_kafka import KafkaException

    from spendstream.api.jobs.control_writer import ControlUnavailable, StaleEdit
    from spendstream.api.jobs.rebuild import RebuildFailed
    from spendstream.api.jobs.recount import ManifestError
    from spendstream.api.log import LogUnavailable
    from spendstream.api.plans.file import PlansError
    from spendstream.api.prices.explain import NoSuchEvent
    from spendstream.api.reports import ReportError
    from spendstream.api.settled import NotSettled
    from spendstream.api.stored import ClickHouseUnavailable
    from spendstream.deploy.console import CommandError
    from spendstream.deploy.embedded.broker import BrokerError
    from spendstream.deploy.embedded.engine import DirectoryInUseError
    from spendstream.deploy.home import HomeLocked
    from spendstream.deploy.settings import SettingsError
    from spendstream.deploy.stack import DiskFull, NotStored
    from spendstream.deploy.supervisor import KeepsDying
    from spendstream.deploy.topics_admin import TopicsError
    from spendstream.deploy.trace import TraceError
    from spendstream.schemas.prices.overrides import OverridesError
    from spendstream.sinks.clickhouse.errors import ConfigError, LoaderError, MigrationError
    from spendstream.streams.accept import OtherLosses
    from spendstream.streams.errors import PartitionError

    if isinstance(error, CommandError):
        return error.exit_code
    wrong = (
        ConfigError,
        ManifestError,
        NoSuchEvent,
        OverridesError,
        PlansError,
        ReportError,
        SettingsError,
        TraceError,
    )
    if isinstance(error, wrong):
        return WRONG_INPUT
    if isinstance(error, StaleEdit):
        return STALE
    if isinstance(error, NotStored | OtherLosses):
        return NOT_RIGHT
    unavailable = (
        BrokerError,
        ClickHouseError,
        ClickHouseUnavailable,
        ControlUnavailable,
        DirectoryInUseError,
        DiskFull,
        HomeLocked,
        KafkaException,
        KeepsDying,
        LoaderError,
        LogUnavailable,
        MigrationError,
        NotSettled,
        OSError,
        PartitionError,
        RebuildFailed,
        TopicsError,
    )
    return UNAVAILABLE if isinstance(error, unavailable) else None


def plain(error: Exception) -> str:
    """The error in words for people."""
    from confluent_kafka import KafkaError, KafkaException

    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
        return f"Kafka: {error.args[0].str()}"
    return str(error)
