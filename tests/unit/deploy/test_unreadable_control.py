"""A record of a control topic that cannot be read, as the commands meet it."""

from __future__ import annotations

import pytest

from spendstream.deploy import cli, failures
from tests.support.control_log import ControlLog, Record


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
    ControlLog(monkeypatch).put(topic, Record(3, b'{"version": "\x9b"}'), Record(5, None))
    monkeypatch.setattr("sys.argv", ["spendstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.OK
    told = capsys.readouterr().err
    for offset in (3, 5):
        said = f"spendstream: {topic}: the record at offset {offset} cannot be read and is passed"
        assert told.count(said) == 1
    assert "Invalid JSON" in told
