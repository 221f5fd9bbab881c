"""Prices in `control.prices`: what the operator has added, and adding to it.

Nothing that was added is changed or taken away: a new price is an entry with a later `valid_from`,
or one after it in the list, of which the last counts. So an edit is what a file says that is not in
force.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from spendstream.api.author import os_user
from spendstream.api.jobs.control_log import read_mirror, read_to_write, read_topic
from spendstream.api.jobs.control_writer import check_expected, now_ms, only_writer
from spendstream.schemas.prices.compile import canonical
from spendstream.schemas.prices.overrides import (
    MAX_ENTRIES,
    Alias,
    Entry,
    Overrides,
    OverridesError,
)
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.topics import CONTROL_PRICES


class PriceRecord(NamedTuple):
    """A version and its offset in `control.prices`: workers say up to which they have seen."""

    offset: int
    version: PriceVersion


def read_records(bootstrap_servers: str, timeout: float = 30.0) -> list[PriceRecord]:
    """Every version ever written that can be read, in order. Raises LogUnavailable."""
    found = read_topic(bootstrap_servers, CONTROL_PRICES, PriceVersion, timeout)
    return [PriceRecord(*record) for record in found]


def mirrored_records(client: Client) -> list[PriceRecord]:
    """The same from the mirror in ClickHouse, as of the sinks' last mirroring."""
    records = (PriceRecord(*one) for one in read_mirror(client, CONTROL_PRICES, PriceVersion))
    return sorted(records, key=lambda record: record.version.version)


def read_versions(bootstrap_servers: str, timeout: float = 30.0) -> list[PriceVersion]:
    """As `read_records`, without offsets."""
    return [record.version for record in read_records(bootstrap_servers, timeout)]


def added(versions: Iterable[PriceVersion], wanted: Overrides) -> list[Entry | Alias]:
    """What of `wanted` is not in force yet, entries before aliases, in their order.

    Of several for the same calls from the same moment on only the last counts, there as here: a
    price that another has replaced is added again where it is wanted again.
    """
    held = _last_of(version.said for version in versions)
    said = _last_of((*wanted.prices, *wanted.aliases))
    return [one for what, one in said.items() if held.get(what) != one]


def _last_of(said: Iterable[Entry | Alias]) -> dict[Hashable, Entry | Alias]:
    """By the calls that it is for and its moment, in the order of the last ones."""
    last: dict[Hashable, Entry | Alias] = {}
    for one in said:
        when = one.when if isinstance(one, Entry) else None
        provider, model = canonical(one.provider, one.model)
        what = (type(one), provider, model.lower(), one.valid_from, when)
        last.pop(what, None)
        last[what] = one
    return last


def add_prices(
    bootstrap_servers: str,
    wanted: Overrides,
    *,
    expected_version: int | None = None,
    author: str | None = None,
    reason: str | None = None,
    timeout: float = 30.0,
) -> list[PriceVersion]:
    """Write what is not there yet, in one transaction; all or none.

    Args:
        expected_version: the newest version of what the edit was made from; None accepts any.
        author: for the record; the operating system's user where not given.
        reason: why, for the record.
        timeout: seconds for each step with the broker.

    Returns:
        The versions written; empty where all of it was there.

    Raises:
        StaleEdit: the topic is not at `expected_version`, or another writer overtook this one.
        OverridesError: there would be more entries than a book takes; nothing was written.
        ControlUnavailable: the broker does not answer.
        LogUnavailable: the topic cannot be read.
    """
    with only_writer(bootstrap_servers, "prices", timeout) as append:
        versions, following = read_to_write(
            bootstrap_servers, CONTROL_PRICES, PriceVersion, timeout
        )
        check_expected(versions, expected_version, "prices")
        new = added(versions, wanted)
        if len(versions) + len(new) > MAX_ENTRIES:
            raise OverridesError(
                [f"overrides: {len(versions)} and {len(new)} are more than {MAX_ENTRIES}"]
            )
        at_ms, by = now_ms(), author or os_user()
        records = [
            PriceVersion(
                version=number,
                entry=said if isinstance(said, Entry) else None,
                alias=said if isinstance(said, Alias) else None,
                written_at_ms=at_ms,
                author=by,
                reason=reason,
            )
            for number, said in enumerate(new, following)
        ]
        if records:
            append(CONTROL_PRICES, (as_record(record) for record in records))
        return records


def as_record(version: PriceVersion) -> tuple[bytes, bytes]:
    """Key and value."""
    key = f"{version.said.provider}/{version.said.model}"
    return key.encode(), version.model_dump_json().encode()
