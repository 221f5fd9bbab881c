from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import FakeProviders


@pytest.fixture
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        yield fake
