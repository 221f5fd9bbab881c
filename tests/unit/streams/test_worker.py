"""The worker's process, as far as it goes without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from spendstream.streams.worker import SpendstreamApp


def test_a_worker_leaves_nothing_in_the_directory_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def start() -> None:
        await SpendstreamApp("app").on_first_start()

    asyncio.run(start())
    assert not list(tmp_path.iterdir())
