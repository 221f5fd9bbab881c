"""A record of a control topic that cannot be read, as the commands meet it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from spendstream.api.jobs import control_log
from spendstream.deploy import cli, failures


class Record(NamedTuple):
    """Of Kafka, as far as it is looked at."""

    at: int
    data: bytes | None

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return self.data


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (("prices", "history"), "control.prices"),
        (("prices", "show", "openai", "gpt-4o"), "control.prices"),
        (("prices", "set", "openai", "gpt-4o", "input=1", "--dry-run"), "control.prices"),
        (("plans", "list"), "control.plans"),
        (("plans", "show"), "control.plans"),
    ],
)
def test_it_is_said_and_the_command_goes_on(
    arguments: tuple[str, ...],
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read(*_: object, **__: object) -> Iterator[Record]:
        yield Record(3, b'{"version": "\x9b"}')
        yield Record(5, None)

    control_log._say.cache_clear()
    monkeypatch.setattr(control_log, "read_to_end", read)
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", "nobody:9092")
    monkeypatch.setattr("sys.argv", ["spendstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.OK
    told = capsys.readouterr().err
    for offset in (3, 5):
        said = f"spendstream: {topic}: the record at offset {offset} cannot be read and is passed"
        assert told.count(said) == 1
    assert "Invalid JSON" in told
