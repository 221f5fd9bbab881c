"""Hypothesis strategies of models, made from their fields: what is added is tried at once."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from spendstream.api.plans.fields import bare
from spendstream.schemas.prices.overrides import Entry, Image, LongContext

AWKWARD = st.sampled_from(
    ["5", "0x1F", "1:30", "true", "No", "~", "<<", "=", "- a", "a: b", "#a", "x #y", "2026-01-01",
     "1e3", ".inf", " a ", "'", '"', "\\", "%", "a\u2028b", "\x85", "\u202e", "é😀", "!t", "&a *a",
     "a\n b:\n\n# c\n", "\t"]
)  # fmt: skip
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"])
PRICES = st.decimals("0", "999", places=4).map(lambda price: f"{price:f}")


def any_of(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Instances with any of their fields; what its own rules refuse is left out."""
    fields = {
        name: _field(info.annotation, tuple(info.metadata))
        for name, info in model.model_fields.items()
    }
    required = {
        name: fields.pop(name)
        for name, info in model.model_fields.items()
        if info.get_default(call_default_factory=True) is PydanticUndefined
    }

    def made(values: dict[str, Any]) -> BaseModel | None:
        try:
            return model(**values)
        except ValidationError:
            return None

    return st.fixed_dictionaries(required, optional=fields).map(made).filter(bool)


def _field(annotation: Any, limits: tuple[object, ...] = ()) -> st.SearchStrategy[Any]:
    of, optional, more = bare(annotation)
    found = _of(of, (*limits, *more))
    return st.none() | found if optional else found


def _of(of: Any, limits: tuple[object, ...]) -> st.SearchStrategy[Any]:
    def limit(kind: type, name: str) -> Any:
        return next((getattr(one, name) for one in limits if isinstance(one, kind)), None)

    if of in SPECIAL:
        return SPECIAL[of]()
    if isinstance(of, type) and issubclass(of, BaseModel):
        return any_of(of)
    if of is bool:
        return st.booleans()
    if of is int:
        return st.integers(limit(Ge, "ge"), limit(Le, "le"))
    if of is str:
        pattern = next((p for one in limits if (p := getattr(one, "pattern", None))), None)
        if pattern is not None:
            return st.from_regex(pattern, fullmatch=True)
        low, high = limit(MinLen, "min_length") or 0, limit(MaxLen, "max_length") or 300
        plain = st.text("ab 0", min_size=low, max_size=high)
        return AWKWARD | plain | st.text(CHARACTERS, min_size=low, max_size=min(high, 9))
    if get_origin(of) is Literal:
        return st.sampled_from(get_args(of))
    if get_origin(of) is tuple and get_args(of)[-1] is Ellipsis:
        size = min(limit(MaxLen, "max_length") or 4, 4)
        return st.lists(_field(get_args(of)[0]), max_size=size).map(tuple)
    if get_origin(of) is dict:
        key, value = map(_field, get_args(of))
        return st.dictionaries(key, value, max_size=3)
    raise NotImplementedError(of)


def _entries() -> st.SearchStrategy[Entry]:
    """Its prices must name leaves that go together."""
    leaves = st.dictionaries(st.sampled_from(["input", "output", "requests"]), PRICES, min_size=1)
    tokens = st.dictionaries(st.sampled_from(["input", "output"]), PRICES, min_size=1)
    steps = st.builds(LongContext, input_above=st.integers(1, 10**9), prices=tokens)
    return st.builds(
        Entry,
        provider=AWKWARD.filter(lambda text: not {"\n", "\t"} & set(text)),
        model=st.text("abc*-", min_size=1, max_size=9),
        valid_from=st.datetimes(timezones=st.just(UTC)),
        tokens_per=st.sampled_from([1000, 1_000_000]),
        prices=leaves,
        long_context=st.just(()) | steps.map(lambda step: (step,)),
        images=st.just(()) | st.builds(Image, price=PRICES).map(lambda image: (image,)),
    )


SPECIAL = {Entry: _entries}
