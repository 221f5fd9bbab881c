"""The command line itself: what is mistyped is told in plain words, with exit code 2."""

from __future__ import annotations

import pytest

from spendstream.deploy import cli, failures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["report", "--bogus"], "No such option: --bogus"),
        (["bogus"], "No such command 'bogus'"),
        (["replay"], "Missing argument"),
        (["topics", "create", "--partitions", "0"], "Invalid value for '--partitions'"),
        (["report", "--from", "yesterday"], "a date or time like"),
        (["deadletters", "--reason", "to_old"], "'to_old' is not a reason code (there are"),
        (["replay", "gone.csv"], "gone.csv cannot be read"),
        (["report", "--filter", "x"], "Invalid value for '--filter': 'x' is not name=value"),
        (["report", "--filter", "=x"], "Invalid value for '--filter': '=x' is not name=value"),
        (["report", "--filter", "colour=red"], "unknown filter 'colour': filters are workspace,"),
        (["report", "--group-by", "model,colour"], "unknown group 'colour': groups are workspace,"),
    ],
)
def test_wrong_arguments(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["spendstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == failures.WRONG_INPUT
    shown = capsys.readouterr().err
    assert told in shown
    assert "mistake in spendstream" not in shown
