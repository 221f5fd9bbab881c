"""A record of `control.prices`: one price or one alias of the operator's, and who set it.

The topic is append-only and kept for ever. What is in it up to a record is the operator's part of
a price book (`overrides`), so that a book can be made again as it was at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from annotated_types import Ge
from pydantic import Field, model_validator

from spendstream.schemas.fields import EpochMs, Model, Name, Text
from spendstream.schemas.prices.overrides import Alias, Entry, Overrides


class PriceVersion(Model):
    """A record of `control.prices`; key = `provider/model`. Either `entry` or `alias`.

    `version` counts the records of the topic from 1: a later edit must name it to be accepted, and
    a priced row's `price_version` says up to which record its book went (`+3`). An entry is in
    force for calls from its `valid_from` on, in the first batch after the one that saw the record;
    what was priced before stays as it is.
    """

    version: Annotated[int, Ge(1)]
    entry: Entry | None = None
    alias: Alias | None = None
    written_at_ms: EpochMs
    author: Name
    reason: Text | None = Field(None, description="why, for whoever reads it later")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.entry is None) == (self.alias is None):
            raise ValueError("either entry or alias is required")
        return self

    @property
    def said(self) -> Entry | Alias:
        """What it says."""
        said = self.entry or self.alias
        assert said is not None  # _is_one
        return said


def overrides_of(versions: Iterable[PriceVersion]) -> Overrides:
    """All that the records say, in their order."""
    versions = tuple(versions)
    return Overrides(
        prices=tuple(v.entry for v in versions if v.entry is not None),
        aliases=tuple(v.alias for v in versions if v.alias is not None),
    )


def record_number(price_version: str) -> int:
    """Up to which record of `control.prices` a row's book went: 3 of `genai-prices 0.2.3+3 …`."""
    number = price_version.partition(" ")[2].partition(" ")[0].rpartition("+")[2]
    return int(number) if "+" in price_version and number.isdigit() else 0
