"""Manifests: what `replay` and `demo` sent, one JSON line an event, for the recount of `verify`.

A line is written when its event is in the emitter's queue, so a run that is cut short leaves a
manifest of what it sent. File names sort by the moment the run began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from spendstream.schemas import Usage, UsageEvent


class Manifest:
    """An open manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x", encoding="utf-8")

    def add(self, event_id: str, time_ms: int, event: UsageEvent) -> None:
        """One event sent. A usage that is unknown is written as nulls."""
        usage = event.usage
        line = {
            "id": event_id,
            "time_ms": time_ms,
            "workspace_id": event.workspace_id,
            "user_id": event.user_id,
            "provider": event.provider,
            "model": event.model,
            "request_type": event.request_type,
            "status": event.status,
            "batch": event.batch,
            "service_tier": event.service_tier,
            "region": event.region,
            "reported_cost_pico": event.reported_cost_pico,
        }
        known = {} if usage is None else usage.model_dump(mode="json")
        for name in Usage.model_fields:
            line[name] = known.get(name)
        self._file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


@contextmanager
def writing(directory: Path, stem: str) -> Iterator[Manifest]:
    """A new manifest in `directory`, whole on disk when the block ends, however it ends."""
    directory.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    manifest = Manifest(directory / f"{began}-{stem}.jsonl")
    try:
        yield manifest
    finally:
        manifest.close()
