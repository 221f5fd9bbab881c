"""chDB, ClickHouse's engine in this process: one directory, one process, many requests at once.

Measured on chDB 26.9: statements on one connection run one after the other, statements on separate
connections run in parallel, and a new connection costs 0.15 ms. So every request gets one of its
own, which also keeps the settings of one request out of the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import IO, Any, Self

from spendstream.deploy.embedded.statements import result_format, split_insert

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# The server's own defaults. Asynchronous inserts are on since ClickHouse 26.2: they would
# acknowledge rows that a deduplication token does not cover. An embedded engine also takes a bare
# expression for a query.
_DEFAULTS = {"async_insert": "0", "implicit_select": "0"}
# where rows wait for the engine to read them; elsewhere than on Linux the system's own place
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class DirectoryInUseError(RuntimeError):
    """Another process has the data directory open: wait for it, stop it, or choose another."""


class StatementError(Exception):
    """The engine refused a statement. `code` is ClickHouse's number, `name` its name."""

    def __init__(self, message: str) -> None:
        start = message.find("Code: ")
        self.message = message[max(start, 0) :].strip()
        code = re.match(r"Code: (\d+)", self.message)
        names = re.findall(r"\(([A-Z]+_[A-Z0-9_]+)\)", self.message)
        self.code = int(code.group(1)) if code else 1002  # UNKNOWN_EXCEPTION
        self.name = names[-1] if names else "UNKNOWN_EXCEPTION"
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave back. `format` is None where it answers no rows; counts are rows and
    bytes, nanoseconds for `elapsed_ns`."""

    body: bytes
    format: str | None
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0


class DirectoryLock:
    """Holds a data directory for this process; the system lets go of it when the process dies."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = (directory / ".spendstream.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryInUseError(f"{directory} is in use by process {holder}") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


class Engine:
    """The engine on one directory. `run` may be called from any number of threads."""

    def __init__(self, directory: Path) -> None:
        """Raises DirectoryInUseError where another process has `directory` open."""
        self._lock = DirectoryLock(directory)
        # the engine takes its time zone from the process; a server's is UTC wherever it stands
        os.environ["TZ"] = "UTC"
        time.tzset()
        self._path = str(directory.resolve())
        # the engine lives as long as one connection is open
        self._root = _connect(self._path)
        self.version = self.run("SELECT version()").body.decode().strip()

    def run(
        self,
        sql: str | bytes,
        *,
        settings: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        database: str | None = None,
        default_format: str = "TabSeparated",
    ) -> Answer:
        """Run one statement, an INSERT with its rows behind it. Raises StatementError."""
        statement = sql.encode() if isinstance(sql, str) else sql
        connection = _connect(self._path)
        try:
            if database:
                quoted = database.replace("\\", "\\\\").replace("`", "\\`")
                connection.query(f"USE `{quoted}`", "TabSeparated")
            connection.query(_set({**_DEFAULTS, **(settings or {})}), "TabSeparated")
            return _run(connection, statement, dict(params or {}), default_format)
        except RuntimeError as error:  # ChdbError is one
            raise StatementError(str(error)) from None
        except OSError as error:  # the file that holds an insert's rows
            raise _refused(error) from None
        finally:
            connection.close()

    def close(self) -> None:
        self._root.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _refused(error: OSError) -> StatementError:
    """By the number that ClickHouse has for it: what it is makes others say what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StatementError(
            f"Code: 243. DB::Exception: no room for the rows: {error} (NOT_ENOUGH_SPACE)"
        )
    return StatementError(
        f"Code: 1001. DB::Exception: the rows cannot be handed to the engine: {error}"
        " (STD_EXCEPTION)"
    )


def _connect(path: str) -> Any:
    import chdb  # half a gigabyte: only the process that serves it loads it

    return chdb.connect(path)  # type: ignore[no-untyped-call]


def _set(settings: Mapping[str, str]) -> str:
    pairs = []
    for name, value in settings.items():
        if not _NAME.fullmatch(name):
            raise StatementError(
                f"Code: 115. DB::Exception: {name!r}: no setting (UNKNOWN_SETTING)"
            )
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        pairs.append(f"{name} = '{escaped}'")
    return "SET " + ", ".join(pairs)


def _run(connection: Any, sql: bytes, params: dict[str, str], default_format: str) -> Answer:
    insert = split_insert(sql)
    if insert is not None:
        if params:
            connection.query(_set({f"param_{k}": v for k, v in params.items()}), "TabSeparated")
        # as a file, because chDB's data stream acknowledges an insert whose view has thrown: the
        # raw table would be ahead of its rollups, and nobody would know (chDB 26.9)
        with NamedTemporaryFile(prefix="insert-", dir=_MEMORY) as rows:
            rows.write(insert.data)
            rows.flush()
            done = connection.query(
                f"{insert.statement} FROM INFILE '{rows.name}' COMPRESSION 'none'"
                f" {insert.settings} FORMAT {insert.format}",
                "TabSeparated",
            )
    else:
        done = connection.query(sql, default_format, params=params)
    return Answer(
        done.bytes() or b"",
        None if insert is not None else result_format(sql, default_format),
        read_rows=done.storage_rows_read(),
        read_bytes=done.storage_bytes_read(),
        written_rows=done.rows_written(),
        written_bytes=done.bytes_written(),
        elapsed_ns=int(done.elapsed() * 1e9),
    )
