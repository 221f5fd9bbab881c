"""A lower bound for a stream that was cut off before its usage: what was seen of the answer.

Four characters a token (OpenAI's rule of thumb for English). Where the service has loaded the
model's encoding of tiktoken (`tiktoken.get_encoding("o200k_base")` once, at start), its count.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from spendstream.producers.extract.plain import Object

CHARACTERS_PER_TOKEN: Final = 4

_TEXTS: Final = frozenset(
    """arguments content delta generation output outputText partial_json reasoning
    reasoning_content refusal response text thinking transcript""".split()  # noqa: SIM905
)
"""Under these names a chunk carries text of the answer, in every provider's streams."""
_INNER: Final = (
    frozenset(
        """candidates choices completion content contentBlockDelta data delta function message
    modelTurn outputs outputTranscription parts reasoningContent serverContent tool_calls
    toolUse""".split()  # noqa: SIM905
    )
    | _TEXTS
)
_WHOLE: Final = (".done", ".completed", ".added", ".created", ".in_progress")
"""Events that say again what their deltas said."""


def tokens(parts: Sequence[Object], model: str | None) -> int:
    """How many tokens the text of the chunks has at least, about."""
    return _count("".join(text for part in parts for text in _seen(part)), model)


def has_text(part: Object) -> bool:
    """Whether a chunk carries any of the answer."""
    return any(_seen(part))


def _seen(part: Object) -> Iterator[str]:
    kind = part.get("type")
    if isinstance(kind, str) and kind.endswith(_WHOLE):
        return
    yield from _texts(part)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                if name in _TEXTS:
                    yield item
            elif name in _INNER:
                yield from _texts(item)


def _count(text: str, model: str | None) -> int:
    encoding = _encoding(model)
    if encoding is None:
        return -(-len(text) // CHARACTERS_PER_TOKEN)
    return len(encoding.encode_ordinary(text))


def _encoding(model: str | None) -> Any:
    """tiktoken's encoding of a model where the service has loaded it; loading it here could wait
    for a download."""
    tiktoken = sys.modules.get("tiktoken")
    if tiktoken is None or model is None:
        return None
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:  # not one of OpenAI's
        return None
    return tiktoken.registry.ENCODINGS.get(name)
