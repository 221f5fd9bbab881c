"""Every class of the SDKs that a wrapper could have changed, and all its attributes."""

from __future__ import annotations

import anthropic._base_client
import httpx
import httpx2
import openai._base_client
from google.genai import _api_client, chats, client, models


def patched() -> dict[tuple[type, str], int]:
    """The identities of the attributes: a wrapper may equal what it stands for, but is not it.
    Flags are the SDK's own to change, as whether it has warned before."""
    return {
        (kind, name): id(value)
        for kind in _classes()
        for name, value in vars(kind).items()
        if not isinstance(value, bool)
    }


def _classes() -> set[type]:
    bases = (
        openai._base_client.BaseClient,
        anthropic._base_client.BaseClient,
        _api_client.BaseApiClient,
        models.Models,
        models.AsyncModels,
        chats.Chat,
        chats.AsyncChat,
        client.Client,
        client.AsyncClient,
        httpx.Response,
        httpx2.Response,
    )
    found: set[type] = set()
    left: list[type] = list(bases)
    while left:
        kind = left.pop()
        found.add(kind)
        below: list[type] = kind.__subclasses__()
        left.extend(one for one in below if not _followed(one))
    return found


def _followed(kind: type) -> bool:
    """The class of a response that is being read, made once and kept."""
    return "iter_bytes" in vars(kind) and kind not in (httpx.Response, httpx2.Response)
