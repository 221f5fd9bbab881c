"""What the fakes send, read without an SDK."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.fakes import FakeProviders

Json = dict[str, Any]


def told(fake: FakeProviders, path: str, body: Json | None, **headers: str) -> tuple[int, bytes]:
    """Status and body; without a body to send it is a GET."""
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(fake.url + path, sent, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def events(stream: bytes) -> list[tuple[str | None, Any]]:
    """The events of a stream by their names."""
    found: list[tuple[str | None, Any]] = []
    for block in stream.decode().replace("\r\n", "\n").removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        text = fields["data"]
        found.append((fields.get("event"), text if text == "[DONE]" else json.loads(text)))
    return found
