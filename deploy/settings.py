"""Settings: environment (`SPENDSTREAM_*`), then `.env`, then `spendstream.toml`.

The first that names a setting wins. All mistakes are reported at once, in plain words, before
anything is started. Addresses that are not set come from the embedded stack while it runs.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from spendstream.schemas.fields import no_control_characters

TOML_FILE: Final = "spendstream.toml"
ENV_PREFIX: Final = "SPENDSTREAM_"

Port = Annotated[int, Field(ge=0, le=65_535)]


class SettingsError(ValueError):
    """Settings are unusable; `errors` has one sentence a mistake, each with the setting's name."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Settings(BaseSettings):
    """Where things are. Ports 0 take a free one."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=".env", toml_file=TOML_FILE, extra="ignore"
    )

    home: Path = Field(Path(".spendstream"), description="data directory of the embedded stack")
    bootstrap_servers: str | None = Field(None, description="Kafka, host:port[,host:port]")
    clickhouse_url: str | None = Field(None, description="http://host:8123")
    clickhouse_database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "spendstream"
    kafka_port: Port = Field(0, description="of the embedded broker")
    clickhouse_port: Port = Field(0, description="of the embedded ClickHouse")
    worker_group: Annotated[str, Field(min_length=1, max_length=200)] = "spendstream-worker"
    sink_group: Annotated[str, Field(min_length=1, max_length=200)] = "spendstream-sink"

    @field_validator("bootstrap_servers", "clickhouse_url")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        # `SPENDSTREAM_CLICKHOUSE_URL=` in a .env file means "not set"
        return no_control_characters(value.strip()) or None if value is not None else None

    @field_validator("bootstrap_servers")
    @classmethod
    def _hosts_with_ports(cls, value: str | None) -> str | None:
        for server in value.split(",") if value else ():
            host, colon, port = server.strip().rpartition(":")
            if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
                raise ValueError(f"{server!r} is not host:port")
        return value

    @field_validator("clickhouse_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} does not begin with http:// or https://")
        if value is not None and not _leads_somewhere(value):
            raise ValueError(f"{value!r} is not http://host:port")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, toml


def load() -> Settings:
    """The settings of this process. Raises SettingsError with every mistake."""
    errors = _unreadable_toml()
    if errors:
        raise SettingsError(errors)
    errors = _unknown_in_toml()
    try:
        settings = Settings()
    except ValidationError as error:
        errors += [_plain(detail["loc"], detail["msg"]) for detail in error.errors()]
    if errors:
        raise SettingsError(errors)
    return settings


def _leads_somewhere(url: str) -> bool:
    try:
        address = urlsplit(url)
        return bool(address.hostname) and address.port != 0
    except ValueError:  # brackets that do not close, a port that is no number or too high
        return False


def _plain(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return f"{_origin(name)}: {message}"


def _origin(name: str) -> str:
    """The setting as it is written where it came from."""
    variable = ENV_PREFIX + name.upper()
    if variable in {key.upper() for key in os.environ}:
        return variable
    if variable in {key.upper() for key in dotenv_values(".env")}:
        return f"{variable} in .env"
    return f"{name} in {TOML_FILE}"


def _unreadable_toml() -> list[str]:
    try:
        tomllib.loads(Path(TOML_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return [f"{TOML_FILE} cannot be read: {error}"]
    return []


def _unknown_in_toml() -> list[str]:
    """A mistyped name in the file would otherwise be ignored. (The environment is everybody's.)"""
    if not Path(TOML_FILE).exists():
        return []
    given = tomllib.loads(Path(TOML_FILE).read_text("utf-8"))
    known = ", ".join(sorted(Settings.model_fields))
    return [
        f"{name} in {TOML_FILE}: there is no such setting (there are: {known})"
        for name in given
        if name not in Settings.model_fields
    ]
