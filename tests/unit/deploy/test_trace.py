"""Reading a CSV trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.deploy.trace import TraceError, read_trace

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def test_seven_decimals_are_exact_to_the_millisecond(written: Path) -> None:
    written.write_text(HEAD + "2023-11-16 18:15:46.6805900,374,44\n")
    [row] = read_trace(written)
    assert (row.index, row.time_ms) == (0, 1_700_158_546_680)
    assert (row.input_tokens, row.output_tokens) == (374, 44)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01 00:00:00", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:00.1", 100),
        ("1970-01-01 00:00:00.0019999", 1),
        ("1970-01-01 00:00:01.999999999+00:00", 1999),
    ],
)
def test_times_that_are_understood(written: Path, text: str, ms: int) -> None:
    written.write_text(f"{HEAD}{text},1,1")
    assert read_trace(written)[0].time_ms == ms


@given(ms=st.integers(0, 999), rest=st.text("0123456789", max_size=6))
def test_digits_after_the_third_never_change_the_millisecond(
    tmp_path_factory: pytest.TempPathFactory, ms: int, rest: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "digits.csv"
    path.write_text(f"{HEAD}1970-01-01 00:00:00.{ms:03d}{rest},1,1\n")
    assert read_trace(path)[0].time_ms == ms


def test_rows_come_in_order_of_time_and_keep_their_place(written: Path) -> None:
    times = ("00:00:02", "00:00:01", "00:00:03", "00:00:01")
    written.write_text(HEAD + "".join(f"2026-01-01 {time},1,1\n" for time in times))
    assert [row.index for row in read_trace(written)] == [1, 3, 0, 2]


def test_columns_may_come_in_any_order_with_others(written: Path) -> None:
    written.write_text(
        "x,GeneratedTokens,ContextTokens,TIMESTAMP\n,2,1,2026-01-01 00:00:00\n", "utf-8-sig"
    )
    [row] = read_trace(written)
    assert (row.input_tokens, row.output_tokens) == (1, 2)


def test_every_bad_row_is_named_with_line_and_column(written: Path) -> None:
    written.write_text(
        HEAD
        + "2026-01-01 00:00:00,1,1\n"
        + "yesterday,1,1\n"
        + "2026-01-01 00:00:00,-1,1.5\n"
        + "2026-02-30 00:00:00,1\n"
        + "2026-01-01 00:00:00,1000000001,1\n"
    )
    with pytest.raises(TraceError) as caught:
        read_trace(written)
    text = str(caught.value)
    for words in (
        "line 3, column TIMESTAMP: 'yesterday' is not a time",
        "line 4, column ContextTokens: '-1' is not a whole number",
        "line 4, column GeneratedTokens: '1.5' is not a whole number",
        "line 5, column TIMESTAMP: '2026-02-30 00:00:00'",
        "line 5, column GeneratedTokens: None is not a whole number",
        "line 6, column ContextTokens: 1000000001 is more than",
    ):
        assert words in text


def test_many_bad_rows_are_counted(written: Path) -> None:
    written.write_text(HEAD + "x,1,1\n" * 500)
    with pytest.raises(TraceError, match="and more: 500 bad rows"):
        read_trace(written)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column TIMESTAMP, ContextTokens, GeneratedTokens"),
        (b"TIMESTAMP,ContextTokens\n", "no column GeneratedTokens"),
        (HEAD.encode(), "has no rows"),
        (HEAD.encode() + b"\xff,1,1\n", "cannot be read as CSV"),
        (HEAD.encode() + b'"2026,1,1\n', "cannot be read as CSV"),
    ],
)
def test_a_file_of_another_kind_is_refused(written: Path, content: bytes, words: str) -> None:
    written.write_bytes(content)
    with pytest.raises(TraceError, match=words):
        read_trace(written)


def test_a_missing_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "none.csv")
