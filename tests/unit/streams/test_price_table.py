"""Which book a batch is priced by: that of a position, whatever has been added since."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from spendstream.schemas.money import pico_from_usd
from spendstream.schemas.prices.overrides import Alias, Entry, Target
from spendstream.schemas.prices.version import PriceVersion
from spendstream.schemas.topics import USAGE_PRICED
from spendstream.streams.core.price_table import PriceTable
from tests.support.core import BOOK, Driver
from tests.support.records import NOON, Call

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def price(version: int, usd: str = "1", since: datetime = SINCE) -> PriceVersion:
    """USD a million tokens of gpt-4o, in and out."""
    entry = Entry(
        provider="openai", model="gpt-4o", valid_from=since, prices={"input": usd, "output": usd}
    )
    return PriceVersion(version=version, entry=entry, written_at_ms=NOON, author="anna")


def alias(version: int) -> PriceVersion:
    target = Target(provider="openai", model="gpt-4o")
    said = Alias(provider="azure", model="ours", valid_from=SINCE, same_as=target)
    return PriceVersion(version=version, alias=said, written_at_ms=NOON, author="anna")


def test_without_any_record_it_is_the_published_prices_book() -> None:
    table = PriceTable()
    assert table.book(0).version == table.book(7).version == BOOK.version


def test_a_book_is_that_of_the_records_below_a_position() -> None:
    table = PriceTable()
    for version, offset in ((price(1), 0), (alias(2), 1), (price(3, "2"), 3)):  # 2 is a marker
        table.add(version, offset)
    versions = [table.book(position).version for position in range(6)]
    assert versions[2] == versions[3]
    assert versions[4] == versions[5]
    assert [version.split()[1].partition("+")[2] for version in versions] == [
        *("", "1", "2", "2", "3", "3")
    ]
    assert table.book(2).resolve("azure", "ours", NOON) is not None
    assert table.book(1).resolve("azure", "ours", NOON) is None


def test_the_same_position_is_the_same_book_also_after_it_was_dropped() -> None:
    table = PriceTable()
    for offset in range(9):
        table.add(price(offset + 1, f"0.{offset}1"), offset)
    first = table.book(1)
    assert table.book(1) is first
    for position in range(2, 10):
        table.book(position)
    again = table.book(1)
    assert again is not first
    assert again.version == first.version


@given(st.lists(st.sampled_from(["0", "0.5", "3", "11.25"]), min_size=1, max_size=5))
def test_a_change_of_price_never_moves_an_event_priced_before(prices: list[str]) -> None:
    table, driver = PriceTable(), Driver()
    for number, usd in enumerate(prices):
        driver.book = table.book(number)
        driver.take([Call(f"e{number}", NOON, input_tokens=1_000_000, output_tokens=0).record()])
        driver.finish()
        # also one that is said to have held long before those events
        table.add(price(number + 1, usd), number)
    costs = [row["cost_pico"] for row in driver.decoded(USAGE_PRICED)]
    assert costs == [str(pico_from_usd(usd)) for usd in ("2.5", *prices[:-1])]
    rules = [row["price_rule"] for row in driver.decoded(USAGE_PRICED)]
    assert rules == ["openai/gpt-4o"] + ["override openai/gpt-4o@2026-01-01"] * (len(prices) - 1)
