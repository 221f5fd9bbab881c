"""Figures as the commands show them."""

from __future__ import annotations

import pytest

from spendstream.deploy.commands.report import dollars


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1234.565", "$1,234.57"),
        ("0.025", "$0.03"),
        ("0.005", "$0.01"),
        ("0.004999999999", "<$0.01"),
        ("0.000000000001", "<$0.01"),
        ("0", "$0.00"),
        ("-0.001", "$0.00"),
    ],
)
def test_what_is_too_little_for_a_cent_is_not_nothing(amount: str, shown: str) -> None:
    assert dollars(amount) == shown
