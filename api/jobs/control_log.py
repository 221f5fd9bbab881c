"""What a control topic holds, from Kafka or from its mirror in ClickHouse.

A record that cannot be read is passed over and said, as the workers do: one such record must not
take away every command with which an operator could put things right.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeVar

from clickhouse_connect.driver.client import Client
from pydantic import ValidationError

from spendstream.api.log import read_to_end
from spendstream.schemas.plan import PlanVersion
from spendstream.schemas.prices.version import PriceVersion

M = TypeVar("M", PlanVersion, PriceVersion)
_HIGHEST: Final = 2**31
log: Final = logging.getLogger("spendstream.api")


def read_topic(
    bootstrap_servers: str, topic: str, model: type[M], timeout: float
) -> list[tuple[int, M]]:
    """(offset, version) of all that was ever written, in order. Raises LogUnavailable."""
    messages = read_to_end(bootstrap_servers, topic, timeout=timeout)
    return list(_readable(topic, ((m.offset() or 0, m.value() or b"") for m in messages), model))


def read_to_write(
    bootstrap_servers: str, topic: str, model: type[M], timeout: float
) -> tuple[list[M], int]:
    """The versions, and the next one's number: no other record has it, whether it can be read or
    not (a later spendstream may have written what this one cannot). Raises LogUnavailable.

    A number that no writer can have come to is none: it would carry all later ones away.
    """
    records = [
        (m.offset() or 0, m.value() or b"")
        for m in read_to_end(bootstrap_servers, topic, timeout=timeout)
    ]
    last = max((_number(value) for _, value in records), default=0)
    return [version for _, version in _readable(topic, records, model)], last + 1


def _number(value: str | bytes) -> int:
    """What a record says to be its version, whether or not the rest of it can be read."""
    try:
        said = json.loads(value)["version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
    return said if type(said) is int and said <= _HIGHEST else 0


def read_mirror(client: Client, topic: str, model: type[M]) -> Iterator[tuple[int, M]]:
    """The same, in no order, as of the sinks' last mirroring."""
    rows = client.query(
        "SELECT offset, value FROM mirror_control FINAL WHERE topic = {topic:String}",
        parameters={"topic": topic},
    ).result_rows
    return _readable(topic, ((int(offset), value) for offset, value in rows), model)


def _readable(
    topic: str, records: Iterable[tuple[int, str | bytes]], model: type[M]
) -> Iterator[tuple[int, M]]:
    for offset, value in records:
        try:
            version = model.model_validate_json(value)
        except ValidationError as error:
            _say(topic, offset, _reason(error))
        else:
            yield offset, version


def _reason(error: ValidationError) -> str:
    """The first of what is wrong with it."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


@lru_cache(maxsize=1000)
def _say(topic: str, offset: int, reason: str) -> None:
    """Once in a process: a command reads a topic several times."""
    log.warning(
        "%s: the record at offset %s cannot be read and is passed over, as the workers do (%s)",
        topic,
        offset,
        reason,
    )
