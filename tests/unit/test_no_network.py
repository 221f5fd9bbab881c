"""The guard of the unit tests: whoever tries the network fails."""

from __future__ import annotations

import socket
import urllib.request

import pytest


def test_a_connection_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="may not connect"):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    with pytest.raises(pytest.fail.Exception, match="may not connect"):
        urllib.request.urlopen("http://127.0.0.1:9/")
