"""chDB behind ClickHouse's HTTP protocol, so that every client of the stack has one way to talk.

    python -m spendstream.deploy.embedded.chdb_server --data-dir DIR --port PORT

Binds 127.0.0.1 and prints one line of JSON when it is ready (`--port 0` takes a free port and says
which). Left out on purpose: users, sessions (temporary tables), compressed answers, external data.
An answer is built in memory before it is sent. What was acknowledged survives the death of this
process; a power cut can lose what the system had not yet written to disk.
"""

from __future__ import annotations

import argparse
import gzip
import json
import signal
import socket
import sys
import uuid
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import lz4.frame
import uvicorn
from backports import zstd
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spendstream.deploy.embedded.engine import Answer, DirectoryInUseError, Engine, StatementError

# More statements than this wait for their turn; each holds a thread and may hold every core.
MAX_CONCURRENT = 16

# URL parameters that speak to ClickHouse's HTTP layer, which is us; all others are settings.
_TRANSPORT = frozenset(
    """query database default_format user password quota_key query_id session_id session_timeout
    session_check close_session compress decompress enable_http_compression buffer_size
    wait_end_of_query send_progress_in_http_headers http_headers_progress_interval_ms
    client_protocol_version role stacktrace""".split()  # noqa: SIM905
)
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
}
_CONTENT_TYPES = {
    "CSV": "text/csv; charset=UTF-8",
    "CSVWithNames": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}
_BAD_REQUEST = {
    "SYNTAX_ERROR",
    "TYPE_MISMATCH",
    "BAD_ARGUMENTS",
    "INCORRECT_DATA",
    "ILLEGAL_COLUMN",
}


def create_app(engine: Engine, on_ready: Callable[[], None] = lambda: None) -> Starlette:
    """The HTTP interface to `engine`; `on_ready` is called once it can answer."""
    limiter: anyio.CapacityLimiter

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        nonlocal limiter
        limiter = anyio.CapacityLimiter(MAX_CONCURRENT)
        on_ready()
        yield

    async def statement(request: Request) -> Response:
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        try:
            body = await request.body()
            run = partial(_serve, engine, request, body)
            answer = await anyio.to_thread.run_sync(run, limiter=limiter)
        except StatementError as error:
            return _refused(error, query_id)
        return _answered(answer, query_id)

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/replicas_status", ping),
            Route("/", statement, methods=["GET", "POST"]),
        ],
        lifespan=lifespan,
    )


def _serve(engine: Engine, request: Request, body: bytes) -> Answer:
    """One request, in a thread of its own: decode it, run it."""
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
        # nobody logs in here, so no web page may reach this port through its reader's browser
        raise StatementError("Code: 497. DB::Exception: not open to web pages (ACCESS_DENIED)")
    url = request.query_params
    query = url.get("query", "").encode()
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in _DECODERS or url.get("decompress", "0") != "0":
        raise StatementError(f"Code: 48. DB::Exception: body encoding {encoding} (NOT_IMPLEMENTED)")
    try:
        body = _DECODERS[encoding](body)
    except (OSError, RuntimeError, EOFError, zlib.error, zstd.ZstdError) as error:
        raise StatementError(f"Code: 271. DB::Exception: {error} (CANNOT_DECOMPRESS)") from None
    sql = query + b"\n" + body if query and body else query or body
    if not sql.strip():
        return Answer(b"Ok.\n", None)
    settings = {k: v for k, v in url.items() if k not in _TRANSPORT and not k.startswith("param_")}
    if request.method == "GET":
        settings["readonly"] = "2"  # as ClickHouse does: reads and settings, no writes
    header = request.headers.get
    return engine.run(
        sql,
        settings=settings,
        params={k.removeprefix("param_"): v for k, v in url.items() if k.startswith("param_")},
        database=url.get("database") or header("x-clickhouse-database"),
        default_format=url.get("default_format") or header("x-clickhouse-format") or "TabSeparated",
    )


def _answered(answer: Answer, query_id: str) -> Response:
    summary = {
        "read_rows": str(answer.read_rows),
        "read_bytes": str(answer.read_bytes),
        "written_rows": str(answer.written_rows),
        "written_bytes": str(answer.written_bytes),
        "elapsed_ns": str(answer.elapsed_ns),
    }
    headers = {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Server-Display-Name": "spendstream-embedded",
        "X-ClickHouse-Summary": json.dumps(summary),
        "X-ClickHouse-Timezone": "UTC",
    }
    if answer.format:
        headers["X-ClickHouse-Format"] = answer.format
    content_type = _CONTENT_TYPES.get(answer.format or "", "text/plain; charset=UTF-8")
    return Response(answer.body, headers=headers, media_type=content_type)


def _refused(error: StatementError, query_id: str) -> Response:
    if error.name == "ACCESS_DENIED":
        status = 403
    elif error.name == "NOT_IMPLEMENTED":
        status = 501
    elif error.name in _BAD_REQUEST or error.name.startswith("CANNOT_PARSE"):
        status = 400
    elif error.name.startswith("UNKNOWN_") and error.name != "UNKNOWN_EXCEPTION":
        status = 404
    else:
        status = 500
    headers = {
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Query-Id": query_id,
    }
    return PlainTextResponse(error.message + "\n", status, headers)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Exit codes: 0 stopped, 1 directory in use or port taken."""
    parser = argparse.ArgumentParser(prog="chdb_server", description="chDB over ClickHouse's HTTP")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    options = parser.parse_args(argv)

    # asyncio turns Nagle's algorithm off only where the protocol is named; left on it costs 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", options.port))
    except OSError as error:
        print(f"port {options.port} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    try:
        engine = Engine(options.data_dir)
    except DirectoryInUseError as error:
        print(error, file=sys.stderr)
        return 1
    port = listener.getsockname()[1]
    listener.listen(128)

    def ready() -> None:
        line = {"ready": True, "url": f"http://127.0.0.1:{port}", "port": port}
        print(json.dumps({**line, "version": engine.version}), flush=True)

    config = uvicorn.Config(
        create_app(engine, ready),
        access_log=False,
        http="httptools",
        log_level="warning",
        timeout_graceful_shutdown=10,
        timeout_keep_alive=75,
    )
    # uvicorn raises the signal again once it has shut down; the engine still has to be closed then
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: None)
    with engine:
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
