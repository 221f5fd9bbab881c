"""Settings from environment, .env and TOML."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spendstream.deploy.settings import ENV_PREFIX, SettingsError, load


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    return tmp_path


def test_defaults() -> None:
    settings = load()
    assert settings.home == Path(".spendstream")
    assert settings.bootstrap_servers is None
    assert (settings.kafka_port, settings.clickhouse_port) == (0, 0)


def test_environment_wins_over_dotenv_wins_over_toml(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "spendstream.toml").write_text(
        'home = "toml"\nworker_group = "toml"\nsink_group = "toml"\n'
    )
    (elsewhere / ".env").write_text(
        "SPENDSTREAM_HOME=dotenv\nSPENDSTREAM_WORKER_GROUP=dotenv\nOTHER_APP=1\n"
    )
    monkeypatch.setenv("SPENDSTREAM_HOME", "env")
    settings = load()
    assert settings.home == Path("env")
    assert (settings.worker_group, settings.sink_group) == ("dotenv", "toml")


def test_all_mistakes_are_told_at_once_where_they_were_made(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "spendstream.toml").write_text("kafka_port = 99999\nkafka_prot = 1\n")
    (elsewhere / ".env").write_text("SPENDSTREAM_BOOTSTRAP_SERVERS=localhost\n")
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE_URL", "localhost:8123")
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE_PORT", "many")
    with pytest.raises(SettingsError) as caught:
        load()
    errors = "\n".join(caught.value.errors)
    assert len(caught.value.errors) == 5
    assert "kafka_prot in spendstream.toml: there is no such setting" in errors
    assert "kafka_port in spendstream.toml: should be less than or equal to 65535" in errors
    assert "SPENDSTREAM_BOOTSTRAP_SERVERS in .env: 'localhost' is not host:port" in errors
    assert "SPENDSTREAM_CLICKHOUSE_URL: 'localhost:8123' does not begin with http" in errors
    assert "SPENDSTREAM_CLICKHOUSE_PORT: should be a valid integer" in errors


def test_a_blank_address_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE_URL", " ")
    assert load().clickhouse_url is None


def test_broken_toml_is_said_plainly(elsewhere: Path) -> None:
    (elsewhere / "spendstream.toml").write_text("home = \n")
    with pytest.raises(SettingsError, match=r"spendstream\.toml cannot be read"):
        load()


@pytest.mark.parametrize("url", ["http://", "http://h:99999", "http://h:many", "https://[::1"])
def test_an_address_that_leads_nowhere_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE_URL", url)
    with pytest.raises(SettingsError, match="is not http://host:port"):
        load()


@pytest.mark.parametrize("servers", ["a:1", "a:1,b:65535", "[::1]:9092"])
def test_servers_that_are_right(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDSTREAM_BOOTSTRAP_SERVERS", servers)
    assert load().bootstrap_servers == servers
